"""Rankings of models, ties with the best, and how stable a ranking is when the cases are drawn again.

Source: Wiesenfarth et al. 2021 (challengeR).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.leaderboard.resamples import Floats, Resamples
from autoseg.leaderboard.statistics import (
    BLOCK,
    CONFIDENCE,
    Difference,
    Interval,
    can_be_tested,
)


@dataclass(frozen=True)
class Stability:
    """How a ranking fares when the cases are drawn again.

    Attributes:
        p_best: per model, the share of resamples that it leads; ties share.
        rank_interval: per model, the central 95 % of its ranks.
        kendall_tau: mean Kendall tau between the resampled rankings and the reported one.
        kendall_interval: its central 95 %.
    """

    p_best: tuple[float, ...]
    rank_interval: tuple[Interval, ...]
    kendall_tau: float
    kendall_interval: Interval


def ranks(values: Floats) -> Floats:
    """Ranks along the last axis, 1 for the largest; equal values share the mean of their ranks."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-np.round(values, 9), axis=-1, method="average"), dtype=np.float64)


def mean_then_rank(scores: Floats) -> Floats:
    """Rank the models by their mean over cases."""
    return ranks(scores.mean(axis=1))


def rank_then_mean(scores: Floats) -> Floats:
    """Rank the models within each case and average: how often a model is ahead, not by how much."""
    mean_ranks: Floats = ranks(scores.T).mean(axis=0)
    return mean_ranks


def tied_with_best(order: Floats, pairs: Sequence[Difference], units: int | None = None) -> list[bool]:
    """Which models the adjusted test does not tell from the model that leads `order` (itself included).

    A model that the test favours over the leader is tied as well: the two criteria disagree, and neither
    has lost. Where no test could tell any two apart, those are tied whose interval of the difference holds 0.

    Args:
        order: smaller is better.
        pairs: all of them.
        units: cases or groups; None: enough for the test. Of a single one, nobody is told from the best.
    """
    best = int(np.argmin(order))
    tied = [True] * len(order)
    if units is not None and not can_be_tested(units, len(pairs)):
        for pair in pairs:
            if best in (pair.a, pair.b) and pair.apart and units > 1:
                tied[pair.b if pair.a == best else pair.a] = False
        return tied
    for pair in pairs:
        if best in (pair.a, pair.b) and pair.significant:
            other = pair.b if pair.a == best else pair.a
            favours_best = pair.lean == (1 if pair.a == best else -1)
            tied[other] = not favours_best
    return tied


def rank_stability(scores: Floats, weights: Resamples) -> Stability:
    """Rank again in every resample of the cases.

    Args:
        scores: shape (models, cases).
        weights: from `resample`: one draw for all models, so that they meet the same cases.
    """
    resampled = ranks(weights.means(scores).T)
    reported = mean_then_rank(scores)
    leads = resampled == resampled.min(axis=1, keepdims=True)
    p_best = (leads / leads.sum(axis=1, keepdims=True)).mean(axis=0)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0, method="nearest")
    tau = _kendall(resampled, reported)
    tau_low, tau_high = np.quantile(tau, [tail, 1 - tail], method="nearest")
    return Stability(
        tuple(float(p) for p in p_best),
        tuple(Interval(float(x), float(y)) for x, y in zip(low, high, strict=True)),
        float(tau.mean()),
        Interval(float(tau_low), float(tau_high)),
    )


def _kendall(resampled: Floats, reported: Floats) -> Floats:
    """Kendall tau-b of each row of `resampled` with `reported`; 1 where there is nothing to order."""
    a, b = np.triu_indices(len(reported), 1)
    truth = np.sign(reported[b] - reported[a]).astype(np.int8)
    models = np.ascontiguousarray(resampled.T.astype(np.float32))
    agreement, ordered = np.zeros(len(resampled), np.int32), np.zeros(len(resampled), np.int32)
    for start in range(0, len(a), BLOCK):
        i, j = models[a[start : start + BLOCK]], models[b[start : start + BLOCK]]
        signs = (i < j).view(np.int8) - (i > j).view(np.int8)
        agreement += (signs * truth[start : start + BLOCK, None]).sum(axis=0, dtype=np.int32)
        ordered += np.count_nonzero(signs, axis=0).astype(np.int32)
    norm = np.sqrt(ordered * float(np.abs(truth, dtype=np.int32).sum()))
    tau: Floats = np.divide(agreement, norm, out=np.ones(len(resampled)), where=norm > 0)
    return tau
