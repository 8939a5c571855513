"""Surface elements between voxels: how much boundary lies inside a 2x2x2 (or 2x2) neighbourhood.

The boundary of a segmentation is drawn through the midpoints between foreground and background voxels, as
marching cubes does (Lorensen and Cline 1987, doi:10.1145/37402.37422), and each neighbourhood that it
crosses counts with the area (3D) or length (2D) of its piece. This is the boundary of the surface Dice of
Nikolov et al. (2021, doi:10.2196/26151). The pieces follow from two rules, so there is no table to copy:

1. On a square whose corners alternate, the corners of the rarer kind (of the whole neighbourhood) are cut
   off one by one.
2. A loop of midpoints is filled with a fan of triangles, from the vertex that gives the largest area at
   unit spacing. That keeps midpoints that lie in one plane in one facet, whatever the spacing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Corner = tuple[int, ...]
Edge = frozenset[Corner]
Inside = frozenset[Corner]

SQUARE: tuple[Corner, ...] = ((0, 0), (0, 1), (1, 1), (1, 0))


def neighbour_codes(segmentation: NDArray[np.bool_], outside: bool = False) -> NDArray[np.uint8]:
    """Number every neighbourhood of 2x2 or 2x2x2 voxels by which of its voxels are set.

    Args:
        segmentation: boolean, 2D (y, x) or 3D (z, y, x).
        outside: what lies beyond the array.

    Returns:
        One code for each voxel corner, so one more than voxels along each axis. All clear is 0, all set is
        15 (2D) or 255 (3D); the lowest bit is the neighbour with the highest coordinates.
    """
    codes = segmentation.view(np.uint8)
    width = 1
    for axis in reversed(range(segmentation.ndim)):
        lower = np.moveaxis(codes, axis, 0)
        beyond = (1 << width) - 1 if outside else 0
        shape = [n + (a == axis) for a, n in enumerate(codes.shape)]
        codes = np.empty(shape, np.uint8)
        corners = np.moveaxis(codes, axis, 0)
        np.multiply(lower, np.uint8(1 << width), out=corners[1:])
        corners[0] = beyond << width
        corners[:-1] |= lower
        corners[-1] |= beyond
        width *= 2
    return codes


@lru_cache(maxsize=64)
def element_sizes(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Size of the boundary inside a neighbourhood, by its code.

    Args:
        spacing_mm: two (y, x) or three (z, y, x) numbers.

    Returns:
        16 lengths in mm or 256 areas in mm^2; 0 for the first and the last code.
    """
    codes, normals = _pieces(len(spacing_mm))
    # A normal's component along an axis is an area in the plane of the other axes.
    scale = np.prod(spacing_mm) / np.asarray(spacing_mm)
    sizes = np.linalg.norm(normals * scale, axis=1)
    table = np.asarray(np.bincount(codes, sizes, minlength=1 << (1 << len(spacing_mm))), np.float64)
    table.setflags(write=False)
    return table


@cache
def _pieces(dimensions: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Codes and size-weighted normals of all pieces, at unit spacing."""
    corners = list(product((0, 1), repeat=dimensions))
    owners: list[int] = []
    normals: list[NDArray[np.float64]] = []
    for code in range(1, (1 << len(corners)) - 1):
        inside = frozenset(c for bit, c in enumerate(reversed(corners)) if code >> bit & 1)
        pieces = _segment_normals(inside) if dimensions == 2 else _triangle_normals(inside)
        owners += [code] * len(pieces)
        normals += pieces
    return np.asarray(owners, np.intp), np.asarray(normals)


def _segment_normals(inside: Inside) -> list[NDArray[np.float64]]:
    ends = [(_middle(a), _middle(b)) for a, b in _segments(SQUARE, inside, rarer=len(inside) <= 2)]
    return [np.array([b[1] - a[1], a[0] - b[0]]) for a, b in ends]


def _triangle_normals(inside: Inside) -> list[NDArray[np.float64]]:
    normals: list[NDArray[np.float64]] = []
    for loop in _loops(inside):
        middles = np.array([_middle(edge) for edge in loop])
        fans = [_fan(np.roll(middles, start, axis=0)) for start in range(len(loop))]
        normals += max(fans, key=lambda fan: float(np.linalg.norm(fan, axis=1).sum())).tolist()
    return normals


def _fan(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area-weighted normals of the triangles between the first vertex and each further side."""
    arms = vertices[1:] - vertices[0]
    return np.cross(arms[:-1], arms[1:]) / 2


def _loops(inside: Inside) -> Iterator[list[Edge]]:
    """Closed lines that the boundary draws on the faces of the cube, as the edges that they cross."""
    follows: dict[Edge, list[Edge]] = {}
    for face in _faces():
        for a, b in _segments(face, inside, rarer=len(inside) <= 4):
            follows.setdefault(a, []).append(b)
            follows.setdefault(b, []).append(a)
    while follows:
        loop = [next(iter(follows))]
        while loop[-1] in follows:
            onward = [edge for edge in follows.pop(loop[-1]) if edge in follows]
            loop += onward[:1]
        yield loop


def _faces() -> Iterator[list[Corner]]:
    """The six faces of the unit cube, each as its corners in order."""
    for axis, side in product(range(3), (0, 1)):
        yield [(*c[:axis], side, *c[axis:]) for c in SQUARE]


def _segments(square: Sequence[Corner], inside: Inside, rarer: bool) -> list[tuple[Edge, Edge]]:
    """Pieces of boundary on a square, each between two of its edges.

    Args:
        square: four corners in order.
        inside: the corners that are set.
        rarer: whether set corners are the rarer kind, which is cut off where kinds alternate.
    """
    edges = [frozenset((square[i], square[(i + 1) % 4])) for i in range(4)]
    cut = [edge for edge in edges if len(edge & inside) == 1]
    if len(cut) == 2:
        return [(cut[0], cut[1])]
    if len(cut) == 4:
        return [(edges[i - 1], edges[i]) for i in range(4) if (square[i] in inside) == rarer]
    return []


def _middle(edge: Edge) -> tuple[float, ...]:
    a, b = edge
    return tuple((p + q) / 2 for p, q in zip(a, b, strict=True))
