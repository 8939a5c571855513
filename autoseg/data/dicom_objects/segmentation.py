"""A segmentation as a DICOM Segmentation object (SEG), written with highdicom.

BINARY has a frame of bits for each structure and slice in which it is, and is what viewers open; structures
may overlap. LABELMAP (Supplement 243, 2024) has one frame a slice with the structures' numbers; it is
smaller, newer, and not read by many programs yet.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dicom_objects.maker import MANUFACTURER, PRODUCT, Maker, series_number
from autoseg.data.dicom_objects.source import Source
from autoseg.data.dicom_objects.structures import Structure, overlap
from autoseg.data.dicom_objects.texts import set_characters
from autoseg.data.image import Array
from autoseg.errors import MissingDependency, UsageError
from autoseg.system.files import atomic_path

KINDS = ("binary", "labelmap")


def check_kind(kind: str, structures: Sequence[Structure]) -> None:
    """See that a kind of SEG can hold some structures.

    Raises:
        UsageError: for an unknown kind, and where structures overlap in a label map.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no kind {kind!r} of SEG. Choose one of {', '.join(KINDS)}.")
    if kind == "labelmap" and overlap(structures):
        raise UsageError(
            "The model's regions overlap, and a SEG of the kind labelmap holds one structure a voxel. Choose "
            "the kind binary."
        )


def write_segmentation_object(
    labels: Array,
    path: Path,
    source: Source,
    structures: Sequence[Structure],
    maker: Maker,
    kind: str = "binary",
) -> None:
    """Write a SEG on the slices of its source, whole or not at all.

    A structure that is nowhere is described and has no frame; where none is anywhere, BINARY has all frames,
    empty, because an object has at least one.

    Args:
        labels: (slice, row, column) on the source's slices, in their order.
        path: the file.
        source: the series.
        structures: what the label values stand for.
        maker: the algorithm.
        kind: one of `KINDS`.

    Raises:
        DataError: if the series does not say where it lies.
        MissingDependency: without highdicom.
        UsageError: see `check_kind`.
    """
    hd = _highdicom()
    check_kind(kind, structures)
    source.check_placed()
    with warnings.catch_warnings():
        # What it warns of is meant: empty results, and values that the source has.
        warnings.simplefilter("ignore")
        written = hd.seg.Segmentation(
            source_images=_source_images(source),
            pixel_array=_pixels(labels, structures),
            segmentation_type=kind.upper(),
            segment_descriptions=[_described(each, maker) for each in structures],
            series_instance_uid=hd.UID(),
            series_number=series_number(source.first),
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=PRODUCT,
            software_versions=maker.version,
            device_serial_number=maker.model_hash[:16],
            series_description=maker.description,
            content_label="SEGMENTATION",
            content_description=maker.algorithm,
            omit_empty_frames=bool(labels.any()),
            # highdicom refuses sets that begin with the default one, as those of Japan do: it is given below.
            specific_character_set=None,
        )
    set_characters(written, source.first, [maker.name, *(text for each in structures for text in each.texts)])
    _name_frames(written, source)
    with atomic_path(path) as temporary:
        written.save_as(temporary, enforce_file_format=True)


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError:
        raise MissingDependency("highdicom", "dicom", "Writing DICOM-SEG") from None
    return highdicom


def _pixels(labels: Array, structures: Sequence[Structure]) -> Array:
    """One number a voxel where structures are apart, else (slice, row, column, structure)."""
    if overlap(structures):
        return np.stack([each.mask(labels) for each in structures], axis=-1)
    kind = np.uint8 if len(structures) < 256 else np.uint16
    number = np.zeros(int(max(labels.max(initial=0), *(max(s.values) for s in structures))) + 1, kind)
    for each in structures:
        number[list(each.values)] = each.number
    found: Array = number[labels]
    return found


def _described(structure: Structure, maker: Maker) -> Any:
    hd = _highdicom()
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    category, kind = (
        Code(each.value, each.scheme, each.meaning)
        for each in (structure.coded.category, structure.coded.type)
    )
    found = hd.seg.SegmentDescription(
        segment_number=structure.number,
        segment_label=structure.label,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=maker.algorithm,
            version=maker.algorithm_version,
            family=codes.cid7162.ArtificialIntelligence,
            parameters=maker.parameters,
        ),
        display_color=hd.color.CIELabColor.from_rgb(*structure.colour),
    )
    if structure.label != structure.name:
        found.SegmentDescription = structure.name
    return found


def _source_images(source: Source) -> list[Any]:
    """The files of a source for highdicom; of a multi-frame file only the source's frames, in their order."""
    from pydicom.dataset import Dataset

    if source.slices[0].number is None:
        return [source.datasets[each.header.path] for each in source.slices]
    whole = source.first
    # A volume may be some of the frames of a file: one phase, one stack.
    part = Dataset()
    part.update(whole)
    groups = whole.PerFrameFunctionalGroupsSequence
    part.PerFrameFunctionalGroupsSequence = [groups[(each.number or 1) - 1] for each in source.slices]
    part.NumberOfFrames = len(source.slices)
    return [part]


def _name_frames(written: Any, source: Source) -> None:
    """Let the references to frames have the numbers that the frames have in the source's file."""
    if source.slices[0].number is None:
        return
    # Frames of several structures on one slice share one item.
    items = {
        id(image): image
        for frame in written.PerFrameFunctionalGroupsSequence
        for derived in frame.get("DerivationImageSequence", ())
        for image in derived.SourceImageSequence
    }
    for image in items.values():
        image.ReferencedFrameNumber = source.slices[int(image.ReferencedFrameNumber) - 1].number
