"""Which rows may be compared: runs pooled into rows, and rows into sets of like with like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoseg.leaderboard.quantities import ALL_STRUCTURES, Quantity, quantity
from autoseg.leaderboard.records import UNKNOWN_FOLD, Record, Status

Floats = NDArray[np.float64]


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
        if self.without or "partial" in statuses:
            return "partial"
        return "foreign" if "foreign" in statuses else "ok"

    @property
    def reason(self) -> str:
        """Why the status is not ok, fold by fold where they differ."""
        told = [record for record in (*self.without, *self.records) if record.reason]
        by_reason: dict[str, list[Record]] = {}
        for record in told:
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


@dataclass(frozen=True)
class ComparableSet:
    """Rows of one data set that may be compared.

    Attributes:
        dataset: its name.
        entries: the rows.
        cases: all cases, sorted.
        groups: the group of each case, where there are groups.
        difference: what tells this set from the data set's first; empty for the first.
    """

    dataset: str
    entries: tuple[Entry, ...]
    cases: tuple[str, ...]
    groups: tuple[str, ...] | None
    difference: str = ""

    @cached_property
    def structures(self) -> tuple[str, ...]:
        """Structures of all rows."""
        tables = (record.scores for entry in self.entries for record in entry.records)
        names = dict.fromkeys(name for table in tables for name in table.structures)
        return tuple(name for name in names if name != ALL_STRUCTURES)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that every row has under one definition: only these can be compared."""
        names = dict.fromkeys(name for record in self.entries[0].records for name in record.scores.metrics)
        return tuple(name for name in names if self.disagreement(name) is None)

    def quantity(self, metric: str) -> Quantity:
        """A metric in the unit that this set has it in."""
        facts, unit = quantity(metric), self.entries[0].length_unit
        return replace(facts, unit=unit) if facts.unit == "mm" else facts

    def disagreement(self, metric: str) -> str | None:
        """Why this set's rows cannot be compared by a metric; None if they can."""
        found = {entry.name: entry.definitions(metric) for entry in self.entries}
        lacking = [name for name, definitions in found.items() if not definitions]
        if lacking:
            return f"{', '.join(lacking)} has no {quantity(metric).label}"
        if len(set(found.values())) > 1 or any(len(item) > 1 for item in found.values()):
            return f"{quantity(metric).label} is defined in different ways: " + "; ".join(
                f"{name}: {', '.join(definitions)}" for name, definitions in found.items()
            )
        return None

    def matrix(self, metric: str, structure: str | None = None) -> Floats:
        """Scores of shape (rows, cases): seeds averaged within each case, missing cases at their worst."""
        if (metric, structure) not in self._matrices:
            self._matrices[metric, structure] = self._complete(metric, structure)
        return self._matrices[metric, structure]

    @cached_property
    def _matrices(self) -> dict[tuple[str, str | None], Floats]:
        return {}

    def _complete(self, metric: str, structure: str | None) -> Floats:
        scores = np.stack([self._pooled(entry, metric, structure) for entry in self.entries])
        facts = quantity(metric)
        finite = np.where(np.isfinite(scores), scores, np.nan)
        if facts.worst is None and np.isinf(scores).any():
            with np.errstate(all="ignore"):
                worst = np.nanmax(finite) if np.isfinite(finite).any() else 0.0
            scores = np.where(np.isinf(scores), worst, scores)
        # A case that has no value at all in some row: nothing was there and nothing was predicted.
        return np.where(np.isnan(scores), facts.best, scores)

    def _pooled(self, entry: Entry, metric: str, structure: str | None) -> Floats:
        sums, counts = np.zeros(len(self.cases)), np.zeros(len(self.cases))
        for record in entry.records:
            index = self._index(record.scores.cases)
            values = record.scores.case_scores(metric, structure)
            there = ~np.isnan(values)
            # A record has each case once, so that plain indexing adds them all.
            sums[index[there]] += values[there]
            counts[index[there]] += 1
        means: Floats = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return means

    @cached_property
    def _position(self) -> dict[str, int]:
        return {case: i for i, case in enumerate(self.cases)}

    @cached_property
    def _indices(self) -> dict[tuple[str, ...], NDArray[np.intp]]:
        return {}

    def _index(self, cases: tuple[str, ...]) -> NDArray[np.intp]:
        if cases not in self._indices:
            self._indices[cases] = np.array([self._position[case] for case in cases], dtype=np.intp)
        return self._indices[cases]


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


def pool(records: Iterable[Record]) -> dict[str, list[Entry]]:
    """Pool the folds and seeds of each trainer into one row; per data set, in the order of appearance.

    Of several records of one fold and seed the latest counts.
    """
    rows: dict[str, dict[tuple[str, ...], dict[tuple[str, int], Record]]] = {}
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
        record.plan,
        record.plan_hash or "",
        record.fingerprint_hash or "",
    )


def _entries(rows: dict[tuple[str, ...], dict[tuple[str, int], Record]]) -> list[Entry]:
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
    rows: dict[tuple[str, ...], dict[tuple[str, int], Record]],
) -> dict[tuple[str, ...], dict[tuple[str, int], Record]]:
    """Give runs without scores, which may not have come as far as a plan, to the one row of their trainer."""
    scored = {key for key, runs in rows.items() if any(run.scores.columns for run in runs.values())}
    found = {key: dict(runs) for key, runs in rows.items() if key in scored}
    for key, runs in rows.items():
        if key in scored:
            continue
        parents = [parent for parent in scored if parent[0] == key[0]]
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


@dataclass(frozen=True)
class _Signature:
    """What must agree for a comparison; None is not known and agrees with everything."""

    cases: frozenset[str]
    folds: tuple[int | str, ...]
    definitions: tuple[str, ...]
    grid: str
    fingerprint: str | None
    split: str | None

    def unlike(self, other: _Signature) -> str:
        """How `self` differs from `other`, in words; empty if it does not."""
        found = []
        known = UNKNOWN_FOLD not in self.folds + other.folds
        if known and self.folds != other.folds:
            found.append(f"{fold_words(self.folds)} instead of {fold_words(other.folds)}")
        elif self.cases != other.cases:
            found.append(_case_words(self.cases, other.cases))
        if self.definitions != other.definitions:
            mine, theirs = ", ".join(self.definitions) or "no such score", ", ".join(other.definitions)
            found.append(f"another definition of the metric ({mine} instead of {theirs})")
        if self.grid != other.grid:
            found.append(f"scored on another grid ({self.grid} instead of {other.grid})")
        if None not in (self.fingerprint, other.fingerprint) and self.fingerprint != other.fingerprint:
            found.append("another fingerprint: the images or labels have changed in between")
        if None not in (self.split, other.split) and self.split != other.split:
            found.append("another split into folds")
        return "; ".join(found)


def _case_words(mine: frozenset[str], theirs: frozenset[str]) -> str:
    extra, absent = sorted(mine - theirs), sorted(theirs - mine)
    parts = []
    if absent:
        parts.append(f"{len(absent)} cases are not in it, {absent[0]} for one")
    if extra:
        parts.append(f"{len(extra)} cases are only in it, {extra[0]} for one")
    return "other cases: " + ", ".join(parts)


def _signature(entry: Entry, metric: str) -> _Signature:
    prints = {record.fingerprint_hash for record in entry.records} - {None}
    splits = {record.split_hash for record in entry.records} - {None}
    grids = sorted({record.grid for record in entry.records})
    return _Signature(
        entry.cases,
        entry.folds,
        entry.definitions(metric),
        ", ".join(grids),
        ", ".join(sorted(str(item) for item in prints)) or None,
        ", ".join(sorted(str(item) for item in splits)) or None,
    )


def comparable_sets(dataset: str, entries: Sequence[Entry], metric: str) -> list[ComparableSet]:
    """Sort the rows of one data set into sets of like with like, the largest first.

    Rows without any score are in no set.
    """
    bins: list[tuple[_Signature, list[Entry]]] = []
    scored = [entry for entry in entries if entry.records]
    for entry in sorted(scored, key=lambda entry: entry.status == "foreign"):
        own = _signature(entry, metric)
        for i, (signature, members) in enumerate(bins):
            if not own.unlike(signature):
                members.append(entry)
                known = replace(
                    signature,
                    fingerprint=signature.fingerprint or own.fingerprint,
                    split=signature.split or own.split,
                )
                bins[i] = (known, members)
                break
        else:
            bins.append((own, [entry]))
    bins.sort(key=lambda item: (not item[0].definitions, -len(item[1]), -len(item[0].cases)))
    return [
        ComparableSet(
            dataset,
            tuple(members),
            tuple(sorted(signature.cases)),
            _groups(members),
            signature.unlike(bins[0][0]) if i else "",
        )
        for i, (signature, members) in enumerate(bins)
    ]


def _groups(members: Sequence[Entry]) -> tuple[str, ...] | None:
    """The group of each case, in the cases' order; None where every case is its own."""
    found: dict[str, str] = {}
    for record in (record for entry in members for record in entry.records):
        if record.scores.groups is not None:
            found.update(zip(record.scores.cases, record.scores.groups, strict=True))
    cases = sorted(members[0].cases)
    groups = tuple(found.get(case, case) for case in cases)
    return groups if max(Counter(groups).values(), default=1) > 1 else None
