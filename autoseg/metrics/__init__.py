"""Scores of one case: every metric of every structure, and what empty segmentations are worth.

| reference / prediction | raw value | value in a ranking | status |
|---|---|---|---|
| both have the structure | the formula's | the same | `ok` |
| neither has it | None (shares), None (distances) | the best | `empty_both` |
| the prediction misses it | 0 for shares, None for distances | the worst | `missing_prediction_structure` |
| the prediction invents it | 0 for shares, None for distances | the worst | `empty_reference` |
| there is no prediction file | None | the worst | `missing_file` |

The worst share is 0, the worst distance the diagonal of the image: leaving such cases out would improve the
mean distance of a model that misses structures. Metrics without a worst value (counts, signed errors) keep
their formula's, with a missing file counting as an empty prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import autoseg.metrics.definitions  # noqa: F401  fills the register
from autoseg.errors import UsageError
from autoseg.metrics.calibration import Probabilities
from autoseg.metrics.comparison import Comparison, Counts
from autoseg.metrics.label_maps import LabelMaps
from autoseg.metrics.lesions import LesionRule
from autoseg.metrics.register import (
    DIAGONAL,
    METRICS,
    Metric,
    Scale,
    declare,
    find,
    in_order,
    known,
    meanings,
    metric,
    select,
)
from autoseg.metrics.scales import DISTANCE, ERROR, LENGTH_ERROR, SHARE, divide

in_order()

__all__ = [
    "COUNTS",
    "DISTANCE",
    "ERROR",
    "LENGTH_ERROR",
    "METRICS",
    "SHARE",
    "Comparison",
    "LesionRule",
    "Metric",
    "Scale",
    "Score",
    "declare",
    "divide",
    "find",
    "known",
    "meanings",
    "metric",
    "score_case",
    "score_counts",
    "select",
]

Status = Literal["ok", "empty_both", "missing_prediction_structure", "empty_reference", "missing_file"]
Tolerance = float | Mapping[str, float]

DEFAULT_TOLERANCE_MM = 2.0

# The voxel counts that all overlaps follow from.
COUNTS = ("tp", "fp", "fn", "tn")

# What metrics of the whole case are listed under.
ALL_STRUCTURES = "(all)"

# Head circumference is measured without a request where a 2D structure has one of these names.
HEADS = ("head", "fetal head", "fetal_head", "skull")


@dataclass(frozen=True)
class Score:
    """One metric of one structure in one case.

    Attributes:
        structure: its name; `(all)` for metrics of the whole case.
        metric: name, such as `hd95`.
        definition: id of the formula, such as `hd95.voxel.v1`.
        value: what a ranking uses; always a number.
        raw: what the formula gives; None where it is undefined.
        status: how the two came about.
    """

    structure: str
    metric: str
    definition: str
    value: float
    raw: float | None
    status: Status


def score_case(
    reference: NDArray[Any],
    prediction: NDArray[Any] | None,
    structures: Mapping[str, Sequence[int]],
    spacing_mm: Sequence[float],
    *,
    ignore_label: int | None = None,
    tolerance_mm: Tolerance = DEFAULT_TOLERANCE_MM,
    metrics: Sequence[str] | None = None,
    requested: Sequence[str] = (),
    lesion_rule: LesionRule | None = None,
    probabilities: Mapping[str, Probabilities] | None = None,
) -> list[Score]:
    """Score one case: all structures, each in one pass.

    Args:
        reference: labels, (z, y, x) or (y, x). A single slice (1, y, x) is scored in 2D.
        prediction: labels of the same shape; None if the file is missing.
        structures: the labels of each structure by name; several labels make a region.
        spacing_mm: voxel size in the order of the array's axes.
        ignore_label: reference value without a truth, left out of every metric. Surfaces end where it
            begins instead of running along it.
        tolerance_mm: tolerance of the surface Dice, for all structures or by name (2 mm for the others).
        metrics: names or definition ids; None for all that apply.
        requested: names of metrics that a data set requests: measured for every structure on images that they
            are for, and on others left out.
        lesion_rule: what counts as a lesion.
        probabilities: probabilities of each structure by name, in the reference's shape: adds calibration and
            ROC AUC
            where the reference has the structure.

    Raises:
        DataError: if shapes or spacing do not fit each other, or the arrays hold no labels.
        UsageError: if a metric is unknown or cannot be computed on this image.
    """
    predicted = np.zeros_like(reference) if prediction is None else prediction
    maps = LabelMaps(reference, predicted, spacing_mm, ignore_label)
    chosen = select(metrics if metrics is None else (*metrics, *requested))
    if metrics is None:
        # What somebody registered for one data set is not measured on all.
        chosen = tuple(each for each in chosen if each.group != "own" or each.name in requested)
    scores: list[Score] = []
    for name, values in structures.items():
        case = maps.compare(
            name, values, tolerance_of(name, tolerance_mm), lesion_rule, (probabilities or {}).get(name)
        )
        status = _status(case.counts, prediction is None)
        for each in _applicable(chosen, case, metrics is not None, requested):
            scores += _score(each, case, name, status, case.diagonal)
    counts = maps.all_counts(structures)
    status = "ok" if prediction is not None else "missing_file"
    for each in (one for one in chosen if one.needs == "all structures"):
        scores += _score(each, counts, ALL_STRUCTURES, status, maps.diagonal)
    return scores


def score_counts(structure: str, counts: Counts) -> list[Score]:
    """Score one structure from its voxel counts alone: the counts themselves and the overlaps."""
    status = _status(counts, missing_file=False)
    case = SimpleNamespace(counts=counts)
    known = (metric for metric in METRICS.values() if metric.group in ("counts", "overlap"))
    return [score for metric in known for score in _score(metric, case, structure, status, 0.0)]


def tolerance_of(structure: str, tolerance_mm: Tolerance) -> float:
    """The tolerance that applies to a structure."""
    if isinstance(tolerance_mm, Mapping):
        return float(tolerance_mm.get(structure, DEFAULT_TOLERANCE_MM))
    return float(tolerance_mm)


def _status(counts: Counts, missing_file: bool) -> Status:
    if missing_file:
        return "missing_file"
    if not counts.in_reference:
        return "empty_reference" if counts.in_prediction else "empty_both"
    return "ok" if counts.in_prediction else "missing_prediction_structure"


def _applicable(
    metrics: Sequence[Metric], case: Comparison, explicit: bool, requested: Sequence[str]
) -> Iterator[Metric]:
    has = {"nothing", f"{case.dimensions}d"} | ({"probabilities"} if case.whole is not None else set())
    for each in metrics:
        if each.needs in ("all structures", "all cases"):
            continue
        if each.needs not in has:
            if explicit and each.needs != "probabilities" and each.name not in requested:
                raise UsageError(f"{each.name} is for {each.needs} images; this one is {case.dimensions}d.")
        elif explicit or each.group != "head" or each.name in requested or case.structure.lower() in HEADS:
            yield each


def _score(metric: Metric, case: Any, structure: str, status: Status, diagonal: float) -> Iterator[Score]:
    worst = diagonal if metric.worst == DIAGONAL else metric.worst
    missing = status == "missing_file"
    raw = None if missing and worst is not None else metric.formula(case)
    if raw is None and metric.needs == "probabilities":
        return
    value = raw if raw is not None else metric.best if status == "empty_both" else worst
    if value is not None:
        yield Score(structure, metric.name, metric.definition, value, None if missing else raw, status)
