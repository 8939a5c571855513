"""The frames of an image file: position, direction and rescale of each, classic and multi-frame alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoseg.data.dicom.headers import Header, numbers_of, several

# What tells volumes under one series apart, most telling first: keyword, and the name that users read.
MARKS: Mapping[str, str] = {
    "ReferencedSegmentNumber": "segment",
    "StackID": "stack",
    "TemporalPositionIdentifier": "time point",
    "TemporalPositionIndex": "time point",
    "AcquisitionNumber": "acquisition",
    "FrameAcquisitionNumber": "acquisition",
    "EchoNumbers": "echo",
    "EchoTime": "echo time",
    "EffectiveEchoTime": "echo time",
    "DiffusionBValue": "b-value",
    "DiffusionGradientOrientation": "gradient direction",
    "ImageType": "image type",
    "FrameType": "image type",
    "NominalPercentageOfCardiacPhase": "cardiac phase",
    "TriggerTime": "trigger time",
    "InversionTime": "inversion time",
    "FlipAngle": "flip angle",
    "SequenceName": "sequence",
    "ConvolutionKernel": "kernel",
    "AcquisitionTime": "acquisition time",
    "ContentTime": "content time",
}
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
)


@dataclass(frozen=True)
class Frame:
    """One slice: a classic file, or a frame of a multi-frame one.

    Attributes:
        header: what it shares with the other frames of its file; `header.path` is the file.
        number: its number in the file, from 1; None for a file of a single frame.
        position: of the centre of its first voxel in the patient's space (x, y, z), mm; None if not stated.
        cosines: directions of a row (towards higher columns) and of a column; None if not stated.
        spacing: of rows (y) and of columns (x), mm, as PixelSpacing has them; 1 where nothing is stated.
        thickness: of the slice, mm; None if not stated. Never taken for the distance between slices.
        rescale: slope and intercept of this frame.
        instance: its InstanceNumber, or its place in the file.
        marks: what may tell volumes apart, see `MARKS`.
    """

    header: Header
    number: int | None
    position: tuple[float, ...] | None
    cosines: tuple[float, ...] | None
    spacing: tuple[float, ...]
    thickness: float | None
    rescale: tuple[float, ...]
    instance: int
    marks: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def sop_instance(self) -> str:
        """UID of the object that holds it."""
        return self.header.sop_instance

    @property
    def sop_class(self) -> str:
        """UID of that object's class."""
        return self.header.sop_class

    @property
    def placed(self) -> bool:
        """Whether it states where it lies."""
        return self.position is not None and self.cosines is not None

    def mark(self, keyword: str) -> str:
        """One of its marks; empty if there is none."""
        return dict(self.marks).get(keyword, "")

    def __str__(self) -> str:
        return f"{self.header.path}{f' (frame {self.number})' if self.number else ''}"


def frames_of(header: Header, found: Any) -> list[Frame]:
    """All frames of an image file; one alone, without a place, of a file that describes none of several.

    Args:
        header: the file's.
        found: its data set, as `headers.read_dataset` gives it.

    Raises:
        ValueError: if the number of frames and of their descriptions differ.
    """
    if header.count is None:
        stated = numbers_of(found, "InstanceNumber", 1)
        return [_frame(header, None, found, int(stated[0]) if stated else 0)]
    each = several(found.get("PerFrameFunctionalGroupsSequence"))
    if each and len(each) != header.count:
        raise ValueError(f"{header.count} frames, but descriptions of {len(each)}")
    shared = _flat(*several(found.get("SharedFunctionalGroupsSequence")))
    own = [_flat(part) for part in each] or [{}]
    return [
        _frame(header, number, _Layered(part, shared, found), number) for number, part in enumerate(own, 1)
    ]


def _frame(header: Header, number: int | None, found: Any, instance: int) -> Frame:
    spacing = next(
        (
            numbers
            for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
            if (numbers := numbers_of(found, keyword, 2)) and min(numbers) > 0
        ),
        (1.0, 1.0),
    )
    slope, intercept = numbers_of(found, "RescaleSlope", 1), numbers_of(found, "RescaleIntercept", 1)
    thickness = numbers_of(found, "SliceThickness", 1)
    return Frame(
        header=header,
        number=number,
        position=numbers_of(found, "ImagePositionPatient", 3),
        cosines=numbers_of(found, "ImageOrientationPatient", 6),
        spacing=spacing,
        thickness=thickness[0] if thickness else None,
        rescale=(slope[0] if slope else 1.0, intercept[0] if intercept else 0.0),
        instance=instance,
        marks=tuple((key, text) for key in MARKS if (text := _as_text(found.get(key)))),
    )


def _as_text(value: Any) -> str:
    return "\\".join(str(part) for part in several(value))


class _Layered:
    """Elements of a frame, else those that all frames share, else the file's."""

    def __init__(self, own: Mapping[str, Any], shared: Mapping[str, Any], whole: Any) -> None:
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
