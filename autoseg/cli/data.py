"""What is done to the data before any training: verify, fingerprint, plan, preprocess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoseg.cli.arguments import (
    Accept,
    Budget,
    DatasetName,
    Device,
    Groups,
    Json,
    Memory,
    Quiet,
    Root,
    Workers,
    parse_accepted,
)
from autoseg.cli.console import print_json, start, workspace_at
from autoseg.errors import UsageError
from autoseg.system.amounts import counted, parse_duration, parse_memory

if TYPE_CHECKING:
    from autoseg.data.dataset import Dataset
    from autoseg.data.fingerprint import Fingerprint
    from autoseg.intake.repair import Repair
    from autoseg.intake.verification.dataset_check import VerifyReport
    from autoseg.planner.explain.explain import Explanation
    from autoseg.planner.plan import Plan
    from autoseg.workspace import Workspace

app = typer.Typer()


@app.command("verify")
def verify_command(
    dataset: DatasetName,
    page: Annotated[
        Path | None, typer.Option("--report", help="Write a page FILE.html: findings, pictures, facts.")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write a repaired copy here; what was done is listed.")
    ] = None,
    second_library: Annotated[
        bool, typer.Option("--second-library", help="Read every file by a second library too, and compare.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Read every file anew, also those that have not changed.")
    ] = False,
    groups: Groups = None,
    accept: Accept = "",
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a raw data set: every finding with its file, severity and remedy. Exit 1 on errors.

    Where there is a workspace, what is found of each case is kept in it: next time, only cases with new or
    changed files are read. With --fix, what can be mended without a guess is mended in a copy, whose findings
    are then shown.

    Example: `autoseg verify Dataset004_Hippocampus --report check.html`
    """
    from autoseg.intake.verification.dataset_check import verify
    from autoseg.system.named_outputs import refuse_foreign

    start(quiet)
    refuse_foreign([] if page is None else [page])
    place = workspace_at(workspace)
    root = place.find_raw(dataset)
    repairs: tuple[Repair, ...] = ()
    if fix is None:
        kept = place.kept_cases_of(root.name) if place.preprocessed.parent.is_dir() and not again else None
        report = verify(root, workers, groups, kept)
    else:
        from autoseg.intake.repair import write_repaired

        done = write_repaired(root, fix, workers)
        root, report, repairs = done.root, done.report, done.repairs
    if second_library:
        report = _compared(report, root, groups)
    report = report.accepting(parse_accepted(accept))
    if page is not None:
        _write_page(page, root, report, place, groups, workers)
    if as_json:
        print_json({**report.to_json(), **({"repairs": [asdict(each) for each in repairs]} if fix else {})})
    else:
        _show_findings(report, repairs)
    if report.errors:
        raise typer.Exit(1)


def _show_findings(report: VerifyReport, repairs: tuple[Repair, ...]) -> None:
    for each in repairs:
        typer.echo(f"mended: {each}")
    for finding in report.findings:
        typer.echo(str(finding))
    warnings = len(report.findings) - len(report.errors)
    numbers = {"case": report.cases, "error": len(report.errors), "warning": warnings}
    typer.echo(f"{', '.join(counted(number, thing) for thing, number in numbers.items())}.")


def _compared(report: VerifyReport, root: Path, groups: Path | None) -> VerifyReport:
    """The report with what a second library reads otherwise."""
    from autoseg.data.dataset import load_dataset
    from autoseg.errors import DataError
    from autoseg.intake.verification.second_library import check_with_second_library

    try:
        found = tuple(check_with_second_library(load_dataset(root, groups)))
    except DataError:  # one of the findings
        return report
    return replace(report, findings=(*report.findings, *found))


def _write_page(
    page: Path,
    root: Path,
    report: VerifyReport,
    place: Workspace,
    groups: Path | None,
    workers: int | None,
) -> None:
    from autoseg.data.dataset import load_dataset
    from autoseg.errors import DataError
    from autoseg.intake.verification.page import write_data_page
    from autoseg.pipeline.prepare import fingerprinted
    from autoseg.system.named_outputs import named_output

    try:
        dataset = load_dataset(root, groups)
    except DataError:  # one of the findings
        dataset = None
    known = dataset is not None and not report.errors
    fingerprint = fingerprinted(dataset, place, workers) if dataset and known else None
    with named_output(page) as made:
        write_data_page(made, root.name, report, dataset, fingerprint)
    typer.echo(f"The page: {page}", err=True)


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
    from autoseg.data.dataset import load_dataset
    from autoseg.pipeline.prepare import fingerprinted

    start(quiet)
    place = workspace_at(workspace)
    loaded = load_dataset(place.find_raw(dataset))
    fingerprint = fingerprinted(loaded, place, workers)
    if as_json:
        print_json(fingerprint.to_json())
        return
    from autoseg.cli.describe import describe_fingerprint

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
    explain: Annotated[bool, typer.Option(help="Each decision: rule, numbers, alternatives, cost.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write the explanation as a page FILE.md, with .json and .png.")
    ] = None,
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decide spacing, patch, network and normalisation from the fingerprint.

    Example: `autoseg plan Dataset004_Hippocampus --explain --report why.md`
    """
    start(quiet)
    place = workspace_at(workspace)
    _refuse_foreign(report, trainer or [], fingerprint)
    made = _plans(dataset, fingerprint, dataset_json, trainer or [], memory, device, budget, workers, place)
    explained = [_explained(each, device, memory, budget) for each in made] if explain or report else []
    pages = [
        _written(each, why, _page_of(report, each, len(made))) if report else ()
        for each, why in zip(made, explained, strict=False)
    ]
    if as_json:
        described = [_as_json(each, why) for each, why in zip_longest(made, explained)]
        print_json(described[0] if len(described) == 1 else {"plans": described})
        return
    from autoseg.cli.describe import describe_plan
    from autoseg.planner.explain.explain import to_text

    for each, why, files in zip_longest(made, explained, pages):
        typer.echo(describe_plan(each.plan))
        if why and explain:
            typer.echo("\n" + to_text(each.plan, why))
        for path in (each.path, *(files or ())):
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
    from autoseg.pipeline.prepare import preprocessed
    from autoseg.pipeline.settings import Settings

    start(quiet)
    place = workspace_at(workspace)
    summaries = preprocessed(place.find_raw(dataset), place, Settings(workers=workers), configuration)
    if as_json:
        print_json({"configurations": {name: summary.to_json() for name, summary in summaries.items()}})
        return
    for name, summary in summaries.items():
        typer.echo(f"{name}: {summary}")


@dataclass(frozen=True)
class _Made:
    """A plan with what it was made from.

    Attributes:
        plan: fitted to a trainer, or nnU-Net's.
        base: nnU-Net's, with all configurations.
        fingerprint: the data set's fingerprint.
        path: where the plan was written; None: nowhere.
        dataset: the data set with its images; None without.
    """

    plan: Plan
    base: Plan
    fingerprint: Fingerprint
    path: Path | None = None
    dataset: Dataset | None = None


def _explained(made: _Made, device: str, memory: str | None, budget: str | None) -> tuple[Explanation, ...]:
    """The decisions of a plan, kept in its file as well."""
    from autoseg.planner.explain.report import explained, with_explanation
    from autoseg.planner.networks import Hardware
    from autoseg.tailoring.machine.kept import machine_named

    hardware = Hardware.of(machine_named(device), parse_memory(memory))
    why = explained(made.plan, made.base, made.fingerprint, hardware, parse_duration(budget))
    if made.path:
        with_explanation(made.plan, why).save(made.path)
    return why


def _refuse_foreign(report: Path | None, trainers: Sequence[str], fingerprint: Path | None) -> None:
    """See that a page can be written before the plan is made; of several, only their plans give the names."""
    from autoseg.system.named_outputs import refuse_foreign

    if report is not None and len(trainers) < 2:
        endings = [".json"] if fingerprint else [".json", ".png"]
        refuse_foreign([report, *map(report.with_suffix, endings)])


def _page_of(report: Path, made: _Made, count: int) -> Path:
    """The page's path; of several plans, each its own."""
    return report if count == 1 else report.with_name(f"{report.stem}_{made.plan.name}{report.suffix}")


def _written(made: _Made, why: tuple[Explanation, ...], page: Path) -> tuple[Path, ...]:
    from autoseg.planner.explain.report import write_report
    from autoseg.system.named_outputs import named_outputs

    with named_outputs(page.parent) as folder:
        files = write_report(folder / page.name, made.plan, why, made.dataset, made.fingerprint)
    return tuple(page.with_name(path.name) for path in files)


def _as_json(made: _Made, why: tuple[Explanation, ...] | None) -> dict[str, Any]:
    document = made.plan.to_json()
    return {
        "plans": str(made.path) if made.path else None,
        "configurations": document["configurations"],
        "decisions": [each.to_json() for each in why] if why else document["autoseg"]["decisions"],
    }


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
) -> list[_Made]:
    from autoseg.data.dataset import load_dataset
    from autoseg.data.fingerprint import Fingerprint
    from autoseg.pipeline.prepare import fingerprinted
    from autoseg.pipeline.settings import Settings
    from autoseg.pipeline.single_stages import fitted, planned_from_disk
    from autoseg.planner import plan_experiment
    from autoseg.planner.presets import PRESETS
    from autoseg.system.files import read_json

    memory_gb = parse_memory(memory)
    if fingerprint is not None:
        if dataset_json is None or dataset is not None:
            raise UsageError("--fingerprint FILE needs --dataset-json FILE and no DATASET.")
        presets = [name for name in trainers if name in PRESETS] or ["nnunet"]
        found, about = Fingerprint.load(fingerprint), read_json(dataset_json)
        plans = [plan_experiment(about, found, preset, memory_gb=memory_gb) for preset in presets]
        return [_Made(plan, plan, found) for plan in plans]
    if dataset is None:
        raise UsageError("Give a DATASET, or --fingerprint FILE and --dataset-json FILE.")
    settings = Settings(memory_gb=memory_gb, workers=workers, device=device, total_s=parse_duration(budget))
    root = place.find_raw(dataset)
    if trainers:
        made = [fitted(root, place, settings, trainer) for trainer in trainers]
    else:
        made = [planned_from_disk(root, place, settings, "nnunet")]
    loaded = load_dataset(root)
    found = fingerprinted(loaded, place, workers)
    base = plan_experiment(loaded, found, memory_gb=memory_gb)
    return [_Made(plan, base if trainers else plan, found, path, loaded) for plan, path in made]
