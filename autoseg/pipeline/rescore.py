"""Scoring finished runs again, where something else is to be measured than when they ended."""

from __future__ import annotations

import dataclasses
import logging

from autoseg.data.dataset import Dataset
from autoseg.evaluation.requested import Measures, measures_of
from autoseg.evaluation.scoring import evaluate
from autoseg.leaderboard.records.files import FILE_NAME, Record, read_records, write_record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.run import Run
from autoseg.workspace import Workspace

log = logging.getLogger(__name__)


def rescore(dataset: Dataset, workspace: Workspace, workers: int | None = None) -> list[Run]:
    """Score the predictions of all finished runs of a data set as it asks now, and rewrite their records.

    Everything else in a record stays; runs whose predictions are gone are left as they are.

    Returns:
        The runs that were scored.

    Raises:
        UsageError: for wishes that cannot be met; see `measures_of`.
    """
    measures = measures_of(dataset, workspace.measures_of(dataset.name))
    done = []
    for path in sorted(workspace.results_of(dataset.name).glob(f"*/fold_*/{FILE_NAME}")):
        (record,) = read_records(path)
        run = Run(
            dataset=record.dataset,
            plan=record.plan,
            configuration=record.configuration,
            trainer=record.trainer,
            fold=record.fold,
            seed=record.seed,
            results=workspace.results,
        )
        if not record.scores.columns or not run.predictions.is_dir():
            log.info("%s has no predictions that could be scored.", record.run_id)
            continue
        write_record(run.record, _scored(record, run, dataset, measures, workers))
        done.append(run)
    return done


def _scored(record: Record, run: Run, dataset: Dataset, measures: Measures, workers: int | None) -> Record:
    evaluation = evaluate(
        run.predictions,
        dataset,
        cases=record.scores.cases,
        pixel_sizes=measures.pixel_sizes,
        requested=measures.metrics,
        by_voxels=True,
        workers=workers,
    )
    evaluation.save(run.evaluation)
    scores = ScoreTable.from_evaluation(evaluation, dataset.groups)
    return dataclasses.replace(record, settings=evaluation.settings, scores=scores)
