"""A voxel grid in the patient's space."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from autoseg.data.world import Turn, affine_of, turn_of


@dataclass(frozen=True)
class Grid:
    """Axes in file order (x, y, z), as ITK has them; a picture has neither size in mm nor place."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...] = ()
    direction: tuple[float, ...] = ()

    def __str__(self) -> str:
        size = " x ".join(map(str, self.size))
        return f"{size} voxels of {' x '.join(f'{s:.4g}' for s in self.spacing)} mm (x, y, z)"

    def differs(self, other: Grid) -> bool:
        """Whether the voxels of both cannot be laid over each other."""
        return self.size != other.size or not np.allclose(self.spacing, other.spacing)

    def moved(self, other: Grid) -> float:
        """How far apart, in voxels, two grids of one shape place a voxel at most."""
        if not (self.direction and other.direction):
            return 0.0
        corners = [
            np.multiply(corner, np.subtract(self.size, 1))
            for corner in product((0, 1), repeat=len(self.size))
        ]
        apart = max(float(np.linalg.norm(self._at(corner) - other._at(corner))) for corner in corners)
        return apart / min(self.spacing)

    def apart_mm(self, other: Grid) -> float:
        """How far apart two grids place their corners at most, mm, however their axes run.

        Infinite if their sizes differ.
        """
        turn = self.turn_onto(other)
        if turn is None or len(self.size) != 3:
            return float("inf")
        worst = 0.0
        for corner in product((0, 1), repeat=3):
            there = np.multiply(corner, np.subtract(other.size[::-1], 1))
            here = np.zeros(3)
            for axis, own in enumerate(turn.axes):
                here[own] = other.size[2 - axis] - 1 - there[axis] if turn.flips[axis] else there[axis]
            worst = max(worst, float(np.linalg.norm(self._at(here[::-1]) - other._at(there[::-1]))))
        return worst

    def turn_onto(self, other: Grid) -> Turn | None:
        """The permutation and flips that bring voxels of this grid to those of another; None without any."""
        if not (self.direction and other.direction) or len(self.size) != len(other.size):
            return None
        flat = (1,) * (3 - len(self.size))
        return turn_of(self._affine(), (*flat, *self.size[::-1]), other._affine(), (*flat, *other.size[::-1]))

    def _affine(self) -> np.ndarray:
        count = len(self.size)
        return affine_of(np.reshape(self.direction, (count, count)), self.spacing, self.origin)

    def _at(self, index: np.ndarray) -> np.ndarray:
        axes = np.reshape(self.direction, (len(self.size), -1)) * self.spacing
        return np.asarray(np.asarray(self.origin) + axes @ index)
