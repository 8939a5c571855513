"""Distances between the surfaces of two segmentations: found once, then every distance metric is a line.

Two definitions of a surface, which differ on the same segmentations:

- `voxel`: the voxels that touch the background by a face, at their centres; each counts as one. This is
  what MONAI, MetricsReloaded and medpy measure on.
- `surfel`: the neighbourhoods of voxels that the boundary crosses, at their midpoints; each counts with the
  area of its piece of boundary (`surfels`). This is what DeepMind's surface-distance measures on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autoseg.metrics.surfels import element_sizes, neighbour_codes

Definition = Literal["voxel", "surfel"]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Surface = tuple[Bools, Floats | None]
Shells = tuple[tuple[float, Places], ...]

# A good prediction's surface is a few voxels off: looking up so many neighbours finds most of it.
LOOK_UPS = 400

# What is further off asks a KD-tree, which only looks at surfaces, but visits much of itself for a far
# query: noise would take minutes. Beyond so many elements, and this share of the voxels, a distance
# transform is faster; it takes the same time for any segmentation.
TREE_ELEMENTS = 300_000
TREE_SHARE = 1 / 40

# Distances are sums of multiples of the spacing: a shift of three voxels of 0.8 mm is 2.4000000000000004.
TIE = 1 + 1e-6


@dataclass(frozen=True)
class SurfaceDistances:
    """How far each surface element of one segmentation is from the other's surface.

    Attributes:
        from_reference: (n,) mm, of the reference's elements.
        from_prediction: (m,) mm, of the prediction's elements.
        reference_sizes: (n,) area or length of the elements; None where each counts as one.
        prediction_sizes: (m,) likewise.
    """

    from_reference: Floats
    from_prediction: Floats
    reference_sizes: Floats | None = None
    prediction_sizes: Floats | None = None

    @property
    def directed(self) -> tuple[tuple[Floats, Floats | None], tuple[Floats, Floats | None]]:
        """Distances and sizes, reference first."""
        return (self.from_reference, self.reference_sizes), (self.from_prediction, self.prediction_sizes)

    def hausdorff(self, percentile: float = 100.0) -> float:
        """The greater of the two directed percentiles, in mm.

        Percentiles of equal elements are interpolated linearly (as `numpy.percentile`); with sizes, it is
        the least distance within which that share of the surface lies.
        """
        return max(_percentile(distances, sizes, percentile) for distances, sizes in self.directed)

    def mean_symmetric(self) -> float:
        """ASSD in mm: the mean over all elements of both surfaces."""
        totals = [_total(distances, sizes) for distances, sizes in self.directed]
        return sum(distance for distance, _ in totals) / sum(size for _, size in totals)

    def mean_of_directed(self) -> float:
        """MASD in mm: the mean of the two directed means."""
        return sum(d / n for d, n in (_total(distances, sizes) for distances, sizes in self.directed)) / 2

    def share_within(self, tolerance_mm: float) -> float:
        """NSD (surface Dice): the share of both surfaces within a tolerance of the other."""
        near = whole = 0.0
        for distances, sizes in self.directed:
            close = distances <= tolerance_mm * TIE
            near += float(np.count_nonzero(close) if sizes is None else sizes[close].sum())
            whole += float(distances.size if sizes is None else sizes.sum())
        return near / whole


def surface_distances(
    reference: Bools,
    prediction: Bools,
    spacing_mm: tuple[float, ...],
    definition: Definition,
    ignored: Bools | None = None,
) -> SurfaceDistances:
    """Measure both directions between two segmentations that are not empty.

    Args:
        reference: boolean, 2D or 3D; beyond the array is background.
        prediction: boolean, of the same shape.
        spacing_mm: voxel size in array order.
        definition: which surface is meant.
        ignored: voxels without a truth, set in neither segmentation. Where a segmentation meets only them,
            it has no surface; if nothing else is left, they count as background.
    """
    find: Callable[..., Surface] = _voxel_surface if definition == "voxel" else _surfel_surface
    (a, a_sizes), (b, b_sizes) = (find(each, spacing_mm, ignored) for each in (reference, prediction))
    if ignored is not None and not (a.any() and b.any()):
        return surface_distances(reference, prediction, spacing_mm, definition)
    return SurfaceDistances(_nearest(a, b, spacing_mm), _nearest(b, a, spacing_mm), a_sizes, b_sizes)


def _voxel_surface(segmentation: Bools, spacing_mm: tuple[float, ...], ignored: Bools | None) -> Surface:
    inner = segmentation.copy() if ignored is None else segmentation | ignored
    solid = inner.copy()
    for axis in range(segmentation.ndim):
        kept, source = np.moveaxis(inner, axis, 0), np.moveaxis(solid, axis, 0)
        kept[1:] &= source[:-1]
        kept[:-1] &= source[1:]
        kept[0] = kept[-1] = False
    return segmentation & ~inner, None


def _surfel_surface(segmentation: Bools, spacing_mm: tuple[float, ...], ignored: Bools | None) -> Surface:
    codes = neighbour_codes(segmentation)
    sizes = element_sizes(spacing_mm)
    if ignored is None:
        surface = (codes != 0) & (codes != len(sizes) - 1)
    else:
        surface = (codes != 0) & (neighbour_codes(~(segmentation | ignored), outside=True) != 0)
    return surface, sizes[codes[surface]]


def _nearest(surface: Bools, target: Bools, spacing_mm: tuple[float, ...]) -> Floats:
    """Distance of each element of a surface to the nearest of the target, in the order of the array."""
    most = max(TREE_ELEMENTS, TREE_SHARE * surface.size)
    if np.count_nonzero(surface) > most:
        return _by_transform(surface, target, spacing_mm)
    shells = _shells(spacing_mm)
    reach = [(n, n) for n in np.abs(np.concatenate([steps for _, steps in shells])).max(axis=0)]
    padded, targets = np.pad(surface, reach), np.pad(target, reach)
    at = np.flatnonzero(padded)
    distances, left = _look_up(at, targets, shells)
    if not len(left):
        return distances
    if len(left) + np.count_nonzero(target) > most:
        return _by_transform(surface, target, spacing_mm)
    distances[left] = _by_tree(at[left], np.flatnonzero(targets), targets.shape, spacing_mm)
    return distances


def _look_up(at: Places, targets: Bools, shells: Shells) -> tuple[Floats, Places]:
    """Distances of the elements that have a target within the shells, and the indices of the others."""
    strides, looked_up = np.asarray(targets.strides), targets.ravel()
    distances = np.empty(len(at))
    left = np.arange(len(at))
    for length, steps in shells:
        hit = np.zeros(len(at), np.bool_)
        for jump in steps @ strides:
            hit |= looked_up[at + jump]
        distances[left[hit]] = length
        left, at = left[~hit], at[~hit]
        if not len(left):
            break
    return distances, left


@lru_cache(maxsize=64)
def _shells(spacing_mm: tuple[float, ...]) -> Shells:
    """The shortest steps on the grid, those of equal length together: length in mm, steps in voxels."""
    volume = LOOK_UPS * np.prod(spacing_mm)
    radius = math.sqrt(volume / math.pi) if len(spacing_mm) == 2 else math.cbrt(volume * 3 / (4 * math.pi))
    reach = [np.arange(-int(radius / step), int(radius / step) + 1) for step in spacing_mm]
    steps = np.stack(np.meshgrid(*reach, indexing="ij"), axis=-1).reshape(-1, len(spacing_mm))
    lengths = np.linalg.norm(steps * np.asarray(spacing_mm), axis=1)
    order = np.argsort(lengths, kind="stable")[:LOOK_UPS]
    order = order[lengths[order] <= radius]
    starts = np.flatnonzero(np.diff(lengths[order]) > 1e-9 * radius) + 1
    return tuple((float(lengths[shell[0]]), steps[shell]) for shell in np.split(order, starts))


def _by_tree(at: Places, targets: Places, shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> Floats:
    from scipy.spatial import cKDTree

    scale = np.asarray(spacing_mm)[:, None]
    points, tree_points = ((np.stack(np.unravel_index(p, shape)) * scale).T for p in (at, targets))
    # One query is all the tree is for: building it fast counts for more than its balance.
    tree = cKDTree(tree_points, leafsize=32, compact_nodes=False, balanced_tree=False)
    return np.asarray(tree.query(points)[0], np.float64)


def _by_transform(surface: Bools, target: Bools, spacing_mm: tuple[float, ...]) -> Floats:
    from edt import edt

    distances = edt(~target, anisotropy=spacing_mm, black_border=False, parallel=1)
    return np.asarray(distances[surface], np.float64)


def _total(distances: Floats, sizes: Floats | None) -> tuple[float, float]:
    if sizes is None:
        return float(distances.sum()), float(distances.size)
    # Not a dot product: BLAS would start threads for it in every worker.
    return float((distances * sizes).sum()), float(sizes.sum())


def _percentile(distances: Floats, sizes: Floats | None, percentile: float) -> float:
    if percentile == 100.0:
        return float(distances.max())
    if sizes is None:
        return float(np.percentile(distances, percentile))
    return _weighted_percentile(distances, sizes, percentile)


def _weighted_percentile(distances: Floats, sizes: Floats, percentile: float) -> float:
    """Least distance d such that elements within d make up the given share of the surface."""
    order = np.argsort(distances)
    reached = np.cumsum(sizes[order])
    # Sums of equal areas can miss an exact share by rounding.
    first = int(np.searchsorted(reached, percentile / 100 * reached[-1] * (1 - 1e-12)))
    return float(distances[order[min(first, len(order) - 1)]])
