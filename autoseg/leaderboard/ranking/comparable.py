"""Which rows may be compared: sets of like with like, and in words what tells one set from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoseg.leaderboard.quantities import ALL_STRUCTURES, Quantity, quantity
from autoseg.leaderboard.ranking.entries import Entry, fold_words
from autoseg.leaderboard.records.files import UNKNOWN_FOLD
from autoseg.leaderboard.records.scores import group_of_each

Floats = NDArray[np.float64]


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
        parts.append(f"{len(absent)} not in it, {absent[0]} for one")
    if extra:
        parts.append(f"{len(extra)} only in it, {extra[0]} for one")
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

    Rows without any score are in no set. Sets of nothing but partial rows come last: what a race stopped, and
    looked at on some of the cases alone, does not come before its winner.
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
    bins.sort(
        key=lambda item: (
            not item[0].definitions,
            all(entry.status == "partial" for entry in item[1]),
            -len(item[1]),
            -len(item[0].cases),
        )
    )
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
    return group_of_each(sorted(members[0].cases), found)
