"""Resample segmentations to another shape, as nnU-Net does, at a cost that does not grow with the labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoseg.preprocessing.resample import coordinates, take_nearest, with_length

Array = NDArray[Any]
Indices = NDArray[np.intp]

_CHUNK = 1 << 18  # voxels between labels that are worked on at a time


def resample_labels(labels: Array, shape: Sequence[int], separate: int | None = None) -> Array:
    """Resample a segmentation as nnU-Net does: each label's indicator linearly, the largest one wins.

    Equal to batchgenerators' ``resize_segmentation`` (order 1) in every voxel, ties included: among labels
    with the same weight the nearest neighbour's wins, or else the smallest. Only voxels between different
    labels are computed, so the cost does not depend on how many labels there are.

    Args:
        labels: (z, y, x), whole numbers; may hold -1.
        shape: the new (z, y, x).
        separate: an axis to resample by nearest neighbour (see `separate_axis`).

    Returns:
        An array of the same type; it has no label that the input has not.
    """
    if labels.shape == tuple(shape):
        return labels
    plane = shape if separate is None else with_length(shape, separate, labels.shape[separate])
    axes = [_Linear.between(old, new) for old, new in zip(labels.shape, plane, strict=True)]
    result = np.ascontiguousarray(take_nearest(labels, plane))
    if result is labels:
        result = labels.copy()
    mixed = np.flatnonzero(_mixed(labels, axes))
    flat = result.reshape(-1)
    for start in range(0, mixed.size, _CHUNK):
        some = mixed[start : start + _CHUNK]
        flat[some] = _winners(labels, np.unravel_index(some, result.shape), axes, flat[some])
    return take_nearest(result, shape)


class _Linear(NamedTuple):
    """Linear interpolation along one axis: two neighbours and their weights for each new voxel."""

    lower: Indices
    upper: Indices
    weights: tuple[NDArray[np.float64], NDArray[np.float64]]

    @classmethod
    def between(cls, length: int, new_length: int) -> _Linear:
        centres = coordinates(length, new_length)
        below = np.floor(centres)
        first = 1 - (centres - below)
        # Beyond the edge both neighbours are the edge, each with its own weight: scipy's rounding again.
        lower, upper = (np.clip(below + step, 0, length - 1).astype(np.intp) for step in (0, 1))
        return cls(lower, upper, (first, 1 - first))


def _mixed(labels: Array, axes: Sequence[_Linear]) -> NDArray[np.bool_]:
    """Where the neighbours of a new voxel do not all have the same label."""
    differs = np.zeros(labels.shape, dtype=np.bool_)
    for axis, linear in enumerate(axes):
        if not linear.weights[1].any():
            continue
        ahead = np.zeros(labels.shape, dtype=np.bool_)
        head, tail = _cut(axis, slice(None, -1)), _cut(axis, slice(1, None))
        ahead[head] = labels[head] != labels[tail]
        # A cell is mixed if any of its edges is: the edges along this axis of all lines through the cell.
        for other, across in enumerate(axes):
            if other != axis and across.weights[1].any():
                ahead[_cut(other, slice(None, -1))] |= ahead[_cut(other, slice(1, None))]
        differs |= ahead
    for axis, linear in enumerate(axes):
        if len(linear.lower) != differs.shape[axis] or linear.weights[1].any():
            differs = differs.take(linear.lower, axis=axis)
    return differs


def _winners(labels: Array, voxels: tuple[Array, ...], axes: Sequence[_Linear], nearest: Array) -> Array:
    """The label with the largest interpolated indicator, for the given new voxels."""
    corners, weights = [], []
    for corner in product((0, 1), repeat=len(axes)):
        index = tuple((a.lower, a.upper)[side][v] for a, side, v in zip(axes, corner, voxels, strict=True))
        # Multiplied and summed in scipy's order, so that ties come out as ties.
        factors = (a.weights[side][v] for a, side, v in zip(axes, corner, voxels, strict=True))
        corners.append(labels[index])
        weights.append(reduce(np.multiply, factors))

    def score(label: Array) -> NDArray[np.float64]:
        total = np.zeros(label.shape)
        for value, weight in zip(corners, weights, strict=True):
            total += np.where(value == label, weight, 0)
        return total

    winner, best = corners[0], score(corners[0])
    for candidate in corners[1:]:
        level = score(candidate)
        wins = (level > best) | ((level == best) & (candidate < winner))
        winner, best = np.where(wins, candidate, winner), np.maximum(best, level)
    return np.where(score(nearest) == best, nearest, winner)


def _cut(axis: int, part: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, part)
