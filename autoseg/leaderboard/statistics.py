"""Comparing models on the same cases: tests and intervals.

Every function takes scores as an array of shape (models, cases) without gaps, in which larger is better.
The case is the unit: whoever has several seeds averages them within a case first. Where cases belong to
groups (several images of one person), the group is the unit, and whole groups are drawn and tested.

Sources: Wilcoxon 1945 with zeros after Pratt 1959; Holm 1979; BCa intervals after Efron 1987.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.leaderboard.resamples import Floats, Integers, Resamples, draw, groups_of

Singles = NDArray[np.float32]

CONFIDENCE = 0.95
ALPHA = 0.05
RESAMPLES = 10_000
FEW_CASES = 50
BLOCK = 256
# Scores closer than this are the same score: means over structures differ in the last bits otherwise.
RESOLUTION = 1e-9


@dataclass(frozen=True)
class Interval:
    """A confidence interval, in the unit of the scores."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One pair of models, `a` minus `b` in the mean.

    Attributes:
        a: index of the first model.
        b: index of the second.
        mean: mean paired difference.
        interval: its BCa interval.
        p: two-sided Wilcoxon signed-rank p value.
        p_holm: the same after Holm, over all pairs.
        lean: +1 where the signed ranks favour `a`, -1 where they favour `b`, 0 where neither.
    """

    a: int
    b: int
    mean: float
    interval: Interval
    p: float
    p_holm: float
    lean: int

    @property
    def significant(self) -> bool:
        """Whether the adjusted test tells the two apart at 5 %."""
        return self.p_holm < ALPHA

    @property
    def apart(self) -> bool:
        """Whether the interval of the difference does not hold 0."""
        return self.interval.low > 0 or self.interval.high < 0

    def equivalent(self, margin: float) -> bool:
        """Whether the interval of the difference lies within plus or minus `margin`."""
        return -margin <= self.interval.low and self.interval.high <= margin


def can_be_tested(units: int, pairs: int) -> bool:
    """Whether a difference, were it in every case, could pass the adjusted test of all pairs.

    The least two-sided p value of the signed-rank test is 2 to the power of 1 - n.

    Args:
        units: cases, or groups where there are groups.
        pairs: compared.
    """
    return max(pairs, 1) * 2.0 ** (1 - units) < ALPHA


def resample(
    n_cases: int, groups: Sequence[str] | None = None, n_resamples: int = RESAMPLES, seed: int = 0
) -> Resamples:
    """Draw bootstrap weights, one draw for all models.

    Args:
        n_cases: number of cases.
        groups: the group of each case; whole groups are drawn. None: each case is its own group.
        n_resamples: number of draws.
        seed: seed of the random generator; the same seed gives the same draws.
    """
    return draw(groups_of(n_cases, groups), n_resamples, seed)


def mean_intervals(scores: Floats, weights: Resamples, groups: Sequence[str] | None = None) -> list[Interval]:
    """BCa intervals of the mean (Efron 1987, "Better bootstrap confidence intervals").

    Args:
        scores: shape (models, cases).
        weights: from `resample`, with the same groups.
        groups: the group of each case, for the jackknife that gives the acceleration.
    """
    return _bca(scores.mean(axis=1), _deviations(scores, weights), _acceleration(scores, groups))


def _acceleration(scores: Floats, groups: Sequence[str] | None) -> Floats:
    """Skewness of the jackknife, leaving out one group at a time; shape (models,)."""
    membership = groups_of(scores.shape[1], groups)
    sums = np.stack([np.bincount(membership, weights=row) for row in scores])
    sizes = np.bincount(membership)
    if len(sizes) < 2:
        return np.zeros(len(scores))
    left_out = (scores.sum(axis=1, keepdims=True) - sums) / (scores.shape[1] - sizes)
    deviation = left_out.mean(axis=1, keepdims=True) - left_out
    spread = (deviation**2).sum(axis=1) ** 1.5
    skew = (deviation**3).sum(axis=1)
    acceleration: Floats = np.divide(
        skew, 6 * spread, out=np.zeros(len(scores)), where=spread > RESOLUTION**3
    )
    return acceleration


def _bca(estimates: Floats, deviations: Singles, acceleration: Floats) -> list[Interval]:
    """BCa intervals from what resampling adds to each estimate, shape (statistics, n_resamples).

    Deviations are kept in single precision: they are small, and half the memory is half the time.
    """
    from scipy.special import ndtr, ndtri

    ordered = np.sort(deviations, axis=1)
    n = ordered.shape[1]
    gap = np.float32(RESOLUTION)
    below = np.array([row.searchsorted(-gap, "left") for row in ordered])
    upto = np.array([row.searchsorted(gap, "right") for row in ordered])
    # Half of the ties, and never all or none: the correction must stay finite.
    bias = ndtri(np.clip((below + upto) / (2 * n), 1 / (n + 1), n / (n + 1)))
    z = ndtri((1 + CONFIDENCE) / 2)
    ends = []
    for quantile in (-z, z):
        shifted = bias + quantile
        level = ndtr(bias + shifted / (1 - acceleration * shifted))
        index = np.clip(np.rint(level * (n - 1)), 0, n - 1).astype(int)
        # Seven decimals: what single precision knows, and far below what resampling does.
        ends.append(np.round(estimates + ordered[np.arange(len(ordered)), index], 7))
    return [Interval(float(low), float(high)) for low, high in zip(*ends, strict=True)]


def _deviations(scores: Floats, weights: Resamples) -> Singles:
    """What each resample adds to each model's mean; shape (models, n_resamples)."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    return weights.means(centred).astype(np.float32)


def wilcoxon(differences: Floats) -> Floats:
    """Two-sided Wilcoxon signed-rank p values, zeros after Pratt.

    The method is what scipy chooses for each row on its own: exact without ties up to 50 cases, all sign
    changes up to 13 cases, else the normal approximation.

    Args:
        differences: paired differences, shape (pairs, cases).

    Returns:
        p values, shape (pairs,); 1 where all differences are zero.
    """
    from scipy import stats

    test: Any = stats.wilcoxon
    snapped = np.where(np.abs(differences) < RESOLUTION, 0.0, differences)
    p = np.ones(len(snapped))
    n = snapped.shape[1]
    ordered = np.sort(np.abs(snapped), axis=1)
    tied = (np.diff(ordered, axis=1) == 0).any(axis=1) | (ordered[:, 0] == 0)
    some = (snapped != 0).any(axis=1)
    exact = some & ~tied & (n <= 50)
    normal = some & ~exact & (n > 13)
    for chosen, method in ((exact, "exact"), (normal, "asymptotic")):
        if chosen.any():
            p[chosen] = test(snapped[chosen], axis=1, zero_method="pratt", method=method).pvalue
    signs = np.flatnonzero(some & ~exact & ~normal)
    for start in range(0, len(signs), BLOCK):
        rows = signs[start : start + BLOCK]
        p[rows] = _all_sign_changes(snapped[rows])
    return p


def _all_sign_changes(differences: Floats) -> Floats:
    """Exact two-sided p values by trying every sign of every difference: 2 to the power of the cases.

    scipy does the same one row at a time, which takes minutes for the pairs of thirty models.
    """
    from scipy.stats import rankdata

    n = differences.shape[1]
    positive = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    weights = np.where(differences == 0, 0.0, rankdata(np.abs(differences), axis=1))
    observed = np.where(differences > 0, weights, 0.0).sum(axis=1)
    sums = positive @ weights.T
    at_least = (sums >= observed - 1e-9).mean(axis=0)
    at_most = (sums <= observed + 1e-9).mean(axis=0)
    p: Floats = np.minimum(1.0, 2 * np.minimum(at_least, at_most))
    return p


def holm(p: Floats) -> Floats:
    """Adjust p values for their number, step down (Holm 1979)."""
    order = np.argsort(p)
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def compare_pairs(
    scores: Floats, weights: Resamples, groups: Sequence[str] | None = None
) -> list[Difference]:
    """Compare all pairs of models: test, adjusted test, difference and its interval.

    The test's unit is the group where groups exist: its mean over the cases. The difference and its interval
    are of the mean over cases.
    """
    a, b = np.triu_indices(len(scores), 1)
    if len(a) == 0:
        return []
    units = group_means(scores, groups)
    tested = units[a] - units[b]
    p = wilcoxon(tested)
    adjusted = holm(p)
    lean = _lean(tested)
    differences = scores[a] - scores[b]
    intervals = _difference_intervals(scores, weights, groups, a, b)
    return [
        Difference(int(i), int(j), float(d), ci, float(raw), float(holmed), int(side))
        for i, j, d, ci, raw, holmed, side in zip(
            a, b, differences.mean(axis=1), intervals, p, adjusted, lean, strict=True
        )
    ]


def _difference_intervals(
    scores: Floats, weights: Resamples, groups: Sequence[str] | None, a: Integers, b: Integers
) -> list[Interval]:
    """In blocks of pairs: all pairs of a hundred models times ten thousand resamples would not fit."""
    deviations = _deviations(scores, weights)
    intervals: list[Interval] = []
    for start in range(0, len(a), BLOCK):
        i, j = a[start : start + BLOCK], b[start : start + BLOCK]
        differences = scores[i] - scores[j]
        intervals += _bca(
            differences.mean(axis=1), deviations[i] - deviations[j], _acceleration(differences, groups)
        )
    return intervals


def group_means(scores: Floats, groups: Sequence[str] | None) -> Floats:
    """Scores (models, cases) as means over groups, (models, groups); the cases themselves without groups."""
    if groups is None:
        return scores
    membership = groups_of(scores.shape[1], groups)
    return np.stack([np.bincount(membership, weights=row) for row in scores]) / np.bincount(membership)


def _lean(differences: Floats) -> Integers:
    """The side that the signed ranks favour; it can differ from the sign of the mean."""
    from scipy.stats import rankdata

    snapped = np.where(np.abs(differences) < RESOLUTION, 0.0, differences)
    signed: Floats = np.sign(snapped) * rankdata(np.abs(snapped), axis=1)
    side: Integers = np.sign(np.round(signed.sum(axis=1), 6)).astype(np.intp)
    return side
