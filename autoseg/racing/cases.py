"""The held-out cases of a race: which of them are looked at on the way, their groups, and their Dice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoseg.leaderboard.records.scores import ScoreTable, group_of_each
from autoseg.leaderboard.resamples import Floats

if TYPE_CHECKING:
    from autoseg.pipeline.trial import Trial


def held_out(trials: Sequence[Trial]) -> tuple[str, ...]:
    """All held-out cases of runs, by name."""
    return tuple(sorted({case for trial in trials for case in trial.fold.validation}))


def cases_of_look(trials: Sequence[Trial], most: int | None) -> tuple[str, ...]:
    """The cases that are predicted at looks before the end, by name: spread over folds and groups.

    Args:
        trials: the runs of one trainer.
        most: so many of all folds together, rounded up to as many of each; None: all.
    """
    if most is None:
        return held_out(trials)
    groups = trials[0].dataset.groups
    folds = {trial.fold.index: trial.fold.validation for trial in trials}
    each = math.ceil(most / len(folds))
    return tuple(sorted({case for fold in folds.values() for case in _spread(fold, groups, each)}))


def groups_of(trials: Sequence[Trial], cases: Sequence[str] | None = None) -> tuple[str, ...] | None:
    """The group of each held-out case, in the order of `pooled`; None where every case is its own.

    Args:
        trials: the runs of one trainer.
        cases: some of the held-out ones, by name; None: all.
    """
    return group_of_each(held_out(trials) if cases is None else cases, trials[0].dataset.groups)


def pooled(tables: Sequence[ScoreTable]) -> Floats:
    """Dice of each case, in the order of their names; the mean over the runs that predicted it.

    A case in which nothing was to be found and nothing was found has no Dice: it counts as right.
    """
    sums: dict[str, list[float]] = {}
    for table in tables:
        for case, value in zip(table.cases, table.case_scores("dice"), strict=True):
            sums.setdefault(case, []).append(1.0 if math.isnan(value) else float(value))
    return np.array([np.mean(sums[case]) for case in sorted(sums)])


def _spread(cases: Sequence[str], groups: Mapping[str, str], count: int) -> list[str]:
    """Some of the cases: of as many groups as can be, for groups are what a test counts."""
    firsts: dict[str, str] = {}
    for case in sorted(cases):
        firsts.setdefault(groups.get(case, case), case)
    ones = sorted(firsts.values())
    others = sorted(set(cases) - set(ones))
    return _evenly(ones, count) + _evenly(others, count - len(ones))


def _evenly(items: Sequence[str], count: int) -> list[str]:
    count = min(max(count, 0), len(items))
    return [items[number * len(items) // count] for number in range(count)]
