"""The outlines of a mask in one slice as closed polygons.

An outline runs between the centres of voxels inside and outside, a little nearer to the inside: whoever
fills it by the centres of voxels gets the mask back, and so does whoever first rounds its points to whole
voxels and fills with the border. A hole is joined to what surrounds it by a cut of no width, the "keyhole" of
PS3.3, C.8.8.6.3: the polygon is read alike by programs that add the polygons of a slice and by those that
take the exclusive or of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoseg.data.image import Array
from autoseg.errors import MissingDependency

Points = NDArray[np.float64]
# Of the way from a voxel inside (1) to one outside (0); at 0.5 rounding could go either way.
_LEVEL = 0.51


def outlines(mask: Array) -> list[Points]:
    """Closed polygons around a mask, each with its holes joined to it.

    Args:
        mask: (rows, columns), boolean.

    Returns:
        For each part its points (n, 2) as row and column, in voxels; the first one is not repeated.

    Raises:
        MissingDependency: without scikit-image.
    """
    try:
        from skimage.measure import find_contours, points_in_poly
    except ImportError:
        raise MissingDependency("scikit-image", "dicom", "Writing RTSTRUCT") from None
    # Around it lies background, so that every outline closes. Voxels that touch at a corner stay apart.
    found = [_corners(line[:-1] - 1) for line in find_contours(np.pad(mask, 1).astype(float), _LEVEL)]
    outer = sorted((line for line in found if _area(line) > 0), key=_area)
    inner: list[list[Points]] = [[] for _ in outer]
    for hole in (line for line in found if _area(line) < 0):
        around = next(n for n, line in enumerate(outer) if points_in_poly(hole[:1], line)[0])
        inner[around].append(hole)
    return [_joined(line, holes) for line, holes in zip(outer, inner, strict=True)]


def _area(points: Points) -> float:
    """Twice the area, positive where what is inside lies on the side that find_contours has it."""
    row, column = points.T
    return float(np.sum(np.roll(row, -1) * column - row * np.roll(column, -1)))


def _corners(points: Points) -> Points:
    """The points without those on a straight line between their neighbours."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return points[np.abs(turns) > 1e-9]


def _joined(outer: Points, holes: Sequence[Points]) -> Points:
    """One polygon of an outline and its holes, the nearest hole first, by the shortest cut."""
    ring, left = outer, list(holes)
    while left:
        cuts = [_shortest(ring, hole) for hole in left]
        nearest = min(range(len(left)), key=lambda n: cuts[n][0])
        _, at, to = cuts[nearest]
        hole = left.pop(nearest)
        ring = np.concatenate([ring[: at + 1], hole[to:], hole[: to + 1], ring[at:]])
    return ring


def _shortest(ring: Points, hole: Points) -> tuple[float, int, int]:
    """Length and ends of the shortest cut between points of two polygons."""
    apart = np.square(ring[:, None] - hole[None]).sum(axis=2)
    at, to = np.unravel_index(int(apart.argmin()), apart.shape)
    return float(apart[at, to]), int(at), int(to)
