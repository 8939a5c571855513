"""What to distrust: the expected quality of a model's predictions, and doubtful training labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli.arguments import DatasetName, Device, Json, Quiet, Root, Workers
from autoseg.cli.console import print_json, start, workspace_at

app = typer.Typer()


@app.command("review")
def review_command(
    dataset: DatasetName,
    model: Annotated[
        Path | None, typer.Option(help="A run's folder, whose held-out predictions judge; else the best.")
    ] = None,
    first: Annotated[int, typer.Option(min=1, help="Cases that are printed; the table has all.")] = 10,
    device: Device = "auto",
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank the training labels by doubt, with pictures of where held-out prediction and label part.

    Needs a finished model with at least one fold. No label is changed.

    Example: `autoseg review Dataset004_Hippocampus`
    """
    from autoseg.pipeline.review import CSV_NAME, review_labels

    start(quiet)
    doubts, page = review_labels(dataset, workspace_at(workspace), model, device, workers)
    table = page.with_name(CSV_NAME)
    if as_json:
        cases = [dataclasses.asdict(each) for each in doubts]
        print_json({"cases": cases, "page": str(page), "table": str(table)})
        return
    for each in doubts[:first]:
        typer.echo(f"{each.score:6.1f}  {each.case}: {each.reason}")
    typer.echo(f"\nThe table: {table}\nThe page: {page}")


@app.command("quality")
def quality_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run's folder in the workspace.")],
    device: Device = "auto",
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit how good a model's predictions will be, from the cases that its folds held out.

    plan-and-train does this by itself; it is for models that were trained before. Held-out cases are
    predicted again where it is not known how sure the model was of them.

    Example: `autoseg quality autoseg_workspace/results/Dataset004_Hippocampus/nnunet__...`
    """
    from autoseg.pipeline.quality import fit_again
    from autoseg.trust.quality_model import FILE_NAME

    start(quiet)
    found = fit_again(model, workspace_at(workspace), device, workers)
    if as_json:
        print_json({"quality": str(model / FILE_NAME), "measured": dict(found.measured)})
        return
    typer.echo(f"{model / FILE_NAME}: fitted on {found.cases} cases")
    if found.measured.get("coverage") is not None:
        (low, high), held = found.measured["coverage_interval"], found.measured["coverage"]
        typer.echo(f"90 % intervals held for {held:.0%} of the cases left out ({low:.0%} to {high:.0%})")
