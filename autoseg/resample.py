"""Resample arrays to another shape: nnU-Net's results, at the price of a few matrix products.

nnU-Net resizes with skimage's ``resize`` (scipy's spline zoom, edges repeated, no anti-aliasing, clipped to
the input's range). That map is linear and acts on one axis at a time, so each axis has a matrix, and a
cubic spline's matrix is a narrow band: the weight of a voxel falls by 0.27 per voxel of distance (Unser,
IEEE Signal Process. Mag. 16(6), 1999). Here the bands are cut into small dense blocks and multiplied in
float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import DataError, PlanError

Array = NDArray[Any]

ANISOTROPY = 3.0  # nnU-Net's ANISO_THRESHOLD: beyond this ratio of spacings the coarse axis is left alone

_REACH = {1: 1, 3: 16}  # voxels beyond which a weight is below float32's resolution, by spline order
_PERIOD = 64  # distance of the impulses in one column of a probe; more than twice the reach
_BLOCK = 64  # voxels that one block of a band spans, a trade of useful against wasted products


def resampled_shape(
    shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]
) -> tuple[int, ...]:
    """The shape (voxels) that keeps the physical size when `spacing` (mm) becomes `target` (mm)."""
    return tuple(round(old / new * length) for length, old, new in zip(shape, spacing, target, strict=True))


def separate_axis(spacing: Sequence[float], target: Sequence[float], force: bool | None = None) -> int | None:
    """The axis that nnU-Net resamples on its own, by nearest neighbour; None if all go together.

    It is the coarsest axis where the present or else the target spacing is anisotropic beyond a ratio of
    3, unless two axes share the coarsest spacing.

    Args:
        spacing: present spacing, mm.
        target: target spacing, mm.
        force: nnU-Net's ``force_separate_z``: True takes the coarsest axis always, False never.
    """
    if force is False:
        return None
    for candidate in (spacing,) if force else (spacing, target):
        coarsest = max(candidate)
        if force or coarsest / min(candidate) > ANISOTROPY:
            axes = [axis for axis, length in enumerate(candidate) if coarsest / length == 1]
            return axes[0] if len(axes) == 1 else None
    return None


def resample_channel(
    channel: Array, shape: Sequence[int], order: int = 3, separate: int | None = None
) -> NDArray[np.float32]:
    """Resample one channel of an image, or the logits of one class.

    Args:
        channel: (z, y, x), real numbers.
        shape: the new (z, y, x).
        order: of the spline: 0, 1 or 3.
        separate: an axis to resample by nearest neighbour, after the others (see `separate_axis`).

    Returns:
        float32, within the range of the input: of the whole channel, or with a separate axis of each slice
        (which is what nnU-Net's slice-wise loop comes to). Unchanged input if the shape is the same.

    Raises:
        PlanError: for another order.
        DataError: for values that are not finite.
    """
    if order not in (0, *_REACH):
        raise PlanError(f"Spline order {order} is not supported; expected 0, 1 or 3. Change the plan.")
    result = np.ascontiguousarray(channel, dtype=np.float32)
    if result.shape == tuple(shape):
        return result
    if order == 0:
        return take_nearest(result, shape)
    if separate is not None and shape[separate] < result.shape[separate]:
        result = take_nearest(result, with_length(result.shape, separate, shape[separate]))
    within = None if separate is None else tuple(axis for axis in range(result.ndim) if axis != separate)
    low, high = result.min(axis=within, keepdims=True), result.max(axis=within, keepdims=True)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise DataError("The image has values that are NaN or infinite. Replace them in the raw data.")
    plane = shape if separate is None else with_length(shape, separate, result.shape[separate])
    for axis in _cheapest_order(result.shape, plane):
        result = _multiply(result, axis, plane[axis], order)
    if result is not channel:
        np.clip(result, low, high, out=result)
    return take_nearest(result, shape)


def take_nearest(array: Array, shape: Sequence[int]) -> Array:
    """Resample by nearest neighbour; halves go up, as in scipy. Unchanged if the shape is the same."""
    for axis, length in enumerate(shape):
        if length != array.shape[axis]:
            nearest = np.floor(coordinates(array.shape[axis], length) + 0.5).astype(np.intp)
            array = array.take(nearest, axis=axis, mode="clip")
    return array


def with_length(shape: Sequence[int], axis: int, length: int) -> tuple[int, ...]:
    """A shape with another length along one axis."""
    return (*shape[:axis], length, *shape[axis + 1 :])


def coordinates(length: int, new_length: int) -> NDArray[np.float64]:
    """Centres of the new voxels in old voxels: scipy's grid mode, where the arrays' outer edges coincide."""
    centres = np.arange(new_length, dtype=np.float64) + 0.5
    centres *= length / new_length
    centres -= 0.5
    return centres


class _Block(NamedTuple):
    """A dense piece of a banded matrix: new voxels `rows` from old voxels `columns`."""

    rows: slice
    columns: slice
    weights: NDArray[np.float32]


def _multiply(array: NDArray[np.float32], axis: int, length: int, order: int) -> NDArray[np.float32]:
    shape = (*array.shape[:axis], length, *array.shape[axis + 1 :])
    result = np.empty(shape, dtype=np.float32)
    before, after = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
    source, sink = array.reshape(before, -1, after), result.reshape(before, length, after)
    for rows, columns, weights in _blocks(array.shape[axis], length, order):
        if after == 1:
            sink[:, rows, 0] = source[:, columns, 0] @ weights.T
        else:
            np.matmul(weights, source[:, columns], out=sink[:, rows])
    return result


def _cheapest_order(shape: Sequence[int], new_shape: Sequence[int]) -> tuple[int, ...]:
    """The order of axes with the fewest products: shrink early, grow late."""
    changed = [axis for axis, length in enumerate(shape) if length != new_shape[axis]]

    def cost(axes: tuple[int, ...]) -> float:
        size, total = float(np.prod(shape)), 0.0
        for axis in axes:
            size *= new_shape[axis] / shape[axis]
            total += size * min(shape[axis], _BLOCK + 2 * _REACH[3])
        return total

    return min(permutations(changed), key=cost)


@lru_cache(maxsize=64)
def _blocks(length: int, new_length: int, order: int) -> tuple[_Block, ...]:
    """The matrix of one axis, as dense blocks along its diagonal.

    Its entries are measured: impulses `_PERIOD` apart share a column of the probe, their responses do not
    overlap, so that one zoom of a narrow array holds the whole band.
    """
    from scipy.ndimage import zoom

    period = min(length, _PERIOD)
    probe = np.zeros((length, period))
    probe[np.arange(length), np.arange(length) % period] = 1
    factors = (new_length / length, 1.0)
    response = zoom(probe, factors, order=order, mode="nearest", grid_mode=True)  # type: ignore[call-overload]
    centres = coordinates(length, new_length)
    reach = length if length <= _PERIOD else _REACH[order]
    step = max(1, int(_BLOCK * min(1.0, new_length / length)))
    blocks = []
    for start in range(0, new_length, step):
        rows = slice(start, min(start + step, new_length))
        first = max(0, int(centres[start]) - reach)
        columns = np.arange(first, min(length, int(centres[rows.stop - 1]) + reach + 2))
        near = np.abs(columns[None] - centres[rows, None]) <= reach + 1
        weights = np.where(near, response[rows][:, columns % period], 0).astype(np.float32)
        blocks.append(_Block(rows, slice(first, int(columns[-1]) + 1), weights))
    return tuple(blocks)
