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
from typing import TYPE_CHECKING, Any

from autoseg import plugins
from autoseg.dataset import Dataset, find_cases, load_dataset
from autoseg.errors import DataError, PlanError, UsageError
from autoseg.files import read_json
from autoseg.folds import Fold, folds_from_json
from autoseg.plan import Plan
from autoseg.prepare import Prepared, Settings, chosen_folds, fingerprinted, planned, prepare
from autoseg.preprocess import link_references
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.cell import Cell
    from autoseg.choice import Choice
    from autoseg.leaderboard.foreign import RawData
    from autoseg.leaderboard.ranking import Leaderboard
    from autoseg.leaderboard.records import Record
    from autoseg.pretraining import Pretrained
    from autoseg.run import Checkpoint

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
    root = workspace.find_raw(source)
    if settings.budget_s is not None and settings.epochs is not None:
        raise UsageError("A budget and a number of epochs exclude each other. Give --budget or --epochs.")
    prepared = prepare(root, workspace, settings)
    folds = chosen_folds(prepared.folds, settings.folds)
    chosen = choose_trainers(settings.trainers, prepared, settings, len(folds))
    names = [_started(choice, settings) for choice in chosen]
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
    from autoseg.cell import Cell
    from autoseg.pilot import with_pilot

    # A trainer that cannot train on these data takes no time from those that can.
    runs = len(folds) * sum(is_runnable(choice, prepared.plan, settings.configuration) for choice in choices)
    share = None if settings.budget_s is None else settings.budget_s / max(runs, 1)
    link_references(prepared.dataset, workspace.preprocessed_of(prepared.dataset.name) / "gt_segmentations")
    request = with_pilot(
        *(prepared, folds, choices, _request(settings, share), settings.budget_s, workspace, settings.workers)
    )
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


def draw_page(leaderboard: Leaderboard, page: Path, datasets: Sequence[Dataset]) -> None:
    """Write the page, with pictures of cases of the data sets that are at hand."""
    from autoseg.leaderboard.overlays import make_overlays
    from autoseg.leaderboard.page import write_page

    write_page(leaderboard, page, make_overlays(leaderboard, datasets))


def find_device(name: str) -> Any:
    """The torch device of that name; ``auto`` takes a GPU where there is one.

    Raises:
        UsageError: if the device is not there.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there.get(name.split(":")[0], False):
        have = ", ".join(kind for kind, yes in there.items() if yes)
        raise UsageError(f"The device {name!r} is not there. This machine has: {have}.")
    return torch.device(name)


def train_one(
    source: Path | str, trainer: str, fold: int | str, workspace: Workspace, settings: Settings
) -> Checkpoint:
    """Train one trainer on one fold, or on all cases (``fold="all"``), without evaluating it.

    Raises:
        DataError: if the data set has errors.
        UsageError: for unknown names.
    """
    from autoseg.cell import Cell, train_cell
    from autoseg.choice import Choice

    prepared = prepare(workspace.find_raw(source), workspace, settings, all_cases=fold == "all")
    if fold == "all":
        everything = tuple(case.identifier for case in prepared.dataset.cases)
        chosen = Fold(-1, everything, everything)
    else:
        (chosen,) = chosen_folds(prepared.folds, [int(fold)])
    link_references(prepared.dataset, workspace.preprocessed_of(prepared.dataset.name) / "gt_segmentations")
    request = _request(settings, settings.budget_s)
    choice = _started(Choice.parse(trainer), settings)
    cell = Cell(prepared.dataset, prepared.fingerprint, prepared.folds, choice, chosen, request)
    return train_cell(cell, workspace, settings.workers)


def pretrain_one(
    source: Path | str,
    trainer: str,
    fold: int | str,
    workspace: Workspace,
    settings: Settings,
    others: Sequence[Path | str] = (),
) -> Pretrained:
    """Train a trainer's network on images alone, within the settings' budget; `init` takes the checkpoint.

    The plan is the one that the trainer gets for that budget, and lies beside the checkpoint. With a fold,
    none of its held-out images is looked at, so that its scores stay honest; ``all`` looks at every image
    with and without labels. All images of the `others` are looked at too, prepared as the plan says.

    Raises:
        DataError: if the data set has errors, or another one has other channels.
        UsageError: for unknown names, or without a budget.
    """
    from autoseg.cell import plan_for
    from autoseg.choice import Choice
    from autoseg.pretraining import Pretraining, pretrain
    from autoseg.transfer.unlabelled import images_of, preprocess_pool

    prepared = prepare(workspace.find_raw(source), workspace, settings, all_cases=fold == "all")
    more = [load_dataset(workspace.find_raw(each), groups=False) for each in others]
    dataset, request, choice = prepared.dataset, _request(settings, settings.budget_s), Choice.parse(trainer)
    plan = plan_for(dataset, prepared.fingerprint, choice, request, workspace)
    configuration = plan.configuration(plan.provenance["configuration"])
    training = None if fold == "all" else chosen_folds(prepared.folds, [int(fold)])[0].training
    folder = workspace.preprocessed_of(dataset.name) / f"{configuration.data_identifier}_images"
    cases = images_of(dataset, training)
    names = preprocess_pool([dataset, *more], cases, plan, configuration, folder, settings.workers)
    seen = "_and_".join([str(fold), *(each.name for each in more)])
    output = workspace.pretrained_of(dataset.name, f"{choice.name}__{plan.name}__{configuration.name}", seen)
    plan.save(output.parents[1] / "plans.json")
    how = Pretraining(seconds=settings.budget_s, seed=settings.seed)
    return pretrain(folder, plan, configuration.name, choice.name, output, how, request.device, list(names))


def fitted(root: Path, workspace: Workspace, settings: Settings, trainer: str) -> tuple[Plan, Path]:
    """The plan that a trainer would get, written to the workspace, and its file."""
    from autoseg.cell import plan_for
    from autoseg.choice import Choice

    dataset = load_dataset(root, settings.groups)
    fingerprint = fingerprinted(dataset, workspace, settings.workers)
    choice = _started(Choice.parse(trainer), settings)
    plan = plan_for(dataset, fingerprint, choice, _request(settings, settings.budget_s), workspace)
    return plan, workspace.plan_of(dataset.name, plan.name)


def planned_from_disk(root: Path, workspace: Workspace, settings: Settings, preset: str) -> tuple[Plan, Path]:
    """nnU-Net's plan of a raw folder, written to the workspace, and its file."""
    dataset = load_dataset(root, settings.groups)
    fingerprint = fingerprinted(dataset, workspace, settings.workers)
    plan = planned(dataset, fingerprint, workspace, preset, settings.memory_gb)
    return plan, workspace.plan_of(dataset.name, plan.name)


def predict_folder(
    model: Path,
    source: Path,
    output: Path,
    *,
    device: str,
    mirroring: bool = True,
    step_size: float = 0.5,
    more: Sequence[Path] = (),
) -> list[Path]:
    """Segment every case of a folder with all trained folds of a model, or of several together.

    Raises:
        DataError: if the folder holds no case of the model's file ending.
        RunError: if a model is not complete.
        UsageError: if the models are of different labels or channels.
    """
    from autoseg.ensemble import load_ensemble
    from autoseg.predict import predict_cases

    loaded = load_ensemble([model, *more], find_device(device), mirroring, step_size)
    ending = loaded.dataset_json["file_ending"]
    cases = find_cases(source, ending)
    if not cases:
        raise DataError(f"{source} has no images named CASE_0000{ending}. Give the folder that holds them.")
    return predict_cases(loaded, cases, output)


def ranked(
    workspace: Workspace,
    datasets: Sequence[str],
    add: Sequence[str] = (),
    metric: str = "dice",
    structure: str | None = None,
    folds: Sequence[int] | None = None,
    html: Path | None = None,
) -> Leaderboard:
    """Rank the records of the workspace, or of some data sets, and those made elsewhere.

    Args:
        workspace: where the records lie.
        datasets: names, ids or raw folders; none: all records of the workspace, or with `add` only these.
        add: files and folders of scores made elsewhere, as ``PATH`` or ``NAME=PATH``.
        metric: what is ranked by.
        structure: one structure; None: the mean over structures.
        folds: use these only; None: all.
        html: where the page goes.

    Raises:
        UsageError: if there is no record.
    """
    from autoseg.leaderboard.foreign import Addition, add_records
    from autoseg.leaderboard.ranking import rank
    from autoseg.leaderboard.records import load_records

    roots = [workspace.find_raw(name) for name in datasets]
    places = [workspace.results_of(root.name) for root in roots] or ([] if add else [workspace.results])
    records = [record for place in places if place.is_dir() for record in load_records(place)]
    loaded = [load_dataset(root) for root in roots] if add or html else []
    at_hand = {dataset.name: raw_data(dataset, workspace) for dataset in loaded}
    records += [record for text in add for record in add_records(Addition.parse(text), at_hand)]
    if not records:
        raise UsageError(
            f"There is no record in {', '.join(map(str, places))}. Run autoseg plan-and-train first."
        )
    leaderboard = rank(records, metric=metric, structure=structure, folds=folds)
    if html is not None:
        draw_page(leaderboard, html, loaded)
    return leaderboard


def raw_data(dataset: Dataset, workspace: Workspace) -> RawData:
    """A data set with its folds, if it has been split."""
    from autoseg.leaderboard.foreign import RawData

    path = workspace.folds_of(dataset.name)
    return RawData(dataset, folds_from_json(read_json(path)) if path.is_file() else ())


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


def _started(choice: Choice, settings: Settings) -> Choice:
    return choice.starting(
        init=settings.init, finetune=settings.finetune, cases=settings.cases, plan_from=settings.plan_from
    )


def _request(settings: Settings, run_seconds: float | None) -> Any:
    from autoseg.choice import Request

    return Request(
        find_device(settings.device),
        settings.memory_gb,
        run_seconds,
        settings.epochs,
        settings.configuration,
        settings.seed,
    )
