"""The command line: it parses, calls the library and prints."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoseg import progress
from autoseg.arguments import (
    Budget,
    DatasetName,
    Device,
    Epochs,
    FewCases,
    Finetune,
    Groups,
    Init,
    Json,
    Memory,
    Quiet,
    Root,
    Seed,
    Workers,
    parse_duration,
    parse_fold,
    parse_folds,
    parse_memory,
)
from autoseg.errors import AutosegError, UsageError

if TYPE_CHECKING:
    from autoseg.plan import Plan
    from autoseg.workspace import Workspace

INTERRUPTED = 130

app = typer.Typer(
    name="autoseg",
    help="Self-configuring medical image segmentation: drop a data set in, read a leaderboard.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.command("plan-and-train")
def plan_and_train_command(
    dataset: DatasetName,
    trainers: Annotated[
        str, typer.Option(help="auto, documented, baselines, all, or NAME,NAME:option=value.")
    ] = "auto",
    folds: Annotated[str, typer.Option(help="0, 0,1 or all.")] = "all",
    budget: Budget = None,
    epochs: Epochs = None,
    device: Device = "auto",
    memory: Memory = None,
    seed: Seed = 0,
    configuration: Annotated[str, typer.Option(help="auto, 2d, 3d_fullres, 3d_lowres.")] = "auto",
    init: Init = None,
    finetune: Finetune = None,
    cases: FewCases = None,
    workers: Workers = None,
    groups: Groups = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole walk: verify, fingerprint, plan, preprocess, train, predict, evaluate, leaderboard.

    Run again, it goes on where it stopped.

    Example: `autoseg plan-and-train Dataset004_Hippocampus --trainers nnunet,brainunet --budget 20m`
    """
    from autoseg.pipeline import plan_and_train
    from autoseg.prepare import Settings

    _start(quiet)
    settings = Settings(
        trainers=tuple(filter(None, trainers.split(","))),
        folds=parse_folds(folds),
        budget_s=parse_duration(budget),
        epochs=epochs,
        device=device,
        memory_gb=parse_memory(memory),
        seed=seed,
        configuration=configuration,
        workers=workers,
        groups=groups,
        init=init,
        finetune=finetune,
        cases=cases,
    )
    outcome = plan_and_train(dataset, _workspace(workspace), settings)
    if as_json:
        _print_json(outcome.leaderboard.to_json(outcome.page, outcome.page.parent))
        return
    _print_leaderboard(outcome.leaderboard)
    typer.echo(f"\nThe page: {outcome.page}")


@app.command("verify")
def verify_command(
    dataset: DatasetName,
    groups: Groups = None,
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a raw data set: every finding with its file, severity and remedy. Exit 1 on errors.

    Example: `autoseg verify Dataset004_Hippocampus`
    """
    from autoseg.intake.verify import verify

    _start(quiet)
    report = verify(_workspace(workspace).find_raw(dataset), workers, groups)
    if as_json:
        _print_json(report.to_json())
    else:
        for finding in report.findings:
            typer.echo(str(finding))
        typer.echo(
            f"{report.cases} cases, {len(report.errors)} errors, "
            f"{len(report.findings) - len(report.errors)} warnings."
        )
    if report.errors:
        raise typer.Exit(1)


@app.command("fingerprint")
def fingerprint_command(
    dataset: DatasetName,
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Extract, write and print the fingerprint.

    Example: `autoseg fingerprint Dataset004_Hippocampus`
    """
    from autoseg.dataset import load_dataset
    from autoseg.prepare import fingerprinted

    _start(quiet)
    place = _workspace(workspace)
    loaded = load_dataset(place.find_raw(dataset))
    fingerprint = fingerprinted(loaded, place, workers)
    if as_json:
        _print_json(fingerprint.to_json())
        return
    from autoseg.report import describe_fingerprint

    typer.echo(describe_fingerprint(loaded, fingerprint))
    typer.echo(f"\nWritten: {place.fingerprint_of(loaded.name)}")


@app.command("plan")
def plan_command(
    dataset: Annotated[str | None, typer.Argument(metavar="[DATASET]")] = None,
    fingerprint: Annotated[Path | None, typer.Option(help="Plan from a fingerprint, without images.")] = None,
    dataset_json: Annotated[Path | None, typer.Option(help="dataset.json, with --fingerprint.")] = None,
    trainer: Annotated[list[str] | None, typer.Option(help="Fit the plan to a trainer; repeatable.")] = None,
    memory: Memory = None,
    device: Device = "cpu",
    budget: Budget = None,
    explain: Annotated[bool, typer.Option(help="Each decision with its rule and its numbers.")] = False,
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decide spacing, patch, network and normalisation from the fingerprint.

    Example: `autoseg plan Dataset004_Hippocampus --explain`
    """
    _start(quiet)
    place = _workspace(workspace)
    plans = _plans(dataset, fingerprint, dataset_json, trainer or [], memory, device, budget, workers, place)
    if as_json:
        documents = [plan.to_json() for plan, _ in plans]
        described = [
            {
                "plans": str(path) if path else None,
                "configurations": document["configurations"],
                "decisions": document["autoseg"]["decisions"],
            }
            for document, (_, path) in zip(documents, plans, strict=True)
        ]
        _print_json(described[0] if len(described) == 1 else {"plans": described})
        return
    from autoseg.report import describe_plan

    for plan, path in plans:
        typer.echo(describe_plan(plan, explain))
        if path:
            typer.echo(f"\nWritten: {path}")


def _plans(
    dataset: str | None,
    fingerprint: Path | None,
    dataset_json: Path | None,
    trainers: Sequence[str],
    memory: str | None,
    device: str,
    budget: str | None,
    workers: int | None,
    place: Workspace,
) -> list[tuple[Plan, Path | None]]:
    from autoseg.files import read_json
    from autoseg.fingerprint import Fingerprint
    from autoseg.pipeline import fitted, planned_from_disk
    from autoseg.planner import plan_experiment
    from autoseg.planner.presets import PRESETS
    from autoseg.prepare import Settings

    memory_gb = parse_memory(memory)
    if fingerprint is not None:
        if dataset_json is None or dataset is not None:
            raise UsageError("--fingerprint FILE needs --dataset-json FILE and no DATASET.")
        presets = [name for name in trainers if name in PRESETS] or ["nnunet"]
        found, about = Fingerprint.load(fingerprint), read_json(dataset_json)
        return [(plan_experiment(about, found, preset, memory_gb=memory_gb), None) for preset in presets]
    if dataset is None:
        raise UsageError("Give a DATASET, or --fingerprint FILE and --dataset-json FILE.")
    settings = Settings(memory_gb=memory_gb, workers=workers, device=device, budget_s=parse_duration(budget))
    root = place.find_raw(dataset)
    if not trainers:
        return [planned_from_disk(root, place, settings, "nnunet")]
    return [fitted(root, place, settings, trainer) for trainer in trainers]


@app.command("preprocess")
def preprocess_command(
    dataset: DatasetName,
    configuration: Annotated[list[str] | None, typer.Option(help="Repeatable; all if not given.")] = None,
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Crop, resample and normalise all cases into nnU-Net's format; what has not changed is skipped.

    Example: `autoseg preprocess Dataset004_Hippocampus --configuration 3d_fullres --workers 2`
    """
    from autoseg.prepare import Settings, preprocessed

    _start(quiet)
    place = _workspace(workspace)
    summaries = preprocessed(place.find_raw(dataset), place, Settings(workers=workers), configuration)
    if as_json:
        _print_json({"configurations": {name: summary.to_json() for name, summary in summaries.items()}})
        return
    for name, summary in summaries.items():
        typer.echo(f"{name}: {summary}")


@app.command("train")
def train_command(
    dataset: DatasetName,
    trainer: Annotated[
        str, typer.Argument(metavar="TRAINER", help="A name, with options: brainunet:width=16.")
    ],
    configuration: Annotated[str, typer.Option(help="auto, 2d, 3d_fullres, 3d_lowres.")] = "auto",
    fold: Annotated[str, typer.Option(help="An index, or all: train on every case.")] = "0",
    budget: Budget = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    memory: Memory = None,
    workers: Workers = None,
    groups: Groups = None,
    init: Init = None,
    finetune: Finetune = None,
    cases: FewCases = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one trainer on one fold, or on all cases. Run again, it goes on where it stopped.

    Example: `autoseg train Dataset004_Hippocampus nnunet --fold 0 --budget 10m`
    """
    from autoseg.pipeline import train_one
    from autoseg.prepare import Settings

    _start(quiet)
    settings = Settings(
        budget_s=parse_duration(budget),
        epochs=epochs,
        device=device,
        memory_gb=parse_memory(memory),
        seed=seed,
        configuration=configuration,
        workers=workers,
        groups=groups,
        init=init,
        finetune=finetune,
        cases=cases,
    )
    checkpoint = train_one(dataset, trainer, parse_fold(fold), _workspace(workspace), settings)
    if as_json:
        _print_json({"model": str(checkpoint.run.model_folder), "checkpoint": str(checkpoint.path)})
    else:
        typer.echo(f"The model: {checkpoint.run.model_folder} (fold {checkpoint.run.fold})")


@app.command("pretrain")
def pretrain_command(
    dataset: DatasetName,
    trainer: Annotated[str, typer.Argument(metavar="TRAINER", help="Whose network; with options.")],
    budget: Annotated[str, typer.Option(help="Wall clock: 90s, 30m, 2h.")],
    fold: Annotated[str, typer.Option(help="An index: without its held-out images; or all.")] = "all",
    configuration: Annotated[str, typer.Option(help="auto, 2d, 3d_fullres, 3d_lowres.")] = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = None,
    groups: Groups = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network without labels, on images alone (imagesTr and, where there is one, imagesUn).

    The checkpoint is what --init takes. Give the fold whose scores will be reported.

    Example: `autoseg pretrain 18 mobilenetv2_unet --fold 0 --budget 10m`
    """
    from autoseg.pipeline import pretrain_one
    from autoseg.prepare import Settings

    _start(quiet)
    settings = Settings(
        budget_s=parse_duration(budget),
        device=device,
        seed=seed,
        configuration=configuration,
        workers=workers,
        groups=groups,
    )
    done = pretrain_one(dataset, trainer, parse_fold(fold), _workspace(workspace), settings)
    if as_json:
        _print_json({**dataclasses.asdict(done), "path": str(done.path)})
        return
    typer.echo(f"{done.path}\n{done.steps} steps, masked loss {done.first_loss:.3f} -> {done.last_loss:.3f}")


@app.command("predict")
def predict_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A run's folder: trainer__plan__configuration.")
    ],
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A folder of images, channels as _0000, ...")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="A folder.")],
    more: Annotated[
        list[Path] | None,
        typer.Option("--model", help="A further model, averaged with the first; repeatable."),
    ] = None,
    mirroring: Annotated[bool, typer.Option(help="Average over mirrored copies.")] = True,
    step_size: Annotated[float, typer.Option(min=0.1, max=1.0, help="Of the window, in patches.")] = 0.5,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Segment images with a trained model, or with several; folds and models are averaged.

    Example: `autoseg predict autoseg_workspace/results/Dataset004_Hippocampus/nnunet__... images/ out/`
    """
    from autoseg.pipeline import predict_folder

    _start(quiet)
    files = predict_folder(
        model, source, output, device=device, mirroring=mirroring, step_size=step_size, more=more or []
    )
    if as_json:
        _print_json({"predictions": [str(path) for path in files]})
    else:
        typer.echo(f"{len(files)} segmentations in {output}")


@app.command("evaluate")
def evaluate_command(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS")],
    references: Annotated[Path, typer.Argument(metavar="REFERENCES")],
    dataset_json: Annotated[Path | None, typer.Option(help="Names of the labels, and regions.")] = None,
    tolerance_mm: Annotated[float, typer.Option(min=0, help="Of the normalised surface Dice.")] = 2.0,
    pixel_sizes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:COLUMN]",
            help="Table of case and pixel size in mm, for 2D images without one, such as PNG.",
        ),
    ] = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score predictions against references, case by case.

    Where PREDICTIONS has nnU-Net's probabilities (CASE.npz), calibration and ROC AUC are added.

    Example: `autoseg evaluate predictions/ labelsTr/ --dataset-json dataset.json`
    """
    from autoseg.evaluate import evaluate
    from autoseg.pairing import find_pixel_sizes
    from autoseg.report import describe_evaluation, labels_of

    _start(quiet)
    evaluation = evaluate(
        predictions,
        references=references,
        labels=labels_of(dataset_json, references),
        tolerance_mm=tolerance_mm,
        pixel_sizes=find_pixel_sizes(pixel_sizes) if pixel_sizes else None,
        workers=workers,
    )
    if as_json:
        document = evaluation.to_json()
        _print_json({"summary": evaluation.summary(), "cases": document["scores"]})
    else:
        _console().print(describe_evaluation(evaluation))


@app.command("leaderboard")
def leaderboard_command(
    datasets: Annotated[list[str] | None, typer.Argument(metavar="[DATASET]...")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page here.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the rows as CSV.")] = None,
    export: Annotated[
        list[Path] | None,
        typer.Option(help="Write a table (.md, .tex) or the records (.jsonl) here; repeatable."),
    ] = None,
    challenger: Annotated[
        Path | None, typer.Option(help="Write every case's score as the CSV that challengeR reads.")
    ] = None,
    nnunet_summary: Annotated[
        Path | None, typer.Option(help="Write nnU-Net's summary.json of each run below this folder.")
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="Scores made elsewhere: CSV, JSON lines, summary.json, a folder of predictions; repeatable.",
        ),
    ] = None,
    metric: Annotated[str, typer.Option(help="What is ranked by.")] = "dice",
    structure: Annotated[str | None, typer.Option(help="One structure instead of the mean over all.")] = None,
    folds: Annotated[str, typer.Option(help="0, 0,1 or all.")] = "all",
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank all runs of the workspace, or of some data sets, with intervals and ties.

    Example: `autoseg leaderboard Dataset004_Hippocampus --html leaderboard.html --add swin=predictions/`
    """
    from autoseg.leaderboard.export import write_exports
    from autoseg.pipeline import ranked

    _start(quiet)
    leaderboard = ranked(
        _workspace(workspace), datasets or [], add or [], metric, structure, parse_folds(folds), html
    )
    write_exports(leaderboard, csv, export or [], challenger, nnunet_summary)
    if as_json:
        _print_json(leaderboard.to_json(html))
    else:
        _print_leaderboard(leaderboard)


@app.command("list")
def list_command(
    family: Annotated[
        str, typer.Argument(metavar="FAMILY", help="trainers, architectures or metrics.")
    ] = "trainers",
    path: Annotated[bool, typer.Option(help="The folder for nnUNet_extTrainer.")] = False,
    as_json: Json = False,
) -> None:
    """What there is, one line each.

    Example: `export nnUNet_extTrainer=$(autoseg list trainers --path)`
    """
    from autoseg import catalogue

    if path:
        from autoseg.nnunet import shim_folder

        typer.echo(shim_folder())
        return
    if as_json:
        _print_json(catalogue.document(family))
    else:
        _console().print(catalogue.table(family, catalogue.entries(family)))


@app.command("demo")
def demo_command(
    budget: Budget = "3m",
    workspace: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("demo_workspace"),
    quiet: Quiet = False,
) -> None:
    """Generate two small data sets and walk both to a leaderboard, in a few CPU minutes.

    Example: `autoseg demo`
    """
    from autoseg.pipeline import run_demo

    _start(quiet)
    leaderboard, page = run_demo(_workspace(workspace), parse_duration(budget) or 180.0)
    _print_leaderboard(leaderboard)
    typer.echo(f"\nThe page: {page}")


def _workspace(root: Path | None) -> Workspace:
    from autoseg.workspace import Workspace

    return Workspace.locate(root)


def _start(quiet: bool) -> None:
    progress.show("off" if quiet else "auto")
    level = logging.ERROR if quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s", force=True)
    logging.getLogger("autoseg").setLevel(level)


def _console() -> Any:
    from rich.console import Console

    # A pipe has no width; a table cut at 80 columns would lose what it is read for.
    return Console() if sys.stdout.isatty() else Console(width=120)


def _print_leaderboard(leaderboard: Any) -> None:
    from autoseg.leaderboard.table import terminal_table

    _console().print(terminal_table(leaderboard))


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, allow_nan=False))


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        status = app(standalone_mode=False)
    except AutosegError as error:
        typer.echo(f"autoseg: {error}", err=True)
        raise SystemExit(error.exit_status) from None
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        # The parser's own errors know how to show themselves and how to exit; all others are ours to see.
        if not (hasattr(error, "show") and hasattr(error, "exit_code")):
            raise
        error.show()
        raise SystemExit(error.exit_code) from None
    if status == INTERRUPTED:  # the parser turns an interrupt into this number by itself
        typer.echo(
            "\nautoseg: interrupted. What is finished is kept; the same command goes on from here.", err=True
        )
    raise SystemExit(status or 0)
