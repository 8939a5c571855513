"""Records into a ranking: like compared with like, ties called ties."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from autoseg.errors import UsageError
from autoseg.leaderboard import statistics
from autoseg.leaderboard.quantities import Quantity, ranked_quantity
from autoseg.leaderboard.ranking.analysis import Analysis, analyse, warnings
from autoseg.leaderboard.ranking.comparable import ComparableSet, comparable_sets
from autoseg.leaderboard.ranking.entries import Entry, pool
from autoseg.leaderboard.ranking.rows import Row
from autoseg.leaderboard.records.files import Record
from autoseg.leaderboard.resamples import Resamples
from autoseg.leaderboard.statistics import Interval


@dataclass(frozen=True)
class RankedSet:
    """A comparable set with its statistics and its rows, best first."""

    number: int
    comparable: ComparableSet
    analysis: Analysis
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    resamples: int
    seed: int

    @cached_property
    def weights(self) -> Resamples:
        """One draw of the cases for every further analysis."""
        chosen = self.comparable
        return statistics.resample(len(chosen.cases), chosen.groups, self.resamples, self.seed)

    def by(self, metric: str, structure: str | None = None) -> RankedSet:
        """The same rows ranked by another metric or structure, with the same draw of cases."""
        if (metric, structure) == (self.analysis.quantity.name, self.analysis.structure):
            return self
        analysis = analyse(self.comparable, metric, structure, weights=self.weights)
        return _ranked(self.number, self.comparable, analysis, self.resamples, self.seed)


@dataclass(frozen=True)
class Leaderboard:
    """A ranking of records by one metric.

    Attributes:
        quantity: the metric.
        structure: one structure, or None for the mean over structures.
        sets: comparable sets, data set by data set.
        unranked: rows without scores: failed, impossible, or without this metric.
        folds: the folds it was restricted to; None: all.
    """

    quantity: Quantity
    structure: str | None
    sets: tuple[RankedSet, ...]
    unranked: tuple[Row, ...]
    folds: tuple[int | str, ...] | None = None
    records: tuple[Record, ...] = field(default=(), repr=False)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Data sets, in the order of the records."""
        return tuple(dict.fromkeys(row.dataset for row in self.rows))

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """All rows, data set by data set: comparable sets in order, then what has no rank."""
        ranked = [row for item in self.sets for row in item.rows]
        datasets = dict.fromkeys(record.dataset for record in self.records)
        return tuple(
            row for dataset in datasets for row in (*ranked, *self.unranked) if row.dataset == dataset
        )

    def of(self, dataset: str) -> tuple[RankedSet, ...]:
        """The comparable sets of one data set."""
        return tuple(item for item in self.sets if item.comparable.dataset == dataset)

    def comparisons(self) -> list[dict[str, Any]]:
        """Every pair of comparable rows, `a` minus `b` in the metric's own unit."""
        return [
            {
                "dataset": item.comparable.dataset,
                "metric": self.quantity.name,
                "a": item.comparable.entries[pair.a].name,
                "b": item.comparable.entries[pair.b].name,
                "difference": pair.mean,
                "ci": [pair.interval.low, pair.interval.high],
                "p": pair.p,
                "p_holm": pair.p_holm,
                "verdict": item.analysis.verdict(pair),
            }
            for item in self.sets
            for pair in item.analysis.pairs
        ]

    def to_json(self, page: Path | None = None, records: Path | None = None) -> dict[str, Any]:
        """What ``--json`` prints: where the page and the records lie, all rows, all comparisons."""
        return {
            "page": str(page) if page else None,
            "records": str(records) if records else None,
            "rows": [row.to_json() for row in self.rows],
            "comparisons": self.comparisons(),
        }


def rank(
    records: Iterable[Record],
    *,
    metric: str = "dice",
    structure: str | None = None,
    folds: Collection[int | str] | None = None,
    margin: float | None = None,
    resamples: int = statistics.RESAMPLES,
    seed: int = 0,
) -> Leaderboard:
    """Rank trainers on each data set.

    Out-of-fold cases are pooled over folds and seeds averaged within each case. Only rows with the same
    cases, folds, fingerprint, grid and definition of the metric are compared; the others stand in sets of
    their own, which say what differs. Several data sets are ranked one by one.

    Args:
        records: records of any data sets.
        metric: the metric to rank by.
        structure: one structure; None: the mean over structures within each case.
        folds: use these only; with folds that all rows have, rows become comparable.
        margin: differences below it are equivalent, in the metric's unit; None: 0.01 for overlaps, 0.5 mm for
            distances.
        resamples: bootstrap draws of the cases.
        seed: fixes the draws.

    Raises:
        UsageError: for a metric without direction, or a structure or a fold that no record has.
    """
    facts = ranked_quantity(metric)
    chosen = tuple(record for record in records if folds is None or record.fold in folds)
    _check(chosen, structure, folds)

    sets: list[RankedSet] = []
    unranked: list[Row] = []
    for dataset, entries in pool(chosen).items():
        number = 0
        for item in comparable_sets(dataset, entries, facts.name):
            if facts.name in item.metrics and (structure is None or structure in item.structures):
                number += 1
                analysis = analyse(item, facts.name, structure, margin=margin, resamples=resamples, seed=seed)
                sets.append(_ranked(number, item, analysis, resamples, seed))
            else:
                unranked.extend(_unranked(entry, f"no {facts.label} to rank by") for entry in item.entries)
        unranked.extend(_unranked(entry, entry.reason) for entry in entries if not entry.records)
    return Leaderboard(
        facts, structure, tuple(sets), tuple(unranked), tuple(folds) if folds else None, chosen
    )


def _check(records: tuple[Record, ...], structure: str | None, folds: Collection[int | str] | None) -> None:
    if folds is not None and not records:
        raise UsageError(
            f"No record has one of the folds {', '.join(map(str, folds))}. Give others, or none."
        )
    known = dict.fromkeys(name for record in records for name in record.scores.structures)
    if structure is not None and structure not in known:
        raise UsageError(
            f"No record has a structure {structure!r}. Choose one of {', '.join(known) or 'none'}."
        )


def _ranked(number: int, item: ComparableSet, analysis: Analysis, resamples: int, seed: int) -> RankedSet:
    shown = [name for name in item.metrics if name != analysis.quantity.name]
    means = {name: item.matrix(name, analysis.structure).mean(axis=1) for name in shown}
    # Alone in a set that is not the main one, a row is first among nobody.
    alone = number > 1 and len(item.entries) == 1
    stability = None if alone else analysis.stability
    rows = []
    for i in analysis.order:
        entry = item.entries[i]
        values = {analysis.quantity.name: float(analysis.means[i])}
        values |= {name: float(column[i]) for name, column in means.items()}
        rows.append(
            _row(
                entry,
                rank=None if alone else analysis.ranks[i],
                tied=None if alone else analysis.tied[i],
                number=number,
                means=values,
                intervals={analysis.quantity.name: analysis.intervals[i]},
                reason="; ".join(filter(None, (_unlike(item), entry.reason))),
                stability=(stability.p_best[i], stability.rank_interval[i]) if stability else (None, None),
            )
        )
    return RankedSet(number, item, analysis, tuple(rows), tuple(warnings(item, analysis)), resamples, seed)


def _unlike(item: ComparableSet) -> str:
    return f"not comparable with the first rows: {item.difference}" if item.difference else ""


def _unranked(entry: Entry, reason: str) -> Row:
    return _row(entry, rank=None, tied=None, number=None, means={}, intervals={}, reason=reason)


def _row(
    entry: Entry,
    *,
    rank: int | None,
    tied: bool | None,
    number: int | None,
    means: dict[str, float],
    intervals: dict[str, Interval],
    reason: str,
    stability: tuple[float | None, Interval | None] = (None, None),
) -> Row:
    first = entry.first
    return Row(
        rank=rank,
        tied_with_best=tied,
        dataset=first.dataset,
        trainer=first.label,
        configuration=first.configuration,
        name=entry.name,
        folds=entry.folds or tuple(record.fold for record in entry.without),
        seeds=entry.seeds,
        status=entry.status,
        reason=reason,
        comparable_set=number,
        n_cases=len(entry.cases),
        n_missing=len(entry.missing),
        n_empty=len(entry.empty),
        means=means,
        intervals=intervals,
        entry=entry,
        leads_in=stability[0],
        rank_interval=stability[1],
    )
