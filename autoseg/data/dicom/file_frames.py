"""The frames that a file holds, from a classic header, from functional groups, or from a regular step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from autoseg.data.dicom.frames import MARKS, Frame
from autoseg.data.dicom.headers import Header, numbers_of, several

# Where a functional group keeps what a classic file has at its top.
_GROUPS = (
    *("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "FrameContentSequence"),
    *(
        "PixelValueTransformationSequence",
        "MREchoSequence",
        "MRDiffusionSequence",
        "CTReconstructionSequence",
    ),
    *("CardiacSynchronizationSequence", "MRImageFrameTypeSequence", "CTImageFrameTypeSequence"),
    *("PETFrameTypeSequence", "MRTimingAndRelatedParametersSequence", "PlanePositionVolumeSequence"),
    *("PlaneOrientationVolumeSequence", "SegmentIdentificationSequence"),
    *("TemporalPositionSequence", "RespiratorySynchronizationSequence"),
)
_SIZES = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
# How far cosines may be from unit length and right angles: three decimals, and some more.
_CROOKED = 0.01
_NUCLEAR_VOLUME = "RECON TOMO"
# Dimensions of a multi-frame file that count places: ImagePositionPatient, ImageOrientationPatient,
# ImagePositionVolume, ImageOrientationVolume, InStackPositionNumber.
_PLACES = (0x00200032, 0x00200037, 0x00209301, 0x00209302, 0x00209057)
_MOST_DIMENSIONS = 3


def frames_of(header: Header, found: Any) -> list[Frame]:
    """All frames of an image file; one alone, without a place, of a file that places none of several.

    Args:
        header: the file's.
        found: its data set, as `headers.read_dataset` gives it.

    Raises:
        ValueError: if the number of frames and of their descriptions differ, or a rescale makes no sense.
    """
    if header.count is None:
        stated = numbers_of(found, "InstanceNumber", 1)
        return [_frame(header, None, found, int(stated[0]) if stated else 0)]
    each = several(found.get("PerFrameFunctionalGroupsSequence"))
    if not each:
        parts = list(_regular(header, found)) or [{}]
        return [_frame(header, n, _Layered(part, {}, found), n) for n, part in enumerate(parts, 1)]
    if len(each) != header.count:
        raise ValueError(f"{header.count} frames, but descriptions of {len(each)}")
    shared = _flat(*several(found.get("SharedFunctionalGroupsSequence")))
    pointers = [item.get("DimensionIndexPointer") for item in several(found.get("DimensionIndexSequence"))]
    layers = (
        _Layered({**(own := _flat(part)), **_dimensions(own, pointers)}, shared, found) for part in each
    )
    return [_frame(header, n, layer, n) for n, layer in enumerate(layers, 1)]


def _dimensions(own: Mapping[str, Any], pointers: list[Any]) -> dict[str, Any]:
    """DimensionIndexValues without those that count places; each alone where the file does not say which do.

    Some files state the time of a frame nowhere else.
    """
    values = several(own.get("DimensionIndexValues"))
    if len(pointers) == len(values) and None not in pointers:
        counted = [value for value, tag in zip(values, pointers, strict=True) if int(tag) not in _PLACES]
        return {"DimensionIndexValues": counted or None}
    alone = {f"DimensionIndexValue{n}": value for n, value in enumerate(values[:_MOST_DIMENSIONS], 1)}
    return {"DimensionIndexValues": None, **alone}


def _regular(header: Header, found: Any) -> Iterator[dict[str, Any]]:
    """Positions of frames at an even step from the first, as nuclear medicine and some programs state them.

    Nothing for files that do not state a step, and for projections, whose frames are no slices.
    """
    if header.modality == "NM" and _NUCLEAR_VOLUME not in header.image_type:
        return
    detector: Any = next(iter(several(found.get("DetectorInformationSequence"))), {})
    whole = _Layered(detector, {}, found)
    first, cosines = (
        numbers_of(whole, "ImagePositionPatient", 3),
        numbers_of(whole, "ImageOrientationPatient", 6),
    )
    step = numbers_of(found, "SpacingBetweenSlices", 1)
    if first is None or cosines is None or not step or step[0] == 0:
        return
    normal = np.cross(cosines[:3], cosines[3:])
    for number in range(header.count or 1):
        place = np.array(first) + number * step[0] * normal
        yield {"ImagePositionPatient": place.tolist(), "ImageOrientationPatient": list(cosines)}


def _frame(header: Header, number: int | None, found: Any, instance: int) -> Frame:
    sizes = (numbers_of(found, keyword, 2) for keyword in _SIZES)
    spacing = next((size for size in sizes if size and min(size) > 0), None)
    thickness = numbers_of(found, "SliceThickness", 1)
    return Frame(
        header=header,
        number=number,
        position=numbers_of(found, "ImagePositionPatient", 3),
        cosines=_cosines(found),
        spacing=spacing or (1.0, 1.0),
        thickness=thickness[0] if thickness else None,
        rescale=(_rescale(found, "RescaleSlope", 1.0), _rescale(found, "RescaleIntercept", 0.0)),
        instance=instance,
        marks=tuple((key, text) for key in MARKS if (text := _as_text(found.get(key)))),
        sized=spacing is not None,
    )


def _cosines(found: Any) -> tuple[float, ...] | None:
    """Directions of a row and a column, if they are of unit length and at right angles but for rounding."""
    stated = numbers_of(found, "ImageOrientationPatient", 6)
    if stated is None:
        return None
    row, column = np.reshape(stated, (2, 3))
    lengths = np.abs(np.linalg.norm([row, column], axis=1) - 1)
    return stated if max(*lengths, abs(row @ column)) < _CROOKED else None


def _rescale(found: Any, keyword: str, otherwise: float) -> float:
    stated = found.get(keyword)
    if stated is None or stated == "":
        return otherwise
    numbers = numbers_of(found, keyword, 1)
    if numbers is None or (keyword == "RescaleSlope" and numbers[0] == 0):
        raise ValueError(f"{keyword} is {stated}")
    return numbers[0]


def _as_text(value: Any) -> str:
    return "\\".join(str(part) for part in several(value))


class _Layered:
    """Elements of a frame, else those that all frames share, else the file's."""

    def __init__(self, own: Any, shared: Mapping[str, Any], whole: Any) -> None:
        self.own, self.shared, self.whole = own, shared, whole

    def get(self, keyword: str) -> Any:
        for layer in (self.own, self.shared, self.whole):
            value = layer.get(keyword)
            if value is not None:
                return value
        return None


def _flat(*groups: Any) -> dict[str, Any]:
    """The elements of functional groups, without the groups."""
    found: dict[str, Any] = {}
    for group in groups:
        for name in _GROUPS:
            for item in several(group.get(name)):
                for element in item:
                    if element.VR != "SQ" and element.keyword:
                        found.setdefault(element.keyword, element.value)
                for inner in several(item.get("DiffusionGradientDirectionSequence")):
                    found.update({element.keyword: element.value for element in inner})
    return found
