"""The whole walk, and the parts of it that train and predict."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoseg.cli.arguments import (
    Accept,
    Budget,
    DatasetName,
    Device,
    Devices,
    EnergyOf,
    Epochs,
    FewCases,
    Finetune,
    Groups,
    Init,
    Json,
    Log,
    Memory,
    PlanFrom,
    Quiet,
    Root,
    Seed,
    Small,
    Steps,
    Workers,
    parse_accepted,
    parse_division,
    parse_fold,
)
from autoseg.cli.console import print_json, print_leaderboard, start, workspace_at
from autoseg.cli.failures import exit_where_all_failed
from autoseg.system.amounts import parse_duration, parse_memory

if TYPE_CHECKING:
    from autoseg.pipeline.walk import Outcome, TrainAll
    from autoseg.run import Checkpoint

app = typer.Typer()

Configuration = Annotated[str, typer.Option(help="auto, 2d, 3d_fullres, 3d_lowres, 3d_cascade_fullres.")]

Division = Annotated[
    str, typer.Option(help="0, 0,1 or all; by=site: each site of cases.csv is held out once.")
]
Trainers = Annotated[str, typer.Option(help="auto, documented, baselines, all, or NAME,NAME:option=value.")]
Race = Annotated[
    bool, typer.Option("--race", help="Stop trainers on the way that are clearly behind; needs --budget.")
]
Freed = Annotated[
    str,
    typer.Option(
        help="What a race does with the time of stopped trainers: share it among the rest, or save it."
    ),
]


@app.command("plan-and-train")
def plan_and_train_command(
    dataset: DatasetName,
    trainers: Trainers = "auto",
    folds: Division = "all",
    budget: Budget = None,
    epochs: Epochs = None,
    steps: Steps = None,
    small: Small = False,
    device: Device = "auto",
    memory: Memory = None,
    seed: Seed = 0,
    configuration: Configuration = "auto",
    race: Race = False,
    freed: Freed = "share",
    init: Init = None,
    finetune: Finetune = None,
    cases: FewCases = None,
    plan_from: PlanFrom = None,
    workers: Workers = None,
    groups: Groups = None,
    accept: Accept = "",
    devices: Devices = 1,
    log: Log = "",
    energy: EnergyOf = "",
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole walk: verify, fingerprint, plan, preprocess, train, predict, evaluate, leaderboard.

    Run again, it goes on where it stopped. Exit 1 if every training failed.

    Example: `autoseg plan-and-train Dataset004_Hippocampus --trainers nnunet,brainunet --budget 20m`
    """
    from autoseg.pipeline.settings import Settings
    from autoseg.pipeline.walk import plan_and_train

    start(quiet)
    _choose(log, energy, devices)
    indices, column = parse_division(folds)
    first: dict[str, Any] = {"init": init, "finetune": finetune, "cases": cases, "plan_from": plan_from}
    settings = Settings(
        groups=groups,
        trainers=tuple(filter(None, trainers.split(","))),
        folds=indices,
        folds_by=column,
        total_s=parse_duration(budget),
        epochs=epochs,
        steps=steps,
        small=small,
        device=device,
        memory_gb=parse_memory(memory),
        seed=seed,
        configuration=configuration,
        workers=workers,
        accept=parse_accepted(accept),
        **first,
    )
    outcome = plan_and_train(dataset, workspace_at(workspace), settings, _racing(freed) if race else None)
    _show(outcome, as_json)


def _choose(log: str, energy: str, devices: int) -> None:
    """Loggers, energy and devices of all trainings of this command."""
    from autoseg.training.energy import choose as choose_energy
    from autoseg.training.team import choose as choose_devices
    from autoseg.training.tracking import choose as choose_loggers

    choose_loggers(log)
    choose_energy(energy)
    choose_devices(devices)


def _show(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        print_json(outcome.leaderboard.to_json(outcome.page, outcome.page.parent))
    else:
        print_leaderboard(outcome.leaderboard)
        typer.echo(f"\nThe page: {outcome.page}")
    exit_where_all_failed(outcome.records)


def _racing(freed: str) -> TrainAll:
    from autoseg.racing.race import Rules
    from autoseg.racing.walk import race_runs

    return race_runs(Rules(freed=freed))  # type: ignore[arg-type]  # checked there


@app.command("train")
def train_command(
    dataset: DatasetName,
    trainer: Annotated[
        str, typer.Argument(metavar="TRAINER", help="A name, with options: brainunet:width=16.")
    ],
    configuration: Configuration = "auto",
    fold: Annotated[str, typer.Option(help="An index, or all: train on every case.")] = "0",
    budget: Budget = None,
    epochs: Epochs = None,
    steps: Steps = None,
    small: Small = False,
    seed: Seed = 0,
    device: Device = "auto",
    memory: Memory = None,
    workers: Workers = None,
    groups: Groups = None,
    accept: Accept = "",
    init: Init = None,
    finetune: Finetune = None,
    cases: FewCases = None,
    plan_from: PlanFrom = None,
    devices: Devices = 1,
    log: Log = "",
    energy: EnergyOf = "",
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one trainer on one fold, or on all cases. Run again, it goes on where it stopped.

    Example: `autoseg train Dataset004_Hippocampus nnunet --fold 0 --budget 10m`
    """
    from autoseg.pipeline.settings import Settings
    from autoseg.pipeline.single_stages import train_one

    start(quiet)
    _choose(log, energy, devices)
    settings = Settings(
        total_s=parse_duration(budget),
        epochs=epochs,
        steps=steps,
        small=small,
        device=device,
        memory_gb=parse_memory(memory),
        seed=seed,
        configuration=configuration,
        workers=workers,
        groups=groups,
        accept=parse_accepted(accept),
        init=init,
        finetune=finetune,
        cases=cases,
        plan_from=plan_from,
    )
    checkpoint = train_one(dataset, trainer, parse_fold(fold), workspace_at(workspace), settings)
    _print_model(checkpoint, as_json)


def _print_model(checkpoint: Checkpoint, as_json: bool) -> None:
    if as_json:
        print_json({"model": str(checkpoint.run.model_folder), "checkpoint": str(checkpoint.path)})
    else:
        typer.echo(f"The model: {checkpoint.run.model_folder} (fold {checkpoint.run.fold})")


@app.command("pretrain")
def pretrain_command(
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASET...", help="Names, ids or paths; learnt from together.")
    ],
    trainer: Annotated[str, typer.Argument(metavar="TRAINER", help="Whose network; with options.")],
    budget: Annotated[str, typer.Option(help="Wall clock: 90s, 30m, 2h.")],
    with_labels: Annotated[
        bool, typer.Option("--with-labels", help="Train on the task; needs the same channels and labels.")
    ] = False,
    fold: Annotated[
        str, typer.Option(help="An index: without the first data set's held-out cases; or all.")
    ] = "all",
    configuration: Annotated[str, typer.Option(help="auto, 2d, 3d_fullres, 3d_lowres.")] = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = None,
    groups: Groups = None,
    accept: Accept = "",
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The first of two stages: a network trained on one or several data sets, for --init to start from.

    Without labels it learns from images alone (imagesTr and, where there is one, imagesUn), planned for the
    first data set. Give the fold whose scores will be reported. --plan-from init takes network and
    preprocessing over as well.

    Example: `autoseg pretrain 18 mobilenetv2_unet --fold 0 --budget 10m`
    """
    from autoseg.pipeline.labelled_pretraining import pretrain_with_labels
    from autoseg.pipeline.settings import Settings
    from autoseg.pipeline.single_stages import pretrain_one

    start(quiet)
    settings = Settings(
        total_s=parse_duration(budget),
        device=device,
        seed=seed,
        configuration=configuration,
        workers=workers,
        groups=groups,
        accept=parse_accepted(accept),
    )
    place, number = workspace_at(workspace), parse_fold(fold)
    if with_labels:
        _print_model(pretrain_with_labels(datasets, trainer, number, place, settings), as_json)
        return
    done = pretrain_one(datasets[0], trainer, number, place, settings, datasets[1:])
    if as_json:
        print_json({**dataclasses.asdict(done), "path": str(done.path)})
        return
    typer.echo(f"{done.path}\n{done.steps} steps, masked loss {done.first_loss:.3f} -> {done.last_loss:.3f}")


@app.command("demo")
def demo_command(
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of every training; as many as it takes to learn if not given.")
    ] = None,
    workspace: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("demo_workspace"),
    quiet: Quiet = False,
) -> None:
    """Generate two small data sets, walk both to a leaderboard, and segment a new case of each.

    It counts steps on one thread: the same numbers come out however busy the machine is.

    Example: `autoseg demo`
    """
    from autoseg.pipeline.demo import run_demo

    start(quiet)
    demo = run_demo(workspace_at(workspace), steps)
    print_leaderboard(demo.leaderboard)
    typer.echo(f"\nThe page: {demo.page}")
    for selection in demo.selections:
        typer.echo(f"Selected for {selection.dataset}: {selection.chosen.name}")
    typer.echo(f"A new case of each, segmented by it: {demo.picture}")
    # The commands stand by themselves, unwrapped, to be copied.
    commands = "\n  ".join(demo.next_commands)
    typer.echo(f"\nNext, on data of your own (dataset.json, imagesTr, labelsTr):\n  {commands}")
