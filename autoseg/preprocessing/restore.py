"""From logits on the plan's grid to a segmentation on the grid of the raw image.

nnU-Net resamples the logits of all classes to the raw grid and then compares them. Here one class after the
other is resampled and compared with the best so far, so that memory does not grow with the classes, and only
where it can win: linear interpolation cannot lift a class above background where it is below background at
all surrounding voxels. (Requested in nnU-Net's issues 2540, 2014 and 1713.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.geometry import box_of, paste, slices
from autoseg.data.labels import Labels
from autoseg.errors import PlanError
from autoseg.planner.configuration import Configuration
from autoseg.preprocessing.axes import PlannedAxes
from autoseg.preprocessing.resample import coordinates, separate_axis

Array = NDArray[Any]
Floats = NDArray[np.float32]

DEFAULT_RESAMPLING = "resample_data_or_seg_to_shape"
# New voxels of one class that are resampled at a time.
VOXELS_AT_ONCE = 2**22


def restore_slabs(
    slabs: Iterable[Array],
    shape: Sequence[int],
    properties: Mapping[str, Any],
    plan: PlannedAxes,
    configuration: Configuration,
    labels: Labels,
) -> Array:
    """Segment, resample, undo crop and transposition of logits that come in slabs along z.

    Equal to nnunetv2's ``convert_predicted_logits_to_segmentation_with_correct_shape``, except where two
    classes tie to rounding.

    Args:
        slabs: (heads, some slices, y, x), consecutive, on the configuration's grid; none is looked at any
            more when the next is requested.
        shape: (z, y, x) of all together.
        properties: what preprocessing left about the case.
        plan: the plan; its transposition is read.
        configuration: the configuration; spacing and resampling are read.
        labels: the labels: regions, and the size of the result's type, follow from them.

    Returns:
        (z, y, x) of the raw image, uint8, or uint16 for 255 labels and more.

    Raises:
        PlanError: if the plan resamples logits by another function than nnU-Net's default, or by splines of
            an order above 1.
    """
    restoring = Restoring(shape, properties, plan, configuration, labels)
    restoring.add(slabs)
    return restoring.finished()


class Restoring:
    """A segmentation that grows strip by strip along y, and within a strip slab by slab along z.

    Args:
        shape: (z, y, x) of the logits, all together.
        properties: as of `restore_slabs`; so are the others.
        plan: its transposition is read.
        configuration: its spacing and resampling are read.
        labels: regions, and the size of the result's type.

    Raises:
        PlanError: as `restore_slabs`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        properties: Mapping[str, Any],
        plan: PlannedAxes,
        configuration: Configuration,
        labels: Labels,
    ) -> None:
        self.properties, self.plan, self.labels = properties, plan, labels
        self.axes = _axes(shape, properties, plan, configuration)
        self.segmentation = _background([axis.new_length for axis in self.axes], labels)
        self.done = 0

    def add(self, slabs: Iterable[Array], rows: tuple[int, int] | None = None) -> None:
        """Take in a strip; they come in their order, and each begins with the last row of the one before.

        Args:
            slabs: (heads, some slices, rows, x), consecutive along z.
            rows: [first, last) of y; None: all.
        """
        deep, high, wide = self.axes
        first_row, last_row = rows or (0, high.length)
        last = high.new_length
        if last_row < high.length:  # new rows need the old ones on both sides of them
            last = int(np.searchsorted(high.upper, last_row, side="left"))
        target = self.segmentation[:, self.done : last]
        plane = (high.part(self.done, last, first_row), wide)
        self.done = last
        kept: Array | None = None
        start = stop = done = 0
        for slab in slabs:
            stop += slab.shape[1]
            known = slab if kept is None or not kept.shape[1] else np.concatenate([kept, slab], axis=1)
            ready = int(np.searchsorted(deep.upper, stop, side="left"))
            self._fill(target, known, (done, ready), start, plane)
            done = ready
            needed = int(deep.lower[done]) if done < deep.new_length else stop
            kept = known[:, min(needed, stop) - start :].copy()
            start = min(needed, stop)
            del known, slab  # not beside what is computed next

    def _fill(
        self, target: Array, known: Array, ready: tuple[int, int], start: int, plane: tuple[Axis, ...]
    ) -> None:
        """Segment new slices, some at a time, so that what is resampled stays small."""
        done, end = ready
        deep, voxels = self.axes[0], math.prod(axis.new_length for axis in plane)
        step = max(1, VOXELS_AT_ONCE // max(voxels, 1))
        for first in range(done, end if voxels else done, step):
            last = min(first + step, end)
            low, high = int(deep.lower[first]), int(deep.upper[last - 1]) + 1
            here = (deep.part(first, last, low), *plane)
            part = known[:, low - start : high - start]
            if self.labels.region_order is not None and self.labels.has_regions:
                _fill_regions(target[first:last], part, here, self.labels.region_order)
            else:
                _fill_labels(target[first:last], part, here)

    def finished(self) -> Array:
        """The segmentation (z, y, x) of the raw image."""
        box, shape = self.properties["bbox_used_for_cropping"], self.properties["shape_before_cropping"]
        full = paste(self.segmentation, box, shape)
        return np.ascontiguousarray(full.transpose(self.plan.transpose_backward))


def restore_probabilities(
    probabilities: Array,
    properties: Mapping[str, Any],
    plan: PlannedAxes,
    configuration: Configuration,
    total: Floats | None = None,
) -> Floats:
    """Resample, undo crop and transposition, and add to what other models found.

    Linear resampling keeps sums, so a mean over models on one grid can be taken before it. (nnU-Net resamples
    logits, and takes probabilities after; on the raw image's own grid that is the same.)

    Args:
        probabilities: (heads, z, y, x), on the configuration's grid.
        properties: what preprocessing left about the case.
        plan: the plan; its transposition is read.
        configuration: the configuration; spacing and resampling are read.
        total: (heads, z, y, x) of the raw image, float32; added to in place.

    Returns:
        `total`, or a new array that is 0 outside the crop.

    Raises:
        PlanError: as `restore_slabs`.
    """
    axes = _axes(probabilities.shape[1:], properties, plan, configuration)
    if total is None:
        shape = [properties["shape_before_cropping"][axis] for axis in plan.transpose_backward]
        total = np.zeros((len(probabilities), *shape), dtype=np.float32)
    seen = total.transpose(0, *(1 + axis for axis in plan.transpose))
    whole = tuple(slice(axis.new_length) for axis in axes)
    for channel, sums in zip(probabilities, seen, strict=True):
        sums[slices(properties["bbox_used_for_cropping"])] += _resample(channel, axes, whole)
    return total


def segment_probabilities(probabilities: Floats, labels: Labels) -> Array:
    """The segmentation (z, y, x) of probabilities (heads, z, y, x); the smaller label wins a tie."""
    segmentation = _background(probabilities.shape[1:], labels)
    if labels.region_order is not None and labels.has_regions:
        for channel, label in zip(probabilities, labels.region_order, strict=True):
            np.copyto(segmentation, label, where=channel > 0.5)
        return segmentation
    best = probabilities[0].copy()
    for label, channel in enumerate(probabilities[1:], 1):
        better = channel > best
        np.copyto(best, channel, where=better)
        np.copyto(segmentation, label, where=better)
    return segmentation


def _background(shape: Sequence[int], labels: Labels) -> Array:
    return np.zeros(shape, dtype=np.uint8 if len(labels.all_values) - 1 < 255 else np.uint16)


@dataclass(frozen=True)
class Axis:
    """Linear or nearest-neighbour resampling along one axis.

    Attributes:
        length: before.
        lower: for each new voxel the old voxel at or before it.
        upper: the old voxel at or after it.
        fraction: the new voxel's distance from `lower`.
    """

    length: int
    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    fraction: Floats

    @property
    def new_length(self) -> int:
        """Voxels after."""
        return len(self.lower)

    def part(self, first: int, last: int, start: int) -> Axis:
        """Of new voxels [first, last) alone, counting old voxels from `start` on."""
        here = slice(first, last)
        return Axis(
            self.length - start, self.lower[here] - start, self.upper[here] - start, self.fraction[here]
        )

    def window(self, start: int, stop: int) -> slice:
        """The new voxels that old voxels [start, stop) have a part in."""
        first = int(np.searchsorted(self.upper, start, side="left"))
        return slice(first, int(np.searchsorted(self.lower, stop - 1, side="right")))


def resampling_axis(length: int, new_length: int, nearest: bool) -> Axis:
    """nnU-Net's coordinates: the outer edges of both grids coincide; beyond the last centre it is flat."""
    centres = np.clip(coordinates(length, new_length), 0, length - 1)
    if nearest:
        centres = np.floor(centres + 0.5)
    lower = np.floor(centres).astype(np.intp)
    upper = np.ceil(centres).astype(np.intp)
    return Axis(length, lower, upper, (centres - lower).astype(np.float32))


def _axes(
    shape: Sequence[int], properties: Mapping[str, Any], plan: PlannedAxes, configuration: Configuration
) -> tuple[Axis, ...]:
    new_shape = properties["shape_after_cropping_and_before_resampling"]
    spacing = [float(properties["spacing"][axis]) for axis in plan.transpose]
    current = [float(step) for step in configuration.spacing]
    current = [spacing[0], *current] if len(current) < len(spacing) else current
    function = configuration.resampling["resampling_fn_probabilities"]
    options = configuration.resampling["resampling_fn_probabilities_kwargs"]
    order, order_across = options.get("order", 1), options.get("order_z", 0)
    if function != DEFAULT_RESAMPLING or order not in (0, 1) or order_across not in (0, 1):
        raise PlanError(
            f"The plan resamples logits by {function}, order {order} ({order_across} across slices); "
            f"expected {DEFAULT_RESAMPLING} of order 0 or 1. Change the plan's resampling_fn_probabilities, "
            "or predict with nnUNetv2_predict."
        )
    separate = separate_axis(current, spacing, options.get("force_separate_z"))
    orders = [order_across if axis == separate else order for axis in range(len(shape))]
    return tuple(
        resampling_axis(int(old), int(new), nearest=each == 0)
        for old, new, each in zip(shape, new_shape, orders, strict=True)
    )


def _fill_labels(segmentation: Array, logits: Array, axes: Sequence[Axis]) -> None:
    """Write the label of the largest logit; the smaller label wins a tie."""
    whole = tuple(slice(axis.new_length) for axis in axes)
    best = np.array(_resample(logits[0], axes, whole))  # a copy: on an equal grid it is the logits themselves
    for label in range(1, len(logits)):
        for window in _reach(logits[label] > logits[0], axes):
            values = _resample(logits[label], axes, window)
            better = values > best[window]
            np.copyto(best[window], values, where=better)
            np.copyto(segmentation[window], label, where=better)


def _fill_regions(segmentation: Array, logits: Array, axes: Sequence[Axis], order: Sequence[int]) -> None:
    """Write each region's label where its probability is above one half, one region over the other."""
    for channel, label in zip(logits, order, strict=True):
        for window in _reach(channel > 0, axes):
            inside = _resample(channel, axes, window) > 0
            np.copyto(segmentation[window], label, where=inside)


def _reach(mask: Array, axes: Sequence[Axis]) -> Iterator[tuple[slice, ...]]:
    """The window of new voxels that the true old ones have a part in; nothing if there are none."""
    if mask.any():
        window = tuple(axis.window(*side) for axis, side in zip(axes, box_of(mask), strict=True))
        if all(side.start < side.stop for side in window):
            yield window


def _resample(channel: Array, axes: Sequence[Axis], window: Sequence[slice]) -> Floats:
    """A window of a channel on the new grid."""
    parts = [(axis.lower[w], axis.upper[w], axis.fraction[w]) for axis, w in zip(axes, window, strict=True)]
    starts = [int(lower[0]) for lower, _, _ in parts]
    stops = [int(upper[-1]) + 1 for _, upper, _ in parts]
    box = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
    values: Floats = channel[box].astype(np.float32, copy=False)
    for axis, ((lower, upper, fraction), start) in enumerate(zip(parts, starts, strict=True)):
        if len(lower) == values.shape[axis] and not fraction.any():
            continue
        before = values.take(lower - start, axis)
        if fraction.any():
            after = values.take(upper - start, axis)
            after -= before
            after *= fraction.reshape([-1 if other == axis else 1 for other in range(values.ndim)])
            before += after
        values = before
    return values
