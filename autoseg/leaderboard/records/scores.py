"""The scores of one evaluation, case by case, in the compact form that a record carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoseg.leaderboard.quantities import quantity

if TYPE_CHECKING:
    from autoseg.evaluation.result import CaseScore, Evaluation

MISSING = "missing_file"
MISSED = "missing_prediction_structure"
EMPTY = "empty_both"


@dataclass(frozen=True)
class ScoreColumn:
    """One metric of one structure, for all cases of a table.

    Attributes:
        metric: its name, for example ``dice``.
        structure: the label or region.
        definition: the identifier of the exact definition, for example ``dice.v1``.
        values: one per case, in the table's order. None: not defined, and left out of the case's mean.
        raw: index of a case to its raw value, where that differs from the value.
        statuses: index of a case to its status, where that is not ``ok``.
    """

    metric: str
    structure: str
    definition: str
    values: tuple[float | None, ...]
    raw: Mapping[int, float | None] = field(default_factory=dict)
    statuses: Mapping[int, str] = field(default_factory=dict)

    def array(self) -> NDArray[np.float64]:
        """The values, NaN where not defined."""
        return np.array(self.values, dtype=np.float64)


def group_of_each(cases: Sequence[str], groups: Mapping[str, str]) -> tuple[str, ...] | None:
    """The group of each case, in their order; None where no two cases share one.

    A case that is not in `groups` is a group of its own.
    """
    found = tuple(groups.get(case, case) for case in cases)
    return found if len(set(found)) < len(found) else None


@dataclass(frozen=True)
class ScoreTable:
    """All scores of one evaluation.

    Attributes:
        cases: every case that was to be predicted, with or without a prediction.
        columns: one per metric and structure.
        groups: the group of each case, where the data set has groups.
    """

    cases: tuple[str, ...] = ()
    columns: tuple[ScoreColumn, ...] = ()
    groups: tuple[str, ...] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics, in the order of their first column."""
        return tuple(dict.fromkeys(column.metric for column in self.columns))

    @property
    def structures(self) -> tuple[str, ...]:
        """The structures, in the order of their first column."""
        return tuple(dict.fromkeys(column.structure for column in self.columns))

    @property
    def missing(self) -> tuple[str, ...]:
        """Cases without a prediction."""
        return self._with_status(MISSING)

    @property
    def empty(self) -> tuple[str, ...]:
        """Cases in which some structure is absent, rightly, from reference and prediction."""
        return self._with_status(EMPTY)

    def _with_status(self, status: str) -> tuple[str, ...]:
        found = {i for column in self.columns for i, name in column.statuses.items() if name == status}
        return tuple(self.cases[i] for i in sorted(found))

    def definitions(self, metric: str) -> tuple[str, ...]:
        """The identifiers under which a metric was computed: one, unless the table is at odds with itself."""
        return tuple(sorted({column.definition for column in self.columns if column.metric == metric}))

    def case_scores(self, metric: str, structure: str | None = None) -> NDArray[np.float64]:
        """One score per case: the mean over structures, or one structure.

        Returns:
            Shape (cases,). NaN where a case has no value and its status does not say that it is missing; a
            case that is missing without a value gets the metric's worst, or infinity where that depends on
            the image.
        """
        chosen = [
            column
            for column in self.columns
            if column.metric == metric and (structure is None or column.structure == structure)
        ]
        if not chosen:
            return np.full(len(self.cases), np.nan)
        if len(chosen) == 1 and not chosen[0].statuses:
            return chosen[0].array()
        values = np.stack([_imputed(column) for column in chosen])
        counts = (~np.isnan(values)).sum(axis=0)
        sums = np.nansum(values, axis=0)
        means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return means

    @classmethod
    def from_evaluation(cls, evaluation: Evaluation, groups: Mapping[str, str] | None = None) -> ScoreTable:
        """Take over the scores of an evaluation.

        Args:
            evaluation: from `autoseg.evaluation.scoring`.
            groups: case to group, where the data set has groups.
        """
        cases = tuple(evaluation.cases)
        position = {case: i for i, case in enumerate(cases)}
        columns: dict[tuple[str, str, str], list[CaseScore]] = {}
        for score in evaluation.scores:
            columns.setdefault((score.metric, score.structure, score.definition), []).append(score)
        return cls(
            cases,
            tuple(_column(key, scores, position, evaluation.missing) for key, scores in columns.items()),
            tuple(groups.get(case, case) for case in cases) if groups else None,
        )


def _column(
    key: tuple[str, str, str], scores: list[CaseScore], position: Mapping[str, int], missing: Sequence[str]
) -> ScoreColumn:
    values: list[float | None] = [None] * len(position)
    raw: dict[int, float | None] = {}
    statuses = {position[case]: MISSING for case in missing}
    for score in scores:
        i = position[score.case]
        values[i] = _compact(score.value)
        if score.status != "ok":
            statuses[i] = score.status
        if score.raw != score.value:
            raw[i] = _compact(score.raw)
    return ScoreColumn(*key, tuple(values), raw, statuses)


def _compact(value: float | None) -> float | None:
    """Nine significant digits: what a metric can mean, at half the size. What is not finite is None."""
    return float(f"{value:.9g}") if value is not None and np.isfinite(value) else None


def _imputed(column: ScoreColumn) -> NDArray[np.float64]:
    """The values, with the worst one where the prediction is missing and no value was given."""
    values, facts = column.array(), quantity(column.metric)
    if facts.higher_is_better is None:
        return values
    for i, status in column.statuses.items():
        if np.isnan(values[i]) and status not in (EMPTY, "ok"):
            values[i] = facts.worst if facts.worst is not None else np.inf
    return values
