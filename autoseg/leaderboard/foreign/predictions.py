"""Predictions made elsewhere, evaluated here: the only scores that nobody else has to be trusted with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoseg.errors import DataError
from autoseg.evaluation.exchanged import FEWEST_CASES, warn_of_exchanged
from autoseg.evaluation.pair_files import case_files
from autoseg.evaluation.scoring import evaluate
from autoseg.leaderboard.foreign.origin import Origin, RawData
from autoseg.leaderboard.records.files import Record
from autoseg.leaderboard.records.scores import ScoreTable

_REASON = "predictions scored here; how they were made is not known"


def records_from_predictions(
    folder: Path,
    origin: Origin,
    raw: RawData,
    workers: int | None = None,
    *,
    mapping: Mapping[int, int] | None = None,
    by_voxels: bool = False,
) -> tuple[Record, ...]:
    """Evaluate a folder of segmentations named CASE.ending, one record per fold.

    Where the data set has been split, every fold that the folder has a case of is expected whole, and a case
    of it without a prediction is missing; without folds all annotated cases are expected.

    Args:
        folder: the folder of the segmentations.
        origin: whose they are.
        raw: the data set with references.
        workers: processes.
        mapping: values in the files to the labels that they stand for.
        by_voxels: whether arrays are compared whatever their headers say of place and direction.

    Raises:
        DataError: if no file is named like an annotated case, or one cannot be scored.
    """
    annotated = [case.identifier for case in raw.dataset.cases if case.label is not None]
    there = case_files(folder)
    found = [case for case in there if case in set(annotated)]
    if not found:
        listed = ", ".join([*there][:3]) or "none"
        raise DataError(
            f"{folder} has no segmentation named like a case of {raw.dataset.name} "
            f"({annotated[0]}{raw.dataset.file_ending}, ...; in it: {listed}). Name "
            f"each file as the label of its case, or give the folder that holds them."
        )
    expected = found if raw.folds else annotated
    records, overlaps = [], []
    for fold, cases in origin.by_fold(expected, raw):
        evaluation = evaluate(
            folder,
            raw.dataset,
            cases=cases,
            pixel_sizes=raw.pixel_sizes,
            mapping=mapping,
            by_voxels=by_voxels,
            workers=workers,
        )
        overlaps.append(evaluation.overlaps)
        scores = ScoreTable.from_evaluation(evaluation, raw.groups)
        records.append(origin.record(fold, scores, evaluation.settings, _REASON, folder))
    # Folds of few cases say nothing by themselves.
    if all(len(each) < FEWEST_CASES for each in overlaps):
        warn_of_exchanged([overlap for each in overlaps for overlap in each], mapping or {})
    return tuple(records)
