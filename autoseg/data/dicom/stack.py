"""A volume as it lies in DICOM: its frames in order, and the grid that they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dicom.frames import Frame
from autoseg.data.dicom.headers import Header
from autoseg.data.dicom.placing import Placing


@dataclass(frozen=True)
class Stack:
    """Frames that make one volume.

    Attributes:
        frames: the source's slices in the order of their position along the normal: the order of the
            array's first axis where `placing.plain`.
        placing: the grid.
        part: what tells it from other volumes of its series: ``acquisition 2``; empty if it is alone.
    """

    frames: tuple[Frame, ...]
    placing: Placing
    part: str = ""

    @property
    def header(self) -> Header:
        """Of the first slice's file."""
        return self.frames[0].header

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, each once, in the order of the slices."""
        return tuple(dict.fromkeys(frame.header.path for frame in self.frames))

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that its files lie in."""
        return tuple(dict.fromkeys(path.parent for path in self.files))

    def __str__(self) -> str:
        return f"{self.header.path.parent} ({len(self.frames)} slices{f', {self.part}' if self.part else ''})"
