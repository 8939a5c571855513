"""Postprocessing of the models of a data set, decided from what their folds held out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from autoseg.data.dataset import Dataset
from autoseg.errors import AutosegError
from autoseg.leaderboard.records.files import FILE_NAME, read_records
from autoseg.pipeline.written import predictions_of
from autoseg.postprocessing.decide import OutOfFold, decide_postprocessing, inputs_of
from autoseg.postprocessing.rules import Postprocessing
from autoseg.run import POSTPROCESSING
from autoseg.system import progress
from autoseg.workspace import Workspace

log = logging.getLogger(__name__)


def decide_for_models(
    dataset: Dataset, folders: Iterable[Path], again: bool = False
) -> dict[Path, Postprocessing]:
    """Decide for each model, and write it beside the model.

    What was decided from the same predictions and references stays. A model whose predictions cannot be read
    is left as it is, with a warning.

    Args:
        dataset: what the models learnt from.
        folders: the models' folders.
        again: decide even if nothing has changed.
    """
    found = {}
    waiting = [folder for folder in folders if out_of_fold(dataset, folder)]
    with progress.stage("Decide postprocessing", total=len(waiting)) as advance:
        for folder in waiting:
            try:
                found[folder] = _decided(dataset, folder, again)
            except AutosegError as problem:
                log.warning("%s: no postprocessing could be decided. %s", folder.name, problem)
            advance(detail=folder.name)
    return found


def models_of(dataset: Dataset, workspace: Workspace) -> list[Path]:
    """The folders of a data set's models that have the record of a fold."""
    records = workspace.results_of(dataset.name).glob(f"*/fold_*/{FILE_NAME}")
    return sorted({path.parent.parent for path in records})


def out_of_fold(dataset: Dataset, folder: Path) -> list[OutOfFold]:
    """The cases that a model's finished folds held out and predicted."""
    found, predictions = [], predictions_of(folder)
    for path in sorted(folder.glob(f"fold_*/{FILE_NAME}")):
        (record,) = read_records(path)
        for name in record.scores.cases if record.scores.columns else ():
            prediction = path.parent / predictions / f"{name}{dataset.file_ending}"
            reference = dataset.case(name).label
            if prediction.is_file() and reference is not None:
                group = dataset.groups.get(name, name)
                found.append(OutOfFold(name, record.fold, group, prediction, reference))
    return found


def _decided(dataset: Dataset, folder: Path, again: bool) -> Postprocessing:
    cases = out_of_fold(dataset, folder)
    if (folder / POSTPROCESSING).is_file() and not again:
        there = Postprocessing.of_model(folder)
        if there.evidence.get("inputs") == inputs_of(cases, dataset.labels):
            return there
    decided = decide_postprocessing(cases, dataset.labels, dataset.reader)
    decided.save(folder)
    return decided
