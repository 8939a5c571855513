"""The outlines of a mask in one slice as closed polygons.

An outline runs between the centres of voxels inside and outside, a little nearer to the inside: whoever
fills it by the centres of voxels gets the mask back, and so does whoever first rounds its points to whole
voxels and fills with the border. A hole is joined to what surrounds it by a cut of no width, the "keyhole" of
PS3.3, C.8.8.6.3: the polygon is read alike by programs that add the polygons of a slice and by those that
take the exclusive or of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    low, high = (np.array([end(line, axis=0) for line in outer]) for end in (np.min, np.max))
    inner: list[list[Points]] = [[] for _ in outer]
    for hole in (line for line in found if _area(line) < 0):
        near = np.flatnonzero(((low <= hole[0]) & (high >= hole[0])).all(axis=1))
        inner[next(n for n in near if points_in_poly(hole[:1], outer[n])[0])].append(hole)
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
    """One polygon of an outline and its holes, each joined by a cut to what is near."""
    if not holes:
        return outer
    ring = outer
    for hole, to, from_ in _cuts([outer, *holes]):
        at = int(np.flatnonzero((ring == from_).all(axis=1))[0])
        line = holes[hole - 1]
        ring = np.concatenate([ring[: at + 1], line[to:], line[: to + 1], ring[at:]])
    return ring


def _cuts(lines: Sequence[Points]) -> Iterator[tuple[int, int, Points]]:
    """The shortest cuts that join all lines to the first one, outwards from it.

    Together they are the least spanning tree of the lines; its edges are among those of a Delaunay
    triangulation of their points.

    Returns:
        Number of a line, of its point, and the point of a line that is joined already.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
    from scipy.spatial import Delaunay

    points = np.concatenate(lines)
    sizes = [len(line) for line in lines]
    owner, first = np.repeat(np.arange(len(lines)), sizes), np.cumsum([0, *sizes])
    edges = Delaunay(points).simplices[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    edges = np.where((owner[edges[:, 0]] > owner[edges[:, 1]])[:, None], edges[:, ::-1], edges)
    edges = edges[owner[edges[:, 0]] != owner[edges[:, 1]]]
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    edges = edges[np.argsort(length, kind="stable")]
    pairs, best = np.unique(owner[edges], axis=0, return_index=True)
    shortest = {tuple(pair): edges[edge] for pair, edge in zip(pairs.tolist(), best, strict=True)}
    weights = np.linalg.norm(points[edges[best, 0]] - points[edges[best, 1]], axis=1)
    tree = minimum_spanning_tree(coo_array((weights, pairs.T), shape=(len(lines),) * 2).tocsr())
    order, before = breadth_first_order(tree, 0, directed=False)
    for line in order[1:]:
        known = int(before[line])
        one, other = shortest[(min(known, int(line)), max(known, int(line)))]
        to, at = (other, one) if owner[other] == line else (one, other)
        yield int(line), int(to - first[line]), points[at]
