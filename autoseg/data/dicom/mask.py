"""A structure's mask on the grid of a volume, and what taking it there came to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoseg.data.dicom.placing import Placing
from autoseg.data.image import Array


@dataclass(frozen=True)
class Mask:
    """One structure.

    Attributes:
        array: (z, y, x), bool.
        moved_mm: how far its voxels were moved at most, mm; 0 where grids coincide.
        outside: how many voxels of a SEG, or contours, lie outside the volume and are lost.
    """

    array: Array
    moved_mm: float = 0.0
    outside: int = 0

    @classmethod
    def empty(cls, placing: Placing, outside: int = 0) -> Mask:
        """One without a voxel."""
        return cls(np.zeros(placing.shape, bool), outside=outside)
