"""The slices that a result is written upon: the series that it was made of, as it is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autoseg.data.image import Array
from autoseg.errors import DataError, MissingDependency

# Present in every object of a patient, if only empty (type 2 of PS3.3, C.7.1.1 and C.7.2.1).
_PRESENT = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)


class PlacedFrame(Protocol):
    """A frame as `autoseg.data.dicom` gives it."""

    @property
    def path(self) -> Path:
        """Its file."""

    @property
    def number(self) -> int | None:
        """In a multi-frame file, from 1; None for a file of a single frame."""

    @property
    def position(self) -> Sequence[float]:
        """Of the centre of the first voxel, mm."""

    @property
    def cosines(self) -> Sequence[float]:
        """Directions of a row and of a column."""

    @property
    def spacing(self) -> Sequence[float]:
        """Of rows and of columns, mm."""


@dataclass(frozen=True)
class Slice:
    """One slice of a source: a file, or a frame of one. Satisfies `PlacedFrame`."""

    path: Path
    number: int | None
    position: Sequence[float]
    cosines: Sequence[float]
    spacing: Sequence[float]


@dataclass(frozen=True)
class Source:
    """A series whose slices are parallel.

    Attributes:
        slices: in the order of their positions along the normal.
        shape: number of slices, rows, columns.
    """

    slices: tuple[PlacedFrame, ...]
    shape: tuple[int, int, int]

    @property
    def axes(self) -> Array:
        """Directions of a row, of a column, and their normal, as columns."""
        row, column = np.reshape(np.asarray(self.slices[0].cosines, float), (2, 3))
        return np.column_stack([row, column, np.cross(row, column)])

    @property
    def spacing(self) -> tuple[float, float]:
        """Of rows and of columns, mm."""
        rows, columns = self.slices[0].spacing
        return float(rows), float(columns)

    @property
    def step(self) -> float | None:
        """Between slices along the normal, mm; None for a single one."""
        if len(self.slices) < 2:
            return None
        apart = np.subtract(self.slices[-1].position, self.slices[0].position)
        return float(abs(apart @ self.axes[:, 2])) / (len(self.slices) - 1)

    def points(self, slice_: int, voxels: Array) -> Array:
        """Places in the patient (n, 3), mm, of points (n, 2) in a slice: row and column in voxels."""
        rows, columns = self.spacing
        found: Array = (
            np.asarray(self.slices[slice_].position, float)
            + np.outer(voxels[:, 1] * columns, self.axes[:, 0])
            + np.outer(voxels[:, 0] * rows, self.axes[:, 1])
        )
        return found

    def check_named(self) -> None:
        """See that the series has the identifiers that an object upon it names.

        Raises:
            DataError: naming the one that it lacks.
        """
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            if not self.first.get(keyword):
                raise DataError(
                    f"{self.slices[0].path} has no {keyword}, which a DICOM result has to name. Write NIfTI "
                    f"(--to nifti), or export the series again."
                )

    @cached_property
    def datasets(self) -> dict[Path, Any]:
        """The files without their pixels, as pydicom has them; what every object has is there, if only empty.

        Raises:
            DataError: if a file can no longer be read.
        """
        pydicom = pydicom_or_error()
        found = {}
        for path in dict.fromkeys(each.path for each in self.slices):
            try:
                read = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            except (OSError, pydicom.errors.InvalidDicomError) as problem:
                raise DataError(f"{path} can no longer be read ({problem}). Restore the series.") from None
            for keyword in _PRESENT:
                if keyword not in read:
                    setattr(read, keyword, "")
            found[path] = read
        return found

    @property
    def first(self) -> Any:
        """The data set of the first slice's file."""
        return self.datasets[self.slices[0].path]


def pydicom_or_error() -> Any:
    """The module pydicom.

    Raises:
        MissingDependency: without it.
    """
    try:
        import pydicom
    except ImportError:
        raise MissingDependency("pydicom", "dicom", "Writing DICOM") from None
    return pydicom
