"""Apply rules of postprocessing to a segmentation, with numpy and scipy alone.

Voxels that touch at a corner belong to one component, as in nnU-Net's postprocessing (nnunetv2 2.8), so that
the largest component is the same there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autoseg.data.geometry import box_of, holes_of, slices
from autoseg.postprocessing.rules import ML, Postprocessing, Rule

Array = NDArray[Any]
Bools = NDArray[np.bool_]


def postprocess(segmentation: Array, rules: Postprocessing, spacing: Sequence[float]) -> Array:
    """A segmentation (z, y, x) after all rules; the same array if there are none.

    Args:
        segmentation: labels; left as it is.
        rules: rules of the model.
        spacing: of the segmentation in array order, mm.
    """
    if not rules.rules:
        return segmentation
    result = segmentation.copy()
    for rule in rules.rules:
        apply_rule(result, rule, voxel_size(spacing, rules.unit))
    return result


def voxel_size(spacing: Sequence[float], unit: str) -> float:
    """Size of one voxel, in the unit of `Rule.smallest`."""
    return math.prod(spacing) / 1000 if unit == ML else 1.0


def apply_rule(segmentation: Array, rule: Rule, voxel: float) -> None:
    """Apply one rule in place. `voxel` is the size of one, in the rule's unit."""
    mask = mask_of(segmentation, rule.values)
    if not mask.any():
        return
    box = surrounding(mask)
    mask, part = mask[box], segmentation[box]
    kept = mask
    if rule.largest or rule.smallest is not None:
        marks, sizes = components_of(mask)
        kept = staying(sizes, rule, voxel)[marks]
    change(part, mask, kept, rule)


def change(part: Array, mask: Bools, kept: Bools, rule: Rule) -> None:
    """Take out of a segmentation, in place, what of a structure's mask is not to stay; then fill holes."""
    part[mask & ~kept] = rule.outside
    if rule.fill:
        part[holes_of(kept) & (part == rule.outside)] = rule.inside


def mask_of(segmentation: Array, values: Sequence[int]) -> Bools:
    """Where a segmentation has one of some labels."""
    return segmentation == values[0] if len(values) == 1 else np.isin(segmentation, list(values))


def surrounding(mask: Bools) -> tuple[slice | int, ...]:
    """The index of the smallest box around a mask; a single slice loses its axis, which is no way out."""
    return tuple(
        0 if length == 1 and any(n > 1 for n in mask.shape) else side
        for length, side in zip(mask.shape, slices(box_of(mask)), strict=True)
    )


def components_of(mask: Bools) -> tuple[Array, NDArray[np.int64]]:
    """A number for each component, and how many voxels each number has; 0 is outside of all."""
    marks, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return marks, np.bincount(np.ravel(marks), minlength=count + 1)


def staying(sizes: NDArray[np.int64], rule: Rule, voxel: float) -> Bools:
    """Which components a rule leaves, by their number."""
    stays = sizes > 0
    if rule.largest:
        stays &= sizes == sizes[1:].max()
    if rule.smallest is not None:
        # Sizes are products of rounded numbers: what is exactly as large stays.
        stays &= sizes * voxel >= rule.smallest * (1 - 1e-9)
    stays[0] = False
    return stays
