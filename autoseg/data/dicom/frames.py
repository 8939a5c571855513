"""A frame: one slice with its position, direction and rescale, of a classic or a multi-frame file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoseg.data.dicom.headers import Header

# What tells volumes under one series apart, most telling first: keyword, and the name that users read.
MARKS: Mapping[str, str] = {
    "ReferencedSegmentNumber": "segment",
    "StackID": "stack",
    "TemporalPositionIdentifier": "time point",
    "TemporalPositionIndex": "time point",
    "TemporalPositionTimeOffset": "time",
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
    "NominalCardiacTriggerDelayTime": "trigger time",
    "NominalRespiratoryTriggerDelayTime": "respiratory trigger time",
    "FrameReferenceTime": "frame time",
    "InversionTime": "inversion time",
    "FlipAngle": "flip angle",
    "SequenceName": "sequence",
    "ConvolutionKernel": "kernel",
    "AcquisitionTime": "acquisition time",
    "FrameAcquisitionDateTime": "acquisition time",
    "AcquisitionDateTime": "acquisition time",
    "FrameReferenceDateTime": "frame time",
    "ContentTime": "content time",
    "DimensionIndexValues": "dimension",
    "DimensionIndexValue1": "first dimension",
    "DimensionIndexValue2": "second dimension",
    "DimensionIndexValue3": "third dimension",
}


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
        sized: whether the file states the size of its pixels.
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
    sized: bool = True

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
