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
    channel: Array,
    shape: Sequence[int],
    order: int = 3,
    separate: int | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Resample one channel of an image, or the logits of one class.

    Args:
        channel: (z, y, x), real numbers.
        shape: the new (z, y, x).
        order: order of the spline: 0, 1 or 3.
        separate: an axis to resample by nearest neighbour, after the others (see `separate_axis`).
        out: contiguous array of the new shape for the result; a new one if None.

    Returns:
        float32, within the range of the input: of the whole channel, or with a separate axis of each slice
        (which is what nnU-Net's slice-wise loop comes to). A copy of the input if the shape is the same.

    Raises:
        PlanError: for another order.
        DataError: for values that are not finite.
    """
    if order not in (0, *_REACH):
        raise PlanError(f"Spline order {order} is not supported; expected 0, 1 or 3. Change the plan.")
    result = np.empty(shape, dtype=np.float32) if out is None else out
    source = np.ascontiguousarray(channel, dtype=np.float32)
    if order == 0 or source.shape == result.shape:
        result[...] = take_nearest(source, shape)
    elif separate is None:
        _resample_together(source, order, None, result)
    elif shape[separate] < source.shape[separate]:
        kept = take_nearest(source, with_length(source.shape, separate, shape[separate]))
        _resample_together(kept, order, separate, result)
    else:
        slices = np.empty(with_length(shape, separate, source.shape[separate]), dtype=np.float32)
        _resample_together(source, order, separate, slices)
        result[...] = take_nearest(slices, shape)
    return result


def _resample_together(
    source: NDArray[np.float32], order: int, separate: int | None, result: NDArray[np.float32]
) -> None:
    """Resample all axes whose length differs, and stay in the source's range: its slices', if separate."""
    within = None if separate is None else tuple(axis for axis in range(source.ndim) if axis != separate)
    low, high = source.min(axis=within, keepdims=True), source.max(axis=within, keepdims=True)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise DataError("The image has values that are NaN or infinite. Replace them in the raw data.")
    axes = _cheapest_order(source.shape, result.shape)
    if not axes:
        result[...] = source
    for step, axis in enumerate(axes, start=1):
        between = with_length(source.shape, axis, result.shape[axis])
        sink = result if step == len(axes) else np.empty(between, dtype=np.float32)
        _multiply(source, axis, order, sink)
        source = sink
    np.clip(result, low, high, out=result)


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


def _multiply(source: NDArray[np.float32], axis: int, order: int, sink: NDArray[np.float32]) -> None:
    before, length, after = (
        int(np.prod(sink.shape[:axis])),
        sink.shape[axis],
        int(np.prod(sink.shape[axis + 1 :])),
    )
    old, new = source.reshape(before, -1, after), sink.reshape(before, length, after)
    for rows, columns, weights in _blocks(source.shape[axis], length, order):
        if after == 1:
            new[:, rows, 0] = old[:, columns, 0] @ weights.T
        else:
            np.matmul(weights, old[:, columns], out=new[:, rows])


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
