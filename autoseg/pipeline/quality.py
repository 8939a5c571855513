"""The quality of finished models: fitted on their held-out cases once their runs are through."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.fingerprint import Fingerprint
from autoseg.data.folds import Fold, folds_from_json
from autoseg.errors import AutosegError, RunError
from autoseg.pipeline.written import written_by
from autoseg.system.device import find_device
from autoseg.system.files import read_json, read_object
from autoseg.trust.fit import fit_quality
from autoseg.trust.fold_facts import evidence_of
from autoseg.trust.held_out import EVALUATION
from autoseg.trust.profiles import FILE_NAME as PROFILES
from autoseg.trust.profiles import Profile, profiles_of
from autoseg.trust.quality_model import QualityModel
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.leaderboard.records.files import Record

log = logging.getLogger(__name__)


def training_profiles(
    dataset: Dataset, workspace: Workspace, workers: int | None = None
) -> dict[str, Profile]:
    """What the training cases of a data set are like; read once for each state of its data."""
    fingerprint = Fingerprint.load(workspace.fingerprint_of(dataset.name))
    path = workspace.preprocessed_of(dataset.name) / PROFILES
    return profiles_of(dataset, fingerprint.hash, path, workers)


def fit_qualities(
    records: Iterable[Record], dataset: Dataset, workspace: Workspace, workers: int | None = None
) -> dict[Path, QualityModel]:
    """Fit the quality of each model that records of a data set belong to.

    A model whose quality cannot be fitted goes without: its scores stand as they are.
    """
    models = dict.fromkeys(
        record.source.parent.parent
        for record in records
        if record.source is not None and record.dataset == dataset.name and record.scores.columns
    )
    return refit(models, dataset, workspace, workers)


def refit(
    models: Iterable[Path], dataset: Dataset, workspace: Workspace, workers: int | None = None
) -> dict[Path, QualityModel]:
    """Fit the quality of models of a data set that have evidence, as `fit_qualities`."""
    found: dict[Path, QualityModel] = {}
    for model in models:
        try:
            evidence = written_by(model).evidence
            if not any(evidence_of(fold, evidence) for fold in model.glob("fold_*")):
                continue
            profiles = training_profiles(dataset, workspace, workers)
            quality = fit_quality(model, dataset, profiles, workers, written_by(model))
        except Exception as problem:
            # Whatever goes wrong here must not take a finished training's record and page with it.
            log.warning("How good new predictions of %s will be is not known: %s", model.name, problem)
            log.debug("%s", traceback.format_exc())
        else:
            found |= {} if quality is None else {model: quality}
    return found


def fit_again(model: Path, workspace: Workspace, device: str, workers: int | None = None) -> QualityModel:
    """Fit the quality of a finished model; held-out cases without evidence are predicted again for it.

    Args:
        model: the model's folder in the workspace's results.
        workspace: where its data set was prepared.
        device: where to predict.
        workers: processes for reading.

    Raises:
        RunError: if none of its folds has held-out cases with scores.
    """
    from autoseg.inference.ensemble import gather_evidence

    dataset, done = held_out_folds(model, workspace)
    for fold in done:
        known = evidence_of(model / f"fold_{fold.index}")
        missing = [case for case in fold.validation if case not in known]
        gather_evidence(model, fold.index, workspace, find_device(device), missing)
    profiles = training_profiles(dataset, workspace, workers)
    found = fit_quality(model, dataset, profiles, workers, written_by(model))
    if found is None:
        raise _nothing_held_out(model, dataset.name)
    return found


def held_out_folds(model: Path, workspace: Workspace) -> tuple[Dataset, list[Fold]]:
    """The data set of a finished model, and its folds whose held-out cases have scores.

    Raises:
        RunError: if there is no such fold.
    """
    from autoseg.inference.ensemble import member_folders

    name = read_json(member_folders(model)[0] / "plans.json", RunError)["dataset_name"]
    folds = folds_from_json(read_json(workspace.folds_of(name), RunError))
    done = [fold for fold in folds if (model / f"fold_{fold.index}" / EVALUATION).is_file()]
    if not done:
        raise _nothing_held_out(model, name)
    return as_walked(name, workspace), done


def _nothing_held_out(model: Path, name: str) -> RunError:
    return RunError(
        f"{model} has no fold with scores of held-out cases. Train one: autoseg plan-and-train {name}."
    )


def as_walked(name: str, workspace: Workspace) -> Dataset:
    """A data set with the groups that its folds were made by."""
    dataset = load_dataset(workspace.find_raw(name))
    groups = read_object(workspace.groups_of(name))
    cases = tuple(dataclasses.replace(case, group=groups.get(case.identifier)) for case in dataset.cases)
    return dataclasses.replace(dataset, cases=cases)


def fit_all(records: Sequence[Record], workspace: Workspace, workers: int | None = None) -> None:
    """Fit the qualities of the models of several data sets, for those that can be read."""
    for name in dict.fromkeys(record.dataset for record in records if record.source is not None):
        try:
            fit_qualities(records, as_walked(name, workspace), workspace, workers)
        except AutosegError as problem:
            log.info("No quality of models of %s: %s", name, problem)
