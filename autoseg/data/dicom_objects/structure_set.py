"""A segmentation as a DICOM RT Structure Set (RTSTRUCT): closed polygons in the planes of the slices.

The object is put together with pydicom, the polygons come from `contours`. Sources: PS3.3, A.19 (the object),
C.8.8.5 (structure set), C.8.8.6 (contours), C.8.8.8 (observations).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dicom.headers import pydicom_for
from autoseg.data.dicom_objects.contours import outlines
from autoseg.data.dicom_objects.maker import MANUFACTURER, PRODUCT, Maker, series_number
from autoseg.data.dicom_objects.source import Source
from autoseg.data.dicom_objects.structures import Structure
from autoseg.data.dicom_objects.texts import set_characters
from autoseg.data.image import Array
from autoseg.system.files import atomic_path

_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
# Decimals of a coordinate in mm: a polygon's points stay where they are, and 16 characters hold it.
_DECIMALS = 5
_OF_THE_STUDY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator"),
)


def write_structure_set(
    labels: Array, path: Path, source: Source, structures: Sequence[Structure], maker: Maker
) -> None:
    """Write an RTSTRUCT on the slices of its source, whole or not at all.

    A structure that is nowhere is named, and has no contour.

    Args:
        labels: (slice, row, column) on the source's slices, in their order.
        path: the file.
        source: the series.
        structures: what the label values stand for.
        maker: the algorithm.

    Raises:
        DataError: if the series does not say where it lies.
        MissingDependency: without pydicom or scikit-image.
    """
    pydicom = pydicom_for("Writing DICOM")
    source.check_placed()
    found = _object(source, maker)
    contours, sets, observations = [], [], []
    for each in structures:
        sets.append(_roi(each, source, maker))
        contours.append(_contours(each, each.mask(labels), source))
        observations.append(_observation(each))
    found.StructureSetROISequence, found.ROIContourSequence = sets, contours
    found.RTROIObservationsSequence = observations
    set_characters(found, source.first, [maker.name, *(text for each in structures for text in each.texts)])
    with atomic_path(path) as temporary:
        # Implicit: with explicit types an element of more than 65534 bytes, a long contour, has no length.
        pydicom.dcmwrite(temporary, found, enforce_file_format=True)


def _object(source: Source, maker: Maker) -> Any:
    """The object without its structures."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian, generate_uid

    first, now = source.first, datetime.now()
    found = Dataset()
    for keyword in _OF_THE_STUDY:
        if keyword in first:
            found[keyword] = first[keyword]
    found.SOPClassUID, found.SOPInstanceUID = _CLASS, generate_uid()
    found.SeriesInstanceUID, found.SeriesNumber = generate_uid(), series_number(first)
    found.InstanceNumber, found.Modality = 1, "RTSTRUCT"
    found.SeriesDescription, found.OperatorsName = maker.description, ""
    found.Manufacturer, found.ManufacturerModelName = MANUFACTURER, PRODUCT
    found.SoftwareVersions, found.DeviceSerialNumber = maker.version, maker.model_hash[:16]
    found.StructureSetLabel, found.StructureSetName = MANUFACTURER.upper(), maker.algorithm
    found.StructureSetDescription = f"{maker.algorithm}; {_listed(maker.parameters)}"[:1024]
    found.InstanceCreationDate = found.StructureSetDate = found.SeriesDate = now.strftime("%Y%m%d")
    found.InstanceCreationTime = found.StructureSetTime = found.SeriesTime = now.strftime("%H%M%S")
    found.ApprovalStatus = "UNAPPROVED"
    found.ReferencedFrameOfReferenceSequence = [_references(source)]
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = _CLASS
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    return found


def _listed(parameters: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def _references(source: Source) -> Any:
    """The study, the series and the images that the contours lie upon."""
    from pydicom.dataset import Dataset

    first = source.first
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = [_image(source, n) for n in _one_a_file(source)]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _STUDY_CLASS, first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _one_a_file(source: Source) -> list[int]:
    """The slices, or of a multi-frame file the first one alone."""
    return list({each.header.path: n for n, each in reversed(list(enumerate(source.slices)))}.values())[::-1]


def _image(source: Source, slice_: int, frame: bool = False) -> Any:
    """A reference to the image of a slice."""
    from pydicom.dataset import Dataset

    place, found = source.slices[slice_], Dataset()
    about = source.datasets[place.header.path]
    found.ReferencedSOPClassUID, found.ReferencedSOPInstanceUID = about.SOPClassUID, about.SOPInstanceUID
    if frame and place.number is not None:
        found.ReferencedFrameNumber = place.number
    return found


def _roi(structure: Structure, source: Source, maker: Maker) -> Any:
    from pydicom.dataset import Dataset

    found = Dataset()
    found.ROINumber, found.ROIName = structure.number, structure.label
    if structure.label != structure.name:
        found.ROIDescription = structure.name
    found.ReferencedFrameOfReferenceUID = source.first.FrameOfReferenceUID
    found.ROIGenerationAlgorithm = "AUTOMATIC"
    found.ROIGenerationDescription = maker.algorithm_version
    return found


def _observation(structure: Structure) -> Any:
    from pydicom.dataset import Dataset

    kind, found = structure.coded.type, Dataset()
    found.ObservationNumber = found.ReferencedROINumber = structure.number
    # What it means for a treatment is not for an algorithm to say.
    found.RTROIInterpretedType, found.ROIInterpreter = "", ""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = kind.value, kind.scheme, kind.meaning
    found.RTROIIdentificationCodeSequence = [code]
    return found


def _contours(structure: Structure, mask: Array, source: Source) -> Any:
    from pydicom.dataset import Dataset

    found = Dataset()
    found.ROIDisplayColor, found.ReferencedROINumber = list(structure.colour), structure.number
    lines = [
        _contour(source, int(n), points)
        for n in np.flatnonzero(mask.any(axis=(1, 2)))
        for points in outlines(mask[n])
    ]
    for number, each in enumerate(lines, 1):
        each.ContourNumber = number
    if lines:
        found.ContourSequence = lines
    return found


def _contour(source: Source, slice_: int, points: Array) -> Any:
    from pydicom.dataset import Dataset

    found = Dataset()
    found.ContourImageSequence = [_image(source, slice_, frame=True)]
    found.ContourGeometricType, found.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
    # Adding 0 makes 0 of -0.
    places = np.round(source.points(slice_, points), _DECIMALS) + 0.0
    found.ContourData = [f"{value:.{_DECIMALS}f}" for value in places.ravel()]
    return found
