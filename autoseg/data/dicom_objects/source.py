"""The slices that a result is written upon: the series that it was made of, as it is on disk."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dicom.frames import Frame
from autoseg.data.dicom.headers import pydicom_for
from autoseg.data.image import Array
from autoseg.errors import DataError

# Present in every object of a patient, if only empty (type 2 of PS3.3, C.7.1.1 and C.7.2.1).
_PRESENT = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
# What a result has to name of its source.
_NAMED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """The slices of one volume.

    Attributes:
        slices: as `autoseg.data.dicom` has them: parallel, in the order of their positions along the normal.
    """

    slices: tuple[Frame, ...]

    def points(self, slice_: int, voxels: Array) -> Array:
        """Places in the patient (n, 3), mm, of points (n, 2) in a slice: row and column in voxels."""
        place = self.slices[slice_]
        row, column = np.reshape(np.asarray(place.cosines, float), (2, 3))
        rows, columns = place.spacing
        along_rows, along_columns = (
            np.outer(voxels[:, 1] * columns, row),
            np.outer(voxels[:, 0] * rows, column),
        )
        found: Array = np.asarray(place.position, float) + along_rows + along_columns
        return found

    def check_placed(self) -> None:
        """See that the series says where it lies.

        Raises:
            DataError: if it does not.
        """
        if not self.slices[0].placed:
            raise DataError(
                f"{self.slices[0]} does not state where it lies, which a DICOM result has to. Write NIfTI "
                f"(--to nifti)."
            )

    @cached_property
    def datasets(self) -> dict[Path, Any]:
        """The files without their pixels, as pydicom has them; what every object has is there, if only empty.

        Raises:
            DataError: if a file can no longer be read.
        """
        pydicom = pydicom_for("Writing DICOM")
        found = {}
        for each in self.slices:
            path = each.header.path
            if path in found:
                continue
            try:
                read = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            except Exception as problem:  # a foreign parser on foreign bytes: the file has changed
                raise DataError(f"{path} can no longer be read ({problem}). Restore the series.") from None
            # Some programs that take out identities leave these in the file's own group alone.
            read.SOPClassUID, read.SOPInstanceUID = each.sop_class, each.sop_instance
            for keyword in _PRESENT:
                if keyword not in read:
                    setattr(read, keyword, "")
            found[path] = read
        self._identify(found)
        return found

    def _identify(self, datasets: Mapping[Path, Any]) -> None:
        """Give identifiers to a series that lacks some: always the same ones, made of those of its images."""
        from pydicom.uid import generate_uid

        first = min(str(read.SOPInstanceUID) for read in datasets.values())
        lacking = [name for name in _NAMED if any(not read.get(name) for read in datasets.values())]
        for name in lacking:
            made = generate_uid(entropy_srcs=[name, first])
            for read in datasets.values():
                setattr(read, name, made)
        if lacking:
            log.warning(
                "%s has no %s. The result names made ones; an archive will not file it with the series.",
                self.slices[0].header.path.parent,
                " and no ".join(lacking),
            )

    @property
    def first(self) -> Any:
        """The data set of the first slice's file."""
        return self.datasets[self.slices[0].header.path]
