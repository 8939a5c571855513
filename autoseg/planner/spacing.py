"""The target spacing, the order of the axes, and the shapes that follow from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import PlanError
from autoseg.planner.plan import Decision

Floats = NDArray[np.float64]

# An axis is anisotropic beyond this ratio, in spacing and in voxels.
ANISOTROPY = 3
_SOURCE = "nnU-Net 2.8.1 ExperimentPlanner (Isensee et al., Nature Methods 2021)"


def target_spacing(
    fingerprint: Fingerprint, given: Sequence[float] | None = None
) -> tuple[Floats, list[Decision]]:
    """The spacing that full-resolution data are resampled to.

    Args:
        fingerprint: the fingerprint of the data set.
        given: mm in array order; used as it is.

    Returns:
        mm in array order, and the decision.

    Raises:
        PlanError: if a spacing is not positive or has not three numbers.
    """
    spacings = _table(fingerprint.spacings)
    median = np.percentile(spacings, 50, 0)
    if given is not None:
        target, rule = np.array(given, dtype=float), "as given"
        inputs: dict[str, object] = {"median_spacing": _numbers(median)}
    else:
        target, rule, inputs = _from_data(spacings, _table(fingerprint.shapes_after_crop), median)
    if target.shape != (3,) or not (target > 0).all():
        raise PlanError(f"The target spacing is {_numbers(target)}; expected three positive numbers (mm).")
    return target, [Decision("target_spacing", _numbers(target), rule, inputs, _SOURCE)]


def _from_data(spacings: Floats, shapes: Floats, median: Floats) -> tuple[Floats, str, dict[str, object]]:
    target, size = median.copy(), np.percentile(shapes, 50, 0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(len(target)) if axis != worst]
    finest_other, coarsest_other = min(size[others]), max(target[others])
    inputs: dict[str, object] = {"median_spacing": _numbers(median), "median_shape": _numbers(size)}
    if not (target[worst] > ANISOTROPY * coarsest_other and size[worst] * ANISOTROPY < finest_other):
        return target, "median spacing of each axis; no axis is 3x coarser with 3x fewer voxels", inputs
    tenth = np.percentile(spacings[:, worst], 10)
    # Never finer than the other axes.
    target[worst] = coarsest_other + 1e-5 if tenth < coarsest_other else tenth
    inputs |= {"axis": worst, "tenth_percentile": float(tenth)}
    rule = "median of each axis, but the 10th percentile where spacing is >3x coarser and voxels >3x fewer"
    return target, rule, inputs


def axis_order(target: Floats, transpose: bool | Sequence[int] = True) -> tuple[tuple[int, ...], Decision]:
    """The order in which axes are taken: the coarsest first, so that 2D slices are the finest plane.

    Args:
        target: spacing, mm, array order.
        transpose: True for that rule, False to leave the axes as they are, or the order itself.

    Raises:
        PlanError: if a given order is not an order of three axes.
    """
    order: tuple[int, ...]
    if isinstance(transpose, Sequence):
        order, rule = tuple(transpose), "as given"
        if sorted(order) != [0, 1, 2]:
            raise PlanError(f"The transposition is {order}; expected an order of the axes 0, 1 and 2.")
    elif transpose:
        order = first_axis(int(np.argmax(target)))
        rule = "the axis with the largest target spacing comes first"
    else:
        order, rule = (0, 1, 2), "axes stay as they are, as requested"
    return order, Decision("transpose", list(order), rule, {"target_spacing": _numbers(target)}, _SOURCE)


def first_axis(axis: int) -> tuple[int, ...]:
    """The order of three axes that puts one first and leaves the others as they are."""
    return (axis, *(other for other in range(3) if other != axis))


def resampled_shapes(fingerprint: Fingerprint, target: Floats) -> NDArray[np.int64]:
    """Shapes of all cases after the crop at the target spacing, voxels, (cases, 3)."""
    return np.array(
        [
            [round(old / new * n) for old, new, n in zip(spacing, target, shape, strict=True)]
            for spacing, shape in zip(fingerprint.spacings, fingerprint.shapes_after_crop, strict=True)
        ]
    )


def _table(rows: Sequence[Sequence[float]]) -> Floats:
    if not rows or any(len(row) != 3 for row in rows):
        raise PlanError(
            f"The fingerprint has {len(rows)} cases; expected at least one, each with three numbers for "
            f"spacing and shape. Extract the fingerprint again."
        )
    return np.array(rows, dtype=float)


def _numbers(values: Floats) -> list[float]:
    return [float(value) for value in values]
