"""Further overlaps, of all labels and of all cases together."""

from __future__ import annotations

from autoseg.metrics.comparison import CaseCounts, Comparison, Counts
from autoseg.metrics.register import metric
from autoseg.metrics.scales import SHARE, divide


@metric("balanced_accuracy.v1", SHARE, group="secondary", ranked=False)
def balanced_accuracy(case: Comparison) -> float | None:
    """Mean of sensitivity and specificity, (TPR + TNR) / 2; undefined where one of them is."""
    found = divide(case.counts.tp, case.counts.in_reference)
    left_out = divide(case.counts.tn, case.counts.tn + case.counts.fp)
    return None if found is None or left_out is None else (found + left_out) / 2


@metric("pixel_accuracy.v1", SHARE, group="secondary", ranked=False)
def pixel_accuracy(case: Comparison) -> float | None:
    """Share of voxels, background included, that are rightly in or out of the structure."""
    n = case.counts
    return divide(n.tp + n.tn, n.tp + n.tn + n.fp + n.fn)


@metric("weighted_f1.v1", SHARE, group="secondary", ranked=False, needs="all structures")
def weighted_f1(case: CaseCounts) -> float | None:
    """Mean Dice of a case's structures, weighted by their voxels in the reference."""
    scores = [2 * n.tp * n.in_reference / (2 * n.tp + n.fp + n.fn) for n in case.structures if n.in_reference]
    return divide(sum(scores), sum(n.in_reference for n in case.structures))


@metric("label_accuracy.v1", SHARE, group="secondary", ranked=False, needs="all structures")
def label_accuracy(case: CaseCounts) -> float | None:
    """Share of voxels, background included, whose label is right."""
    return divide(case.agreeing, case.voxels)


@metric("pooled_dice.v1", SHARE, group="secondary", ranked=False, needs="all cases")
def pooled_dice(n: Counts) -> float | None:
    """Dice of all cases' voxels together, which large cases dominate."""
    return divide(2 * n.tp, 2 * n.tp + n.fp + n.fn)
