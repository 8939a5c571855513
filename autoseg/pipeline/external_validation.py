"""A model that was trained on one data set, scored on another: what is left of its quality elsewhere.

The scores at home are those of its out-of-fold cases, by the models that have not seen them; the scores
abroad are of all its folds together, which is what `autoseg predict` gives there. Cases of the two data sets
are other cases, so nothing is paired: the drop is a difference of two means.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dataset import Case, Dataset, labels_from_json, load_dataset
from autoseg.data.joined_labels import JoinedLabels, join_labels
from autoseg.errors import UsageError
from autoseg.evaluation.result import Evaluation
from autoseg.evaluation.scoring import evaluate
from autoseg.inference.bundled import BundledModel
from autoseg.inference.inputs import LeftOut
from autoseg.inference.predict import Predictor, channels_of, predict_cases
from autoseg.leaderboard import statistics
from autoseg.leaderboard.records.files import FILE_NAME, UNKNOWN_FOLD, Record, load_records, write_record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.pipeline.prepare import remember_place
from autoseg.pipeline.single_stages import loaded_models, model_name
from autoseg.system.files import read_object, write_json
from autoseg.workspace import Workspace

logger = logging.getLogger(__name__)

REPORT = "validation.json"


@dataclass(frozen=True)
class Mean:
    """A mean score with its 95 % interval; None where it cannot be had."""

    value: float
    interval: tuple[float, float] | None
    cases: int
    groups: int


@dataclass(frozen=True)
class Transfer:
    """One structure, or all, at home and abroad.

    Attributes:
        structure: the data set's name; "" for the mean over all in common.
        home: out of fold on the data set that the model was trained on; None if it has no scores.
        abroad: on the other data set.
        drop: home minus abroad.
        interval: 95 % percentile bootstrap interval of the drop; groups are drawn, each side by itself.
    """

    structure: str
    home: Mean | None
    abroad: Mean
    drop: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Validation:
    """What `validate` found.

    Attributes:
        model: data set that it was trained on, and run or bundle's name.
        dataset: where it was tried.
        joined: the structures in common.
        rows: Dice, all structures first.
        left_out: cases that could not be predicted, which count as 0.
        folder: predictions, evaluation.json, validation.json and record.jsonl.
    """

    model: str
    dataset: str
    joined: JoinedLabels
    rows: tuple[Transfer, ...]
    left_out: tuple[LeftOut, ...]
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """What ``autoseg validate --json`` prints."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "structures": dict(self.joined.pairs),
            "only_model": list(self.joined.only_model),
            "only_dataset": list(self.joined.only_dataset),
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "left_out": list(map(str, self.left_out)),
            "folder": str(self.folder),
        }


def validate_elsewhere(
    model: Path,
    source: Path | str,
    workspace: Workspace,
    *,
    renamed: Mapping[str, str] | None = None,
    device: str = "auto",
    mirroring: bool = True,
    workers: int | None = None,
) -> Validation:
    """Predict every annotated case of a data set with a model of another one, and score it.

    Predictions that the same model made of the same images are there from an earlier call and are retained.

    Args:
        model: a run's folder, or a bundle.
        source: the other data set: a name, an id or a raw folder.
        workspace: results go to ``results/DATASET/external__MODEL``.
        renamed: the data set's name of a structure to the model's, where they differ.
        device: where to compute.
        mirroring: whether to average over mirrored copies.
        workers: processes that evaluate.

    Raises:
        DataError: if no case can be predicted or scored.
        UsageError: if the data set is the one that the model was trained on, has other channels, or has no
            structure in common with the model.
    """
    dataset = load_dataset(workspace.find_raw(source))
    loaded, hashes = loaded_models((model,), device, mirroring, 0.5)
    name = _name(model, loaded)
    _check(name, loaded, dataset)
    joined = join_labels(labels_from_json(loaded.dataset_json), dataset.labels, renamed)
    remember_place(dataset, workspace)
    folder = workspace.results_of(dataset.name) / f"external__{name.replace(' ', '__')}"
    done = predict_cases(
        loaded,
        _annotated(dataset),
        folder / "predictions",
        maker={"models": hashes, "mirroring": mirroring, "step_size": 0.5},
    )
    evaluation = _scored(dataset, joined, folder / "predictions", workers)
    abroad = ScoreTable.from_evaluation(evaluation, dataset.groups)
    home = load_records(model) if model.is_dir() else ()
    rows = tuple(_transfer(each, joined.pairs, home, abroad) for each in ("", *joined.pairs))
    found = Validation(name, dataset.name, joined, rows, done.left_out, folder)
    evaluation.save(folder / "evaluation.json")
    write_record(folder / FILE_NAME, _record(found, evaluation, abroad, home))
    write_json(folder / REPORT, found.to_json())
    return found


def _annotated(dataset: Dataset) -> list[Case]:
    return [case for case in dataset.cases if case.label is not None]


def _name(model: Path, loaded: Predictor) -> str:
    """Data set and run or bundle, by what the model says itself: folders are moved, and bundles renamed."""
    if isinstance(loaded, BundledModel):
        trained_on, run = loaded.segmenter.description.about.get("dataset"), model.resolve().stem
    else:
        trained_on, run = read_object(model / "plans.json").get("dataset_name"), model.resolve().name
    return f"{trained_on} {run}" if trained_on else model_name(model)


def _check(name: str, loaded: Predictor, dataset: Dataset) -> None:
    if dataset.name in name.split():
        raise UsageError(
            f"{name} was trained on {dataset.name}: scores there are no scores elsewhere. Its out-of-fold "
            f"scores: autoseg leaderboard {dataset.name}."
        )
    channels = channels_of(loaded)
    if len(channels) != len(dataset.channels):
        raise UsageError(
            f"The model takes {len(channels)} channels ({', '.join(channels)}), {dataset.name} has "
            f"{len(dataset.channels)} ({', '.join(dataset.channels)}). Choose a model of the same channels."
        )
    if [each.casefold() for each in channels] != [each.casefold() for each in dataset.channels]:
        logger.warning(
            "The model's channels are %s, those of %s are %s: they are taken in this order.",
            ", ".join(channels),
            dataset.name,
            ", ".join(dataset.channels),
        )


def _scored(dataset: Dataset, joined: JoinedLabels, predictions: Path, workers: int | None) -> Evaluation:
    """Scores of the structures in common; the others are no fault of the model."""
    evaluation = evaluate(
        predictions,
        dataset,
        cases=[case.identifier for case in _annotated(dataset)],
        mapping=joined.values,
        workers=workers,
    )
    rest = set(joined.only_dataset)
    scores = tuple(score for score in evaluation.scores if score.structure not in rest)
    return dataclasses.replace(evaluation, scores=scores)


def _transfer(
    structure: str, pairs: Mapping[str, str], home: tuple[Record, ...], abroad: ScoreTable
) -> Transfer:
    theirs = [structure] if structure else list(pairs)
    there, there_groups = _per_case(abroad, theirs)
    far = _mean(there, there_groups)
    tables = [record.scores for record in home if record.scores.cases]
    parts = [_per_case(table, [pairs[name] for name in theirs]) for table in tables]
    here = np.concatenate([scores for scores, _ in parts]) if parts else np.zeros(0)
    if not here.size:
        return Transfer(structure, None, far, None, None)
    here_groups = tuple(group for _, groups in parts for group in groups)
    near = _mean(here, here_groups)
    draws = _draws(here, here_groups, seed=0) - _draws(there, there_groups, seed=1)
    # One group says nothing of how groups vary.
    enough = min(near.groups, far.groups) > 1
    low, high = np.quantile(draws, [0.025, 0.975])
    interval = (float(low), float(high)) if enough else None
    return Transfer(structure, near, far, near.value - far.value, interval)


def _per_case(table: ScoreTable, structures: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The mean Dice of each case over some structures, those without a value left out, and its group."""
    columns = tuple(
        column for column in table.columns if column.metric == "dice" and column.structure in structures
    )
    scores = dataclasses.replace(table, columns=columns).case_scores("dice")
    known = np.isfinite(scores)
    groups = table.groups or table.cases
    return scores[known], tuple(group for group, there in zip(groups, known, strict=True) if there)


def _mean(scores: np.ndarray, groups: tuple[str, ...]) -> Mean:
    count = len(set(groups))
    interval = None
    if count > 1:
        weights = statistics.resample(len(scores), groups)
        (found,) = statistics.mean_intervals(scores[None], weights, groups)
        interval = (float(found.low), float(found.high))
    return Mean(float(scores.mean()) if scores.size else float("nan"), interval, len(scores), count)


def _draws(scores: np.ndarray, groups: tuple[str, ...], seed: int) -> np.ndarray:
    (means,) = statistics.resample(len(scores), groups, seed=seed).means(scores[None])
    return np.asarray(means)


def _record(
    found: Validation, evaluation: Evaluation, scores: ScoreTable, home: tuple[Record, ...]
) -> Record:
    """A row of its own on the leaderboard of the other data set."""
    own = home[0] if home else None
    trained_on, _, run = found.model.partition(" ")
    return Record(
        run_id=f"{found.folder.name}/{found.dataset}",
        dataset=found.dataset,
        trainer=f"{own.label if own else run or trained_on} of {trained_on}",
        configuration=own.configuration if own else "unknown",
        fold=UNKNOWN_FOLD,
        status="foreign",
        reason=f"trained on {trained_on}: an external validation",
        plan=own.plan if own else "",
        settings=evaluation.settings,
        scores=scores,
    )
