"""Masks in parallel planes anywhere in the patient, taken onto a volume's grid by nearest neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.data.dicom.mask import Mask
from autoseg.data.dicom.placing import Placing
from autoseg.data.image import Array

# Planes closer than this, mm, are one.
_ONE_PLANE = 1e-3


@dataclass(frozen=True)
class Lattice:
    """Planes of one direction and pixel size.

    Attributes:
        planes: masks (rows, columns), in any order.
        positions: centre of the first pixel of each plane in the patient's space (x, y, z), mm.
        axes: directions of a row, of a column, and the normal, as columns.
        pixel: sizes of rows (y) and columns (x), mm.
        reach: how far a plane reaches along the normal on either side, mm.
    """

    planes: Sequence[Array]
    positions: Array
    axes: Array
    pixel: tuple[float, float]
    reach: float

    def onto(self, placing: Placing) -> Mask:
        """The mask on a grid: where a voxel's nearest pixel, of the nearest plane within reach, is set."""
        mask = np.zeros(placing.shape, bool)
        farthest = 0.0
        along = self.positions @ self.axes[:, 2]
        order = np.argsort(along)
        for z, world in enumerate(_slices(placing)):
            height = world @ self.axes[:, 2]
            nearest = order[_nearest(along[order], height)]
            apart = np.abs(along[nearest] - height)
            for number in np.unique(nearest):
                here = (nearest == number) & (apart <= self.reach + _ONE_PLANE)
                if here.any():
                    beside = self._sample(mask[z], here, world, int(number))
                    farthest = max(farthest, float(np.hypot(beside, apart[here & mask[z]].max(initial=0.0))))
        return Mask(mask, farthest, self._outside(placing))

    def _outside(self, placing: Placing) -> int:
        """Pixels that are set and lie beside the volume by more than half a voxel."""
        axes = np.reshape(placing.direction, (3, 3)) * np.array(placing.spacing[::-1])
        count = 0
        for plane, position in zip(self.planes, self.positions, strict=True):
            rows, columns = np.nonzero(plane)
            pixel = np.column_stack([columns * self.pixel[1], rows * self.pixel[0]])
            index = (position + pixel @ self.axes[:, :2].T - placing.origin) @ np.linalg.inv(axes).T
            limits = np.array(placing.shape[::-1]) - 0.5
            count += int(((index < -0.5) | (index > limits)).any(axis=1).sum())
        return count

    def _sample(self, plane: Array, here: Array, world: Array, number: int) -> float:
        """Set the pixels of a slice that a plane covers; how far aside they were at most."""
        at = (world[here] - self.positions[number]) @ self.axes[:, :2] / self.pixel[::-1]
        columns, rows = np.rint(at).astype(int).T
        source = self.planes[number]
        inside = (rows >= 0) & (rows < source.shape[0]) & (columns >= 0) & (columns < source.shape[1])
        values = np.zeros(len(rows), bool)
        values[inside] = source[rows[inside], columns[inside]] != 0
        plane[here] |= values
        beside = np.abs(at - np.rint(at))[values] * self.pixel[::-1]
        return float(np.linalg.norm(beside, axis=1).max(initial=0.0))


def _slices(placing: Placing) -> Iterator[Array]:
    """Centres of all voxels, slice by slice: (y, x, 3)."""
    axes = np.reshape(placing.direction, (3, 3)) * np.array(placing.spacing[::-1])
    y, x = np.indices(placing.shape[1:])
    flat = np.asarray(placing.origin) + x[..., None] * axes[:, 0] + y[..., None] * axes[:, 1]
    return (flat + z * axes[:, 2] for z in range(placing.shape[0]))


def _nearest(sorted_values: Array, wanted: Array) -> Array:
    after = np.clip(np.searchsorted(sorted_values, wanted), 1, max(len(sorted_values) - 1, 1))
    if len(sorted_values) == 1:
        return np.zeros(wanted.shape, int)
    before = after - 1
    closer = np.abs(sorted_values[before] - wanted) <= np.abs(sorted_values[after] - wanted)
    nearest: Array = np.where(closer, before, after)
    return nearest
