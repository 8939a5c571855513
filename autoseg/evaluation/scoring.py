"""Scoring a folder of predictions against their references, whoever made them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Dataset, Labels, Region
from autoseg.errors import DataError, UsageError
from autoseg.evaluation.exchanged import warn_of_exchanged
from autoseg.evaluation.own_metrics import metric_names
from autoseg.evaluation.pair_files import Pairs, pair_files, reference_files
from autoseg.evaluation.result import CaseScore, Evaluation
from autoseg.evaluation.score_case import Rules, ScoredCase, score_files
from autoseg.evaluation.values import refuse_unknown
from autoseg.metrics import (
    COUNTS,
    DEFAULT_TOLERANCE_MM,
    LesionRule,
    Tolerance,
    meanings,
    select,
    tolerance_of,
)
from autoseg.metrics.calibration import BINS, MARGIN_MM
from autoseg.system import progress
from autoseg.system.workers import forked

__all__ = ["CaseScore", "Evaluation", "evaluate"]

logger = logging.getLogger(__name__)


def evaluate(
    predictions: Path,
    dataset: Dataset | None = None,
    *,
    references: Path | None = None,
    labels: Labels | Mapping[str, Region] | None = None,
    cases: Sequence[str] | None = None,
    tolerance_mm: Tolerance = DEFAULT_TOLERANCE_MM,
    metrics: Sequence[str] | None = None,
    lesion_rule: LesionRule | None = None,
    pixel_sizes: Mapping[str, float] | None = None,
    requested: Sequence[str] = (),
    mapping: Mapping[int, int] | None = None,
    by_voxels: bool = False,
    workers: int | None = None,
) -> Evaluation:
    """Score predictions against references on the references' grid, in 3D for 3D images.

    Files are paired by name without ending; the formats may differ. A case without a prediction gets the
    worst scores. A prediction whose voxels lie where the reference's do, but along other axes, is turned
    first. Where the predictions' folder has a `CASE.npz` with nnU-Net's probabilities, calibration
    and ROC AUC are added.

    Args:
        predictions: folder of segmentations named `CASE.ending`.
        dataset: gives references and labels.
        references: folder of segmentations, instead of the data set's.
        labels: labels or regions by name, instead of the data set's.
        cases: those to evaluate; all that have a reference for None.
        tolerance_mm: tolerance of the surface Dice, for all structures or by name.
        metrics: names, definition ids or Python files; None for all that apply.
        lesion_rule: what counts as a lesion.
        pixel_sizes: mm by case, for 2D images of formats without one. Where there is none, lengths are in
            pixels, and `settings["length_unit"]` says so.
        requested: names of metrics that are measured beside those, for every structure, on images that they
            are for; see `autoseg.evaluation.requested`.
        mapping: values in the predictions to the labels that they stand for, such as 255 to 1.
        by_voxels: whether arrays are compared whatever their headers say of place and direction. So are
            predictions that were made here: training laid each label over its image by voxels as well.
        workers: processes; as many as processors if None.

    Raises:
        DataError: if nothing matches, a file cannot be read, a prediction's grid is not its reference's, or
            a file holds values that no label has.
        UsageError: if references or labels are not given, or a metric is unknown.
    """
    pairs = pair_files(Path(predictions), _references(dataset, references), cases)
    rules = Rules(
        labels=_as_labels(dataset, labels),
        tolerance_mm=tolerance_mm,
        metrics=None if metrics is None else _names(metrics),
        lesion_rule=lesion_rule or LesionRule(),
        readers={dataset.file_ending: dataset.reader} if dataset else {},
        requested=metric_names(requested),
        mapping=dict(mapping or {}),
        by_voxels=by_voxels,
    )
    if not rules.labels.structures:
        raise UsageError("There is no label but the background. Give labels such as {'liver': 1}.")
    return _evaluation(pairs, rules, _score_all(pairs, rules, _sizes(pairs, pixel_sizes or {}), workers))


def _evaluation(pairs: Pairs, rules: Rules, scored: Sequence[ScoredCase]) -> Evaluation:
    unknown = [case.unknown for case in scored if case.unknown is not None]
    refuse_unknown(rules.labels, unknown, len(scored))
    _warn(pairs, scored)
    overlaps = tuple(case.overlap for case in scored if case.overlap)
    warn_of_exchanged(overlaps, rules.mapping)
    _warn_of_unmeasured(rules, scored)
    return Evaluation(
        scores=tuple(score for case in scored for score in case.scores),
        cases=tuple(pair.case for pair in pairs.matched),
        missing=pairs.missing,
        settings=_settings(rules, scored),
        files={
            p.case: (str(p.reference), str(p.prediction) if p.prediction else None) for p in pairs.matched
        },
        unmatched=pairs.unmatched,
        overlaps=overlaps,
    )


def _references(dataset: Dataset | None, folder: Path | None) -> dict[str, Path]:
    if folder is not None:
        return reference_files(Path(folder))
    if dataset is None:
        raise UsageError("There is nothing to compare with. Give a data set, or a folder of references.")
    return {case.identifier: case.label for case in dataset.cases if case.label is not None}


def _as_labels(dataset: Dataset | None, labels: Labels | Mapping[str, Region] | None) -> Labels:
    if isinstance(labels, Labels):
        return labels
    if labels is not None:
        ignore = labels.get("ignore")
        return Labels(labels, ignore=ignore if isinstance(ignore, int) else None)
    if dataset is None:
        raise UsageError("The labels' names are not known. Give a data set, or labels such as {'liver': 1}.")
    return dataset.labels


def _names(metrics: Sequence[str]) -> tuple[str, ...]:
    """Names of the metrics, with the counts that one of all cases together is made from."""
    chosen = select(metric_names(metrics))
    counts = COUNTS if any(each.needs == "all cases" for each in chosen) else ()
    return tuple(each.name for each in chosen) + counts


def _sizes(pairs: Pairs, pixel_sizes: Mapping[str, float]) -> list[float | None]:
    sizes = [pixel_sizes.get(pair.case) for pair in pairs.matched]
    if pixel_sizes and None in sizes:
        case = pairs.matched[sizes.index(None)].case
        raise DataError(
            f"{case} has no pixel size, but other cases have, and pixels cannot be averaged with mm. Give "
            f"the pixel size of every case, or of none."
        )
    return sizes


def _score_all(
    pairs: Pairs, rules: Rules, sizes: Sequence[float | None], workers: int | None
) -> list[ScoredCase]:
    jobs = list(zip(pairs.matched, sizes, strict=True))
    scored: list[ScoredCase] = []
    with forked(workers, len(jobs)) as pool, progress.stage("Evaluate", total=len(jobs)) as advance:
        for case in pool.map(partial(score_files, rules), jobs):
            scored.append(case)
            advance()
    return scored


def _warn(pairs: Pairs, scored: Sequence[ScoredCase]) -> None:
    if pairs.missing:
        logger.warning("%d of %d predictions are missing", len(pairs.missing), len(pairs.matched))
    if pairs.unmatched:
        logger.warning("%d predictions have no reference and are left out", len(pairs.unmatched))
    if displaced := sum(case.displaced for case in scored):
        logger.warning("%d predictions differ from their references in origin or direction", displaced)
    if turned := sum(case.turned for case in scored):
        logger.warning(
            "%d predictions are stored along other axes than their references; they were turned", turned
        )


def _warn_of_unmeasured(rules: Rules, scored: Sequence[ScoredCase]) -> None:
    measured = {score.metric for case in scored for score in case.scores}
    for each in select(rules.requested):
        if each.name not in measured and each.needs != "all cases":
            logger.warning("%s is requested, but it needs %s: it was not measured.", each.name, each.needs)


def _settings(rules: Rules, scored: Sequence[ScoredCase]) -> dict[str, Any]:
    """What the numbers mean, to be published with them."""
    structures = rules.labels.structures
    units = {case.length_unit for case in scored}
    own = meanings({score.metric for case in scored for score in case.scores})
    return {
        "structures": {name: list(values) for name, values in structures.items()},
        "ignore_label": rules.labels.ignore,
        "definitions": {score.metric: score.definition for case in scored for score in case.scores},
        "tolerance_mm": {name: tolerance_of(name, rules.tolerance_mm) for name in structures},
        "default_tolerance_mm": DEFAULT_TOLERANCE_MM,
        "length_unit": " and ".join(sorted(units)),
        "asked_metrics": list(rules.requested),
        **({"own_metrics": own} if own else {}),
        "lesions": dict(rules.lesion_rule.to_json()),
        "calibration": {"margin_mm": MARGIN_MM, "bins": BINS},
        "displaced_predictions": sum(case.displaced for case in scored),
        "turned_predictions": sum(case.turned for case in scored),
        "value_mapping": {str(value): label for value, label in rules.mapping.items()},
    }
