"""Two models together on the cases that neither has seen: their averaged probabilities, scored out of fold.

For every fold both models of that fold predict its held-out cases; what stock nnU-Net keeps as .npz files and
`nnUNetv2_ensemble` averages is averaged here case by case, each model's probabilities computed once for all
pairs. The segmentations and their scores are kept, under a name that changes with the weights.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data import readers as images
from autoseg.data.dataset import Dataset
from autoseg.errors import AutosegError
from autoseg.evaluation.scoring import Evaluation, evaluate
from autoseg.leaderboard.ranking.comparable import Floats
from autoseg.leaderboard.records.files import Record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.run import Run
from autoseg.system import progress
from autoseg.system.files import digest, write_json
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from autoseg.inference.model import Model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A model, or two that predict together.

    Attributes:
        name: name of its row; of a pair, both with a plus between them.
        models: their folders, as `autoseg predict` takes them.
        scores: mean Dice over structures of each out-of-fold case, (cases,).
        seconds: inference time of one case; None: not measured.
        parameters: number of weights of all its networks; None: not known.
    """

    name: str
    models: tuple[Path, ...]
    scores: Floats = field(repr=False)
    seconds: float | None = None
    parameters: float | None = None

    @property
    def dice(self) -> float:
        """Mean over cases."""
        return float(self.scores.mean())

    @property
    def simplicity(self) -> tuple[float, ...]:
        """Smaller is simpler: number of models, time, size; what is not known counts as dearest."""
        unknown = float("inf")
        seconds = unknown if self.seconds is None else self.seconds
        parameters = unknown if self.parameters is None else self.parameters
        return len(self.models), seconds, parameters, -self.dice


Single = tuple[Candidate, tuple[Record, ...]]


@dataclass(frozen=True)
class _Pair:
    """Two singles, and where their predictions of one fold go."""

    first: Single
    second: Single
    row: Run

    @property
    def singles(self) -> tuple[Single, Single]:
        return self.first, self.second


def pair_candidates(
    dataset: Dataset,
    workspace: Workspace,
    singles: Sequence[Single],
    cases: Sequence[str],
    *,
    device: str = "auto",
    workers: int | None = None,
) -> list[Candidate]:
    """Every two of some models as candidates.

    A pair whose models cannot be loaded any more is left out with a warning.

    Args:
        dataset: the data set with its references.
        workspace: where runs and preprocessed cases lie.
        singles: models with one record a fold.
        cases: the order of the scores.
        device: where to compute.
        workers: processes that evaluate.
    """
    from autoseg.inference.ensemble import member_folders
    from autoseg.system.device import find_device

    scores: dict[tuple[int, int], dict[str, float]] = {
        pair: {} for pair in itertools.combinations(range(len(singles)), 2)
    }
    folds = [record.fold for record in singles[0][1]]
    rows: dict[tuple[int, int], Run] = {}
    for fold in folds:
        pairs = {
            (a, b): _Pair(singles[a], singles[b], _row(dataset, workspace, (singles[a], singles[b]), fold))
            for a, b in scores
        }
        held_out = next(record.scores.cases for record in singles[0][1] if record.fold == fold)
        try:
            _predict(dataset, workspace, singles, list(pairs.values()), held_out, find_device(device))
        except (AutosegError, FileNotFoundError) as problem:
            log.warning("No pairs of models are considered: %s", problem)
            return []
        for key, pair in pairs.items():
            rows[key] = pair.row
            scores[key].update(_scored(dataset, pair.row, held_out, workers))
    for (a, b), row in rows.items():
        folders = [
            each for single in (singles[a], singles[b]) for each in member_folders(single[0].models[0])
        ]
        write_json(row.ensemble, {"members": [folder.name for folder in folders]})
    return [
        Candidate(
            name=f"{singles[a][0].name} + {singles[b][0].name}",
            models=(*singles[a][0].models, *singles[b][0].models),
            scores=np.array([found[case] for case in cases]),
            seconds=_sum(singles[a][0].seconds, singles[b][0].seconds),
            parameters=_sum(singles[a][0].parameters, singles[b][0].parameters),
        )
        for (a, b), found in scores.items()
    ]


def _row(dataset: Dataset, workspace: Workspace, singles: tuple[Single, Single], fold: int | str) -> Run:
    """Where a pair's predictions go: as a run does, so that `autoseg predict` takes its folder."""
    weights = [record.checkpoint_sha256 for _, records in singles for record in records]
    folders = [single.models[0] for single, _ in singles]
    trainers, _, configurations = zip(*(folder.name.split("__") for folder in folders), strict=True)
    return Run(
        dataset=dataset.name,
        plan="-".join((*trainers, digest([[folder.name for folder in folders], weights])[:8])),
        configuration=configurations[0],
        trainer="ensemble",
        fold=fold,
        seed=0,
        results=workspace.results,
    )


def _predict(
    dataset: Dataset,
    workspace: Workspace,
    singles: Sequence[Single],
    pairs: Sequence[_Pair],
    cases: Sequence[str],
    device: torch.device,
) -> None:
    """Segment the held-out cases of one fold with every pair; files that are there already stay."""
    from autoseg import nnunet

    fold = pairs[0].row.fold
    waiting = [case for case in cases if not all(_file(dataset, pair, case).is_file() for pair in pairs)]
    if not waiting:
        return
    nnunet.activate(workspace)
    members = [_members(single, fold, workspace, dataset, device) for single in singles]
    with progress.stage(f"Pairs of models, fold {fold}", total=len(waiting)) as advance:
        for case in waiting:
            _predict_case(dataset, singles, members, pairs, case)
            advance(detail=case)


def _members(
    single: Single, fold: int | str, workspace: Workspace, dataset: Dataset, device: torch.device
) -> list[tuple[Model, Path]]:
    """The networks of one candidate, several of an ensemble, each with its preprocessed cases' folder."""
    from autoseg.inference.ensemble import member_folders
    from autoseg.inference.model import load_model

    models = [load_model(folder, [fold], device) for folder in member_folders(single[0].models[0])]
    return [
        (model, workspace.cases_of(dataset.name, model.configuration.data_identifier)) for model in models
    ]


def _predict_case(
    dataset: Dataset,
    singles: Sequence[Single],
    members: Sequence[Sequence[tuple[Model, Path]]],
    pairs: Sequence[_Pair],
    case: str,
) -> None:
    from autoseg.inference.ensemble import Ensemble
    from autoseg.preprocessing.restore import segment_probabilities

    read = [[(model, model.preprocessed(folder, case)) for model, folder in own] for own in members]
    # Every network counts as much as any other, as where their folders are given to `autoseg predict`.
    sums = [len(own) * Ensemble([m for m, _ in own]).probabilities([data for _, data in own]) for own in read]
    model, (_, properties) = read[0][0]
    for pair in pairs:
        parts = [singles.index(single) for single in pair.singles]
        mean = sum(sums[part] for part in parts) / np.float32(sum(len(members[part]) for part in parts))
        segmentation = segment_probabilities(np.asarray(mean, dtype=np.float32), dataset.labels)
        images.write_segmentation(segmentation, _file(dataset, pair, case), properties, model.reader)


def _file(dataset: Dataset, pair: _Pair, case: str) -> Path:
    return pair.row.predictions / f"{case}{dataset.file_ending}"


def _scored(dataset: Dataset, row: Run, cases: Sequence[str], workers: int | None) -> Mapping[str, float]:
    """Mean Dice over structures of each case."""
    if row.evaluation.is_file():
        evaluation = Evaluation.load(row.evaluation)
    else:
        evaluation = evaluate(row.predictions, dataset, cases=cases, by_voxels=True, workers=workers)
        evaluation.save(row.evaluation)
    table = ScoreTable.from_evaluation(evaluation, {})
    return dict(zip(table.cases, map(float, table.case_scores("dice")), strict=True))


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second
