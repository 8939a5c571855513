"""The walk from a raw data set to a leaderboard, and the only place that knows the order.

verify -> fingerprint -> plan -> folds -> for each trainer and fold: fit the plan, preprocess, train,
predict the held-out cases, evaluate, record -> leaderboard. Every stage leaves its result on disk, whole or
not at all, and is skipped where that result is there for the same inputs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg import plugins
from autoseg.dataset import load_dataset
from autoseg.device import find_device
from autoseg.errors import PlanError, UsageError
from autoseg.folds import Fold
from autoseg.plan import Plan
from autoseg.prepare import Prepared, Settings, chosen_folds, prepare
from autoseg.preprocess import link_references
from autoseg.ranked import draw_page
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.cell import Cell
    from autoseg.choice import Choice
    from autoseg.leaderboard.ranking import Leaderboard
    from autoseg.leaderboard.records import Record

log = logging.getLogger(__name__)

# Cells to their records, in a workspace, with so many processes for reading.
TrainAll = Callable[["Sequence[Cell]", Workspace, "int | None"], "Sequence[Record]"]


@dataclass(frozen=True)
class Outcome:
    """What the walk ended with."""

    leaderboard: Leaderboard
    page: Path
    records: tuple[Record, ...] = field(repr=False)


def plan_and_train(
    source: Path | str, workspace: Workspace, settings: Settings, train_all: TrainAll | None = None
) -> Outcome:
    """Walk a data set to a leaderboard, or go on where an earlier walk stopped.

    Args:
        source: a data set's name or id in the workspace, or the path of a raw folder, which is only read.
        workspace: where everything else goes.
        settings: what is asked.
        train_all: takes all runs to their records; None: each to its end, one after the other.

    Raises:
        DataError: if verification finds errors, or one case makes cross-validation impossible.
        UsageError: for unknown names.
    """
    from autoseg.asked import started

    root = workspace.find_raw(source)
    if settings.budget_s is not None and settings.epochs is not None:
        raise UsageError("A budget and a number of epochs exclude each other. Give --budget or --epochs.")
    prepared = prepare(root, workspace, settings)
    folds = chosen_folds(prepared.folds, settings.folds)
    chosen = choose_trainers(settings.trainers, prepared, settings, len(folds))
    names = [started(choice, settings) for choice in chosen]
    return _train_and_rank(prepared, folds, names, workspace, settings, train_all or run_each)


def choose_trainers(
    asked: Sequence[str], prepared: Prepared, settings: Settings | None = None, folds: int = 1
) -> tuple[Choice, ...]:
    """Trainers by name or by group; of a group, those that can train this data set.

    Args:
        asked: names with options, or groups; ``auto`` takes what suits data, device and budget.
        prepared: the data set.
        settings: what else is asked; None: ``auto`` is all that can train.
        folds: how many are trained.

    Raises:
        UsageError: for an unknown trainer, or a training that it does not have.
    """
    from autoseg import nnunet
    from autoseg.auto_trainers import suitable
    from autoseg.choice import Choice
    from autoseg.tailor import is_stock

    dimensions = {each.dimensions for each in prepared.plan.configurations.values()}
    chosen: list[Choice] = []
    for text in asked:
        if text == "auto" and settings is not None:
            device = find_device(settings.device).type
            chosen += [Choice(name) for name in suitable(prepared, settings, device, folds).names]
            continue
        if text not in ("auto", "documented", "baselines", "all"):
            choice = Choice.parse(text)
            is_stock(nnunet.trainer_class(choice.name), choice)
            chosen.append(choice)
            continue
        for name in plugins.available("trainers"):
            trainer = nnunet.trainer_class(name)
            wanted = {"documented": trainer.documented, "baselines": not trainer.documented}.get(text, True)
            if wanted and dimensions & set(trainer.dimensions):
                chosen.append(Choice(name))
    return tuple({str(choice): choice for choice in chosen}.values())


def is_runnable(choice: Choice, plan: Plan, configuration: str = "auto") -> bool:
    """Whether the plan has a configuration of a dimension that the trainer can train."""
    from autoseg import nnunet
    from autoseg.tailor import choose_configuration

    try:
        choose_configuration(plan, nnunet.trainer_class(choice.name), configuration)
    except PlanError:
        return False
    return True


def _train_and_rank(
    prepared: Prepared,
    folds: Sequence[Fold],
    choices: Sequence[Choice],
    workspace: Workspace,
    settings: Settings,
    train_all: TrainAll,
) -> Outcome:
    from autoseg.asked import request_of
    from autoseg.cell import Cell
    from autoseg.pilot import with_pilot

    # A trainer that cannot train on these data takes no time from those that can.
    runs = len(folds) * sum(is_runnable(choice, prepared.plan, settings.configuration) for choice in choices)
    share = None if settings.budget_s is None else settings.budget_s / max(runs, 1)
    link_references(prepared.dataset, workspace.preprocessed_of(prepared.dataset.name) / "gt_segmentations")
    request, budget_s = request_of(settings, share), settings.budget_s
    request = with_pilot(prepared, folds, choices, request, budget_s, workspace, settings.workers)
    cells = [
        Cell(prepared.dataset, prepared.fingerprint, prepared.folds, choice, fold, request)
        for choice in choices
        for fold in folds
    ]
    return _rank(prepared, train_all(cells, workspace, settings.workers), workspace)


def run_each(cells: Sequence[Cell], workspace: Workspace, workers: int | None) -> list[Record]:
    """Take every run to its end."""
    from autoseg.cell import run_cell

    return [run_cell(cell, workspace, workers) for cell in cells]


def _rank(prepared: Prepared, records: Sequence[Record], workspace: Workspace) -> Outcome:
    from autoseg.leaderboard.ranking import rank

    leaderboard = rank(records)
    page = workspace.results_of(prepared.dataset.name) / "leaderboard.html"
    draw_page(leaderboard, page, [prepared.dataset])
    return Outcome(leaderboard, page, tuple(records))


def run_demo(workspace: Workspace, budget_s: float, device: str = "cpu") -> tuple[Leaderboard, Path]:
    """Generate two data sets, walk both, and rank everything on one page."""
    from autoseg.demo import make_demo
    from autoseg.leaderboard.ranking import rank

    volumes, images = make_demo(workspace.raw)
    records: list[Record] = []
    for folder, trainers in ((volumes, ("nnunet", "brainunet")), (images, ("nnunet", "resnet34_mlp"))):
        settings = Settings(trainers=trainers, folds=(0,), budget_s=budget_s / 2, device=device)
        records += plan_and_train(folder, workspace, settings).records
    leaderboard = rank(records)
    page = workspace.results / "leaderboard.html"
    draw_page(leaderboard, page, [load_dataset(folder) for folder in (volumes, images)])
    return leaderboard, page
