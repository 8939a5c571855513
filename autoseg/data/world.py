"""Where an image's voxels lie in the world, and how an array is turned onto another grid without loss.

Two programs may store one image along other axes: x from left to right or from right to left, z before y. As
long as the voxels lie at the same places, a permutation and flips of the array make one of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from autoseg.data.image import Array, Image

# What is left between the voxels of two grids after a turn, in voxels, is rounding in the headers.
ROUNDING = 0.05


@dataclass(frozen=True)
class Turn:
    """How an array (..., z, y, x) is brought onto another grid.

    Attributes:
        axes: for each axis of the new grid in array order, the axis of the array that runs along it.
        flips: for each axis of the new grid, whether it runs the other way.
        apart: how far the voxels are apart after it at most, in voxels of the new grid.
    """

    axes: tuple[int, ...]
    flips: tuple[bool, ...]
    apart: float

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return self.axes != tuple(range(len(self.axes))) or any(self.flips)

    @property
    def exact(self) -> bool:
        """Whether the voxels lie at the same places after it."""
        return self.apart <= ROUNDING

    def apply(self, array: Array) -> Array:
        """The array on the new grid; leading axes stay."""
        lead = array.ndim - len(self.axes)
        turned = array.transpose(*range(lead), *(lead + axis for axis in self.axes))
        back = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        index: tuple[Any, ...] = (..., *back)
        return np.ascontiguousarray(turned[index])


def voxel_to_world(image: Image) -> Array | None:
    """Indices (x, y, z) of an image's array to mm in the patient's space (LPS), (3, 4); None without a place.

    Of a flat image the third column is a slice's distance of 1 mm along z.
    """
    if "nibabel_stuff" in image.properties:
        stuff = image.properties["nibabel_stuff"]
        # nibabel's space has x to the right and y to the front.
        affine = stuff.get("reoriented_affine", stuff["original_affine"])
        return np.asarray(np.diag((-1.0, -1.0, 1.0)) @ affine[:3])
    if "sitk_stuff" not in image.properties:
        return None
    stuff = image.properties["sitk_stuff"]
    count = min(3, len(stuff["spacing"]))
    whole = np.reshape(stuff["direction"], (len(stuff["spacing"]), -1))
    return affine_of(whole[:count, :count], stuff["spacing"][:count], stuff["origin"][:count])


def affine_of(direction: Array, spacing: tuple[float, ...], origin: tuple[float, ...]) -> Array:
    """Indices to mm, (3, 4), from ITK's numbers in 2D or 3D."""
    affine = np.eye(3, 4)
    count = len(spacing)
    affine[:count, :count] = np.reshape(direction, (count, count)) * spacing
    affine[:count, 3] = origin
    return affine


def turn_between(found: Image, wanted: Image) -> Turn | None:
    """The turn that brings one image's array onto the grid of another; see `turn_of`."""
    one, other = voxel_to_world(found), voxel_to_world(wanted)
    if one is None or other is None:
        return None
    return turn_of(one, found.array.shape[1:], other, wanted.array.shape[1:])


def turn_of(found: Array, shape: tuple[int, ...], wanted: Array, onto: tuple[int, ...]) -> Turn | None:
    """The permutation and flips that bring voxels of one grid closest to those of another of that size.

    Args:
        found: the array's grid: indices (x, y, z) to mm, (3, 4).
        shape: the array's shape (z, y, x).
        wanted: the other grid's.
        onto: its shape (z, y, x).

    Returns:
        None where no permutation makes one shape of the other, or a header gives no volume to a voxel.
    """
    if not (np.isfinite(found).all() and np.isfinite(wanted).all()) or abs(np.linalg.det(found[:, :3])) == 0:
        return None
    back = np.linalg.inv(found[:, :3])
    steps, start = back @ wanted[:, :3], back @ (wanted[:, 3] - found[:, 3])
    along = [int(axis) for axis in np.abs(steps).argmax(axis=0)]
    size, other = shape[::-1], onto[::-1]
    if sorted(along) != [0, 1, 2] or any(size[along[axis]] != other[axis] for axis in range(3)):
        return None
    flips = [bool(steps[along[axis], axis] < 0) for axis in range(3)]
    apart = _apart(steps, start, along, flips, other)
    axes = tuple(2 - along[2 - axis] for axis in range(3))
    return Turn(axes, tuple(flips[::-1]), apart)


def _apart(steps: Array, start: Array, along: list[int], flips: list[bool], size: tuple[int, ...]) -> float:
    """The greatest distance, along an axis, between where a corner lies and where the turn has it."""
    worst = 0.0
    for corner in product(*((0, n - 1) for n in size)):
        exact = np.empty(3)
        for axis in range(3):
            exact[along[axis]] = size[axis] - 1 - corner[axis] if flips[axis] else corner[axis]
        worst = max(worst, float(np.abs(steps @ np.array(corner) + start - exact).max()))
    return worst
