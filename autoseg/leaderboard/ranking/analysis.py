"""The statistics of one comparable set, for one metric and one structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autoseg.leaderboard import statistics
from autoseg.leaderboard.quantities import Quantity, ranked_quantity
from autoseg.leaderboard.ranking.comparable import ComparableSet, Floats
from autoseg.leaderboard.ranking.stability import (
    Stability,
    mean_then_rank,
    rank_stability,
    rank_then_mean,
    tied_with_best,
)
from autoseg.leaderboard.resamples import Resamples
from autoseg.leaderboard.statistics import Difference, Interval

# The interval of a handful of cases is too narrow to show that two models are alike.
_FEWEST_FOR_EQUIVALENCE = 10


@dataclass(frozen=True)
class Analysis:
    """What the scores of comparable rows say; every sequence follows the rows' order.

    Attributes:
        quantity: the metric.
        structure: one structure, or None for the mean over structures within each case.
        scores: shape (rows, cases), in the metric's own unit and direction.
        intervals: intervals of the means.
        pairs: all pairs; differences in the metric's own unit.
        ranks: by the mean, 1 is best; equal means share the lowest rank.
        case_ranks: mean over cases of the rank within the case.
        tied: not told from the best by the adjusted test or, where nothing can be tested, by the interval.
        stability: None for a single row.
        margin: differences below it are equivalent, in the metric's unit.
        resamples: how often the cases were drawn.
        units: what was drawn: groups where there are groups, else cases.
    """

    quantity: Quantity
    structure: str | None
    scores: Floats
    intervals: tuple[Interval, ...]
    pairs: tuple[Difference, ...]
    ranks: tuple[int, ...]
    case_ranks: tuple[float, ...]
    tied: tuple[bool, ...]
    stability: Stability | None
    margin: float
    resamples: int
    units: int

    @cached_property
    def means(self) -> Floats:
        """Mean over cases."""
        means: Floats = self.scores.mean(axis=1)
        return means

    @cached_property
    def medians(self) -> Floats:
        """Median over cases."""
        return np.asarray(np.median(self.scores, axis=1), dtype=np.float64)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Row indices from best to worst."""
        return tuple(sorted(range(len(self.ranks)), key=lambda i: (self.ranks[i], i)))

    @property
    def testable(self) -> bool:
        """Whether the cases are enough for any difference to pass the test."""
        return statistics.can_be_tested(self.units, len(self.pairs))

    @property
    def disagreement(self) -> bool:
        """Whether the mean and the ranks within cases put different rows first."""
        return bool(len(self.ranks) > 1 and self.case_ranks[self.order[0]] > min(self.case_ranks) + 1e-9)

    def pair(self, a: int, b: int) -> Difference:
        """The comparison of two rows, as `a` minus `b`.

        Raises:
            KeyError: for a row with itself.
        """
        if (a, b) in self._by_rows:
            return self._by_rows[a, b]
        found = self._by_rows[b, a]
        low, high = -found.interval.high, -found.interval.low
        return Difference(a, b, -found.mean, Interval(low, high), found.p, found.p_holm, -found.lean)

    @cached_property
    def _by_rows(self) -> dict[tuple[int, int], Difference]:
        return {(pair.a, pair.b): pair for pair in self.pairs}

    def negligible(self, pair: Difference) -> bool:
        """Whether the whole interval of a difference lies within the margin, significant or not."""
        return self.units >= _FEWEST_FOR_EQUIVALENCE and pair.equivalent(self.margin)

    def verdict(self, pair: Difference) -> str:
        """One of ``a``, ``b`` (which is better), ``equivalent`` and ``undecided``."""
        if pair.significant:
            return "a" if pair.lean > 0 else "b"
        return "equivalent" if self.negligible(pair) else "undecided"


def analyse(
    chosen: ComparableSet,
    metric: str,
    structure: str | None = None,
    *,
    margin: float | None = None,
    weights: Resamples | None = None,
    resamples: int = statistics.RESAMPLES,
    seed: int = 0,
) -> Analysis:
    """Test, rank and resample the rows of a comparable set.

    Args:
        chosen: the rows.
        metric: its name.
        structure: one structure; None: the mean over structures within each case.
        margin: differences below it are equivalent, in the metric's unit; None: the metric's own.
        weights: bootstrap weights, where several analyses share one draw.
        resamples: number of draws where `weights` is None.
        seed: fixes the draws.
    """
    facts = chosen.quantity(ranked_quantity(metric).name)
    scores = chosen.matrix(metric, structure)
    sign = 1.0 if facts.higher_is_better else -1.0
    better = sign * scores
    if weights is None:
        weights = statistics.resample(len(chosen.cases), chosen.groups, resamples, seed)
    pairs = statistics.compare_pairs(better, weights, chosen.groups)
    units = len(set(chosen.groups)) if chosen.groups else len(chosen.cases)
    order = mean_then_rank(better)
    return Analysis(
        quantity=facts,
        structure=structure,
        scores=scores,
        intervals=_intervals(better, weights, chosen.groups, sign),
        pairs=tuple(pair if sign > 0 else _flipped(pair) for pair in pairs),
        ranks=tuple(int((np.round(order, 9) < value - 0.25).sum()) + 1 for value in order),
        case_ranks=tuple(float(rank) for rank in rank_then_mean(better)),
        tied=tuple(tied_with_best(order, pairs, units)),
        stability=rank_stability(better, weights) if len(better) > 1 else None,
        margin=facts.margin if margin is None else margin,
        resamples=len(weights),
        units=units,
    )


def _intervals(
    better: Floats, weights: Resamples, groups: Sequence[str] | None, sign: float
) -> tuple[Interval, ...]:
    found = statistics.mean_intervals(better, weights, groups)
    return tuple(item if sign > 0 else Interval(-item.high, -item.low) for item in found)


def _flipped(pair: Difference) -> Difference:
    """Differences in the metric's own direction; `lean` keeps saying which row is better."""
    interval = Interval(-pair.interval.high, -pair.interval.low)
    return Difference(pair.a, pair.b, -pair.mean, interval, pair.p, pair.p_holm, pair.lean)


def warnings(chosen: ComparableSet, analysis: Analysis) -> list[str]:
    """What a reader must know before believing the numbers, in plain sentences."""
    found = _few(analysis.units, len(analysis.pairs), "group" if chosen.groups else "case")
    folds = {fold for entry in chosen.entries for fold in entry.folds}
    if len(folds) == 1 and folds != {"all"} and all(isinstance(fold, int) for fold in folds):
        found.append(f"One fold only (fold {next(iter(folds))}): how training sets vary is not seen.")
    if any(record.selection for entry in chosen.entries for record in entry.records):
        found.append("These cases also served to choose a model, which flatters the chosen one.")
    missing = {entry.name: len(entry.missing) for entry in chosen.entries if entry.missing}
    if missing:
        listed = ", ".join(f"{name} {count}" for name, count in missing.items())
        found.append(f"Cases without a prediction count with the worst value: {listed}.")
    if analysis.disagreement:
        first = chosen.entries[analysis.order[0]].name
        ahead = chosen.entries[int(np.argmin(analysis.case_ranks))].name
        found.append(f"Two rankings disagree: {first} has the best mean, {ahead} is ahead case by case.")
    budgets = [record.cost.budget_s for entry in chosen.entries for record in entry.records]
    known = [budget for budget in budgets if budget]
    if known and max(known) > 1.1 * min(known):
        found.append(f"Budgets differ: {min(known):.0f} s to {max(known):.0f} s for each run.")
    return found


def _few(units: int, pairs: int, unit: str) -> list[str]:
    if units == 1:
        return [f"One {unit} only: its scores say nothing about others, and intervals have no width."]
    found = []
    if units < statistics.FEW_CASES:
        found.append(
            f"Only {units} {unit}s: intervals are likely too narrow. (With 15 cases and skewed Dice, 95 % "
            f"intervals have been seen to hold the truth only 74 to 78 % of the time.)"
        )
    if pairs and not statistics.can_be_tested(units, pairs):
        among = "" if pairs == 1 else f" among {pairs} pairs"
        found.append(
            f"Differences cannot be tested with so few: with {units} {unit}s no difference{among}, however "
            f"large, can reach p < 0.05. The interval of the difference to the best decides instead."
        )
    return found
