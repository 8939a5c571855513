"""What is done to the data before any training: verify, fingerprint, plan, preprocess."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.arguments import (
    Budget,
    DatasetName,
    Device,
    Groups,
    Json,
    Memory,
    Quiet,
    Root,
    Workers,
    parse_duration,
    parse_memory,
)
from autoseg.commands.console import print_json, start, workspace_at
from autoseg.errors import UsageError

if TYPE_CHECKING:
    from autoseg.plan import Plan
    from autoseg.workspace import Workspace

app = typer.Typer()


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

    start(quiet)
    report = verify(workspace_at(workspace).find_raw(dataset), workers, groups)
    if as_json:
        print_json(report.to_json())
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

    start(quiet)
    place = workspace_at(workspace)
    loaded = load_dataset(place.find_raw(dataset))
    fingerprint = fingerprinted(loaded, place, workers)
    if as_json:
        print_json(fingerprint.to_json())
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
    start(quiet)
    place = workspace_at(workspace)
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
        print_json(described[0] if len(described) == 1 else {"plans": described})
        return
    from autoseg.report import describe_plan

    for plan, path in plans:
        typer.echo(describe_plan(plan, explain))
        if path:
            typer.echo(f"\nWritten: {path}")


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

    start(quiet)
    place = workspace_at(workspace)
    summaries = preprocessed(place.find_raw(dataset), place, Settings(workers=workers), configuration)
    if as_json:
        print_json({"configurations": {name: summary.to_json() for name, summary in summaries.items()}})
        return
    for name, summary in summaries.items():
        typer.echo(f"{name}: {summary}")


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
