"""What a DICOM object is by its SOP class: an image, labels, or something that no volume is made of.

The classes and their numbers: DICOM PS3.4 B.5 and PS3.6 A.
"""

from __future__ import annotations

import re

from autoseg.data.dicom.headers import Header

_STORAGE = "1.2.840.10008.5.1.4.1.1."
SEGMENTATIONS = (f"{_STORAGE}66.4", f"{_STORAGE}66.7")
CONTOURS = f"{_STORAGE}481.3"
SECONDARY = f"{_STORAGE}7"
# Longest beginnings first would be needed if one held for another; the patterns end at a dot or the end.
_NO_IMAGE = {
    "1.2.840.10008.1.3.10": "a table of contents (DICOMDIR)",
    f"{_STORAGE}88.59": "a selection of key objects",
    f"{_STORAGE}88.67": "a radiation dose report",
    f"{_STORAGE}88": "a structured report",
    f"{_STORAGE}11": "a presentation state",
    f"{_STORAGE}104": "an encapsulated document (PDF, CDA, model)",
    f"{_STORAGE}9": "a waveform",
    f"{_STORAGE}66.1": "a registration",
    f"{_STORAGE}66.2": "fiducials",
    f"{_STORAGE}66.3": "a registration",
    f"{_STORAGE}66.5": "a segmentation by surfaces",
    f"{_STORAGE}66.6": "fibre tracts",
    f"{_STORAGE}66": "raw data",
    f"{_STORAGE}67": "a real world value mapping",
    f"{_STORAGE}68": "a surface scan",
    f"{_STORAGE}30": "a parametric map",
    f"{_STORAGE}4.2": "spectroscopy",
    f"{_STORAGE}481.1": "a radiotherapy image",
    f"{_STORAGE}481.2": "a radiotherapy dose",
    f"{_STORAGE}481": "a radiotherapy plan or record",
    f"{_STORAGE}77.1.6": "a slide of microscopy",
    f"{_STORAGE}200": "a protocol",
}
_SLICES = tuple(
    f"{_STORAGE}{number}"
    for number in ("2", "2.1", "2.2", "4", "4.1", "4.3", "4.4", "20", "128", "128.1", "130")
)
# For objects of a class that is not known: what the modality says.
_BY_MODALITY = {
    **{"SR": "a structured report", "PR": "a presentation state", "KO": "a selection of key objects"},
    **{"DOC": "an encapsulated document", "REG": "a registration", "RTPLAN": "a radiotherapy plan"},
    **{"RTDOSE": "a radiotherapy dose", "RTRECORD": "a radiotherapy record", "ECG": "a waveform"},
}
_SCOUT = re.compile(
    r"\b(locali[sz]er|scout|topogram|scanogram|surview|survey|3-?pl|3[ -]?plane|tri-?plane)\b", re.I
)


def is_segmentation(header: Header) -> bool:
    """Whether it is a SEG, of whatever kind."""
    return header.sop_class in SEGMENTATIONS


def is_contours(header: Header) -> bool:
    """Whether it is an RTSTRUCT."""
    return header.sop_class == CONTOURS


def is_secondary(header: Header) -> bool:
    """Whether it is a secondary capture: a screen, a film, or a volume by a program that knows no class."""
    return header.sop_class == SECONDARY or header.sop_class.startswith(f"{SECONDARY}.")


def lost_its_image(header: Header) -> bool:
    """Whether a slice of CT, MR, PET or NM has no size: its header was cut off before it."""
    return header.sop_class in _SLICES and not (header.rows and header.columns)


def no_image(header: Header) -> str:
    """Why no volume is made of an object, in a few words; empty for an image."""
    parts = header.sop_class.split(".")
    for count in range(len(parts), 5, -1):
        if reason := _NO_IMAGE.get(".".join(parts[:count])):
            return reason
    if not (header.rows and header.columns):
        return _BY_MODALITY.get(header.modality, "an object without an image")
    if header.samples != 1:
        return "a picture in colour"
    return _no_volume(header)


def _no_volume(header: Header) -> str:
    """Why an image is a localizer or a mosaic, in a few words; empty if nothing says so."""
    if "MOSAIC" in header.image_type:
        return "a mosaic of slices (Siemens); export it as slices or multi-frame"
    if {"LOCALIZER", "SCOUT"} & set(header.image_type):
        return "a localizer"
    return "a localizer, by its description" if _SCOUT.search(header.description.replace("_", " ")) else ""
