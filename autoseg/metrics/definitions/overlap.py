"""Overlaps of voxels."""

from __future__ import annotations

from autoseg.metrics.comparison import Comparison
from autoseg.metrics.register import metric
from autoseg.metrics.scales import SHARE, divide


@metric("dice.v1", SHARE, group="overlap", ranked=True)
def dice(case: Comparison) -> float | None:
    """Dice, 2 TP / (2 TP + FP + FN): the F1 score of the voxels."""
    n = case.counts
    return divide(2 * n.tp, 2 * n.tp + n.fp + n.fn)


@metric("iou.v1", SHARE, group="overlap", ranked=True)
def iou(case: Comparison) -> float | None:
    """Intersection over union (Jaccard), TP / (TP + FP + FN)."""
    n = case.counts
    return divide(n.tp, n.tp + n.fp + n.fn)


@metric("sensitivity.v1", SHARE, group="overlap", ranked=True)
def sensitivity(case: Comparison) -> float | None:
    """Share of the reference that is found, TP / (TP + FN); undefined for an empty reference."""
    return divide(case.counts.tp, case.counts.in_reference)


@metric("precision.v1", SHARE, group="overlap", ranked=True)
def precision(case: Comparison) -> float | None:
    """Share of the prediction that is right, TP / (TP + FP); undefined for an empty prediction."""
    return divide(case.counts.tp, case.counts.in_prediction)
