"""Runs pooled into rows: all folds and seeds of one trainer in one configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from autoseg.leaderboard.quantities import quantity
from autoseg.leaderboard.records.files import UNKNOWN_FOLD, Record, Status

_Slots = dict[tuple[str, int], Record]
_Rows = dict[tuple[str, ...], _Slots]


@dataclass(frozen=True)
class Entry:
    """One row: all folds and seeds of one trainer in one configuration.

    Attributes:
        name: what the row is called: the trainer, and whatever tells it from another row of this data set.
        records: the runs that have scores.
        without: the runs that have none: failed, impossible.
    """

    name: str
    records: tuple[Record, ...]
    without: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """Any run of the row, for what all its runs share."""
        return (self.records or self.without)[0]

    @property
    def folds(self) -> tuple[int | str, ...]:
        """Folds with scores, sorted; numbers before names."""
        return sorted_folds({record.fold for record in self.records})

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of all runs, sorted."""
        return tuple(sorted({record.seed for record in self.records or self.without}))

    @property
    def training_cases(self) -> float | None:
        """How many cases it was trained on: the mean over its runs; None where that is not known."""
        runs = (*self.records, *self.without)
        known = [run.training_cases for run in runs if run.training_cases is not None]
        return sum(known) / len(known) if known else None

    @cached_property
    def cases(self) -> frozenset[str]:
        """Every case that was to be predicted."""
        return frozenset(case for record in self.records for case in record.scores.cases)

    @cached_property
    def missing(self) -> frozenset[str]:
        """Cases without a prediction, in any seed."""
        return frozenset(case for record in self.records for case in record.scores.missing)

    @cached_property
    def empty(self) -> frozenset[str]:
        """Cases in which some structure is rightly absent."""
        return frozenset(case for record in self.records for case in record.scores.empty)

    @property
    def status(self) -> Status:
        """Of the whole row."""
        if not self.records:
            return self.without[0].status
        statuses = {record.status for record in self.records}
        if statuses == {"collapsed"} and not self.without:
            return "collapsed"
        if self.without or statuses & {"partial", "collapsed"}:
            return "partial"
        return "foreign" if "foreign" in statuses else "ok"

    @property
    def reason(self) -> str:
        """Why the status is not ok, fold by fold where they differ."""
        explained = [record for record in (*self.without, *self.records) if record.reason]
        by_reason: dict[str, list[Record]] = {}
        for record in explained:
            by_reason.setdefault(record.reason, []).append(record)
        n_runs = len(self.records) + len(self.without)
        parts = []
        for reason, records in by_reason.items():
            folds = fold_words(sorted_folds({record.fold for record in records}))
            parts.append(reason if len(records) == n_runs else f"{folds}: {reason}")
        return "; ".join(parts)

    @cached_property
    def length_unit(self) -> str:
        """``mm``, or ``px`` where images have no physical size."""
        units = {str(record.settings.get("length_unit", "mm")) for record in self.records}
        return " and ".join(sorted(units))

    def definitions(self, metric: str) -> tuple[str, ...]:
        """How a metric was computed; tolerance and unit belong to the definition of surface metrics."""
        return tuple(
            sorted(
                {
                    name + _conditions(record, metric, self.length_unit)
                    for record in self.records
                    for name in record.scores.definitions(metric)
                }
            )
        )


def _conditions(record: Record, metric: str, unit: str) -> str:
    """Tolerance of NSD and unit of distances, as the end of a definition."""
    if metric.startswith("nsd"):
        tolerance = record.settings.get("tolerance_mm")
        values = sorted(set(tolerance.values())) if isinstance(tolerance, Mapping) else [tolerance]
        if len(values) > 1 and isinstance(tolerance, Mapping):
            return " at " + ", ".join(f"{name} {value:g} {unit}" for name, value in tolerance.items())
        return f" at {values[0]:g} {unit}" if values and values[0] is not None else ""
    return f" in {unit}" if unit != "mm" and quantity(metric).unit == "mm" else ""


def sorted_folds(folds: Iterable[int | str]) -> tuple[int | str, ...]:
    """Numbers in order, then names."""
    return tuple(sorted(folds, key=lambda fold: (isinstance(fold, str), fold)))


def fold_words(folds: Sequence[int | str]) -> str:
    """``fold 0``, ``folds 0 to 4``, ``folds 0, 2``."""
    if len(folds) == 1:
        return {"all": "all cases", UNKNOWN_FOLD: "unknown folds"}.get(str(folds[0]), f"fold {folds[0]}")
    numbers = [fold for fold in folds if isinstance(fold, int)]
    if len(numbers) == len(folds) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"folds {numbers[0]} to {numbers[-1]}"
    return "folds " + ", ".join(str(fold) for fold in folds)


def case_words(cases: float | None) -> str:
    """``1 training case``, ``12.5 training cases``; empty where it is not known."""
    return "" if cases is None else f"{cases:.4g} training case{'' if cases == 1 else 's'}"


def pool(records: Iterable[Record]) -> dict[str, list[Entry]]:
    """Pool the folds and seeds of each trainer into one row; per data set, in the order of appearance.

    Of several records of one fold and seed the latest counts.
    """
    rows: dict[str, _Rows] = {}
    for record in records:
        run = rows.setdefault(record.dataset, {}).setdefault(_key(record), {})
        slot = (str(record.fold), record.seed)
        if slot not in run or record.created >= run[slot].created:
            run[slot] = record
    return {dataset: _entries(found) for dataset, found in rows.items()}


def _key(record: Record) -> tuple[str, ...]:
    return (
        record.label,
        record.configuration,
        record.initialisation,
        # The name holds the seed, the content does not.
        record.plan_hash or record.plan,
        record.fingerprint_hash or "",
    )


def _entries(rows: _Rows) -> list[Entry]:
    rows = _adopted(rows)
    names = _names(list(rows))
    entries = []
    for key, runs in rows.items():
        ordered = sorted(runs.values(), key=lambda record: (str(record.fold), record.seed))
        scored = tuple(record for record in ordered if record.scores.columns)
        without = tuple(record for record in ordered if not record.scores.columns)
        entries.append(Entry(names[key], scored, without))
    return entries


def _adopted(
    rows: _Rows,
) -> _Rows:
    """Give runs without scores, which may not have come as far as a plan, to the one row of their trainer.

    One that was requested in another configuration is a row of its own.
    """
    scored = {key for key, runs in rows.items() if any(run.scores.columns for run in runs.values())}
    found = {key: dict(runs) for key, runs in rows.items() if key in scored}
    for key, runs in rows.items():
        if key in scored:
            continue
        open_ = ("", "auto")
        parents = [p for p in scored if p[0] == key[0] and (key[1] in open_ or p[1] == key[1])]
        target = found.setdefault(parents[0] if len(parents) == 1 else key, {})
        for slot, run in runs.items():
            target.setdefault(slot, run)
    return found


def _names(keys: list[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """The trainer, and of configuration, initialisation, plan and hashes the first that tells rows apart."""
    names = {}
    for key in keys:
        alike = [other for other in keys if other[0] == key[0] and other != key]
        parts = [key[0]]
        for position in range(1, len(key)):
            if any(other[position] != key[position] for other in alike):
                parts.append(key[position][:12] or "unknown")
                alike = [other for other in alike if other[position] == key[position]]
        names[key] = " · ".join(parts)
    return names
