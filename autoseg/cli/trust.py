"""What to distrust: the expected quality of a model's predictions, and doubtful training labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.arguments import Device, Json, Quiet, Root, Workers
from autoseg.cli.console import print_json, start, workspace_at

if TYPE_CHECKING:
    from autoseg.workspace import Workspace

app = typer.Typer()


@app.command("review")
def review_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A data set; or, with --serve or --export, a run's folder or predictions."
        ),
    ],
    serve: Annotated[bool, typer.Option("--serve", help="Open the local page.")] = False,
    export: Annotated[Path | None, typer.Option(help="Write the corrected data set to this folder.")] = None,
    images: Annotated[Path | None, typer.Option(help="Of predictions: the folder of their images.")] = None,
    references: Annotated[Path | None, typer.Option(help="Of predictions: labels to show beside.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="A run's folder, whose held-out predictions judge; else the best.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the review is stored; else with results or predictions.")
    ] = None,
    reviewer: Annotated[str, typer.Option(help="Name in the log; else the user's.")] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0: any free one.")] = 0,
    idle: Annotated[float, typer.Option(min=0, help="Minutes without use that end the page; 0: never.")] = 60,
    viewer: Annotated[str, typer.Option(help="auto (NiiVue, fetched by npm, with 3D) or plain.")] = "auto",
    link: Annotated[bool, typer.Option("--link", help="Export images as links, not copies.")] = False,
    first: Annotated[int, typer.Option(min=1, help="Cases that are printed; the table has all.")] = 10,
    device: Device = "auto",
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank the training labels by doubt; review and correct them, or predictions, in a browser.

    Without --serve: a table and a page with pictures of where held-out prediction and label part. With it: a
    page on this machine alone, the worst case first, to accept, reject, comment and correct. Corrections are
    new files and every decision is logged; no label is changed. --export makes a data set of the outcome.

    Example: `autoseg review Dataset004_Hippocampus --serve`
    """
    from autoseg.cli.review import export_command, serve_command
    from autoseg.pipeline.review_session import Sources, run_of

    start(quiet)
    if serve or export is not None:
        sources = Sources(source, workspace_at(workspace), model, images, references, folder, device, workers)
        if export is not None:
            export_command(sources, export, link, serve, as_json)
        else:
            serve_command(sources, reviewer, port, idle, viewer)
        return
    _rank(source, run_of(Path(source)) or model, first, device, workers, workspace_at(workspace), as_json)


def _rank(
    source: str,
    model: Path | None,
    first: int,
    device: str,
    workers: int | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    from autoseg.pipeline.review import CSV_NAME, dataset_of_run, review_labels

    name = (
        dataset_of_run(model) if model is not None and Path(source).resolve() == model.resolve() else source
    )
    doubts, page = review_labels(name, workspace, model, device, workers)
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


@app.command("calibrate")
def calibrate_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run's folder in the workspace.")],
    device: Device = "auto",
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Calibrate a model's probabilities, and decide whether another way to decide helps it.

    The ways are the likeliest calibrated label, and decoding for the best expected Dice. All rests on the
    cases that its folds held out, which are predicted again; nothing is retained unless a test confirms it.
    predict and export use what is decided, and predict --probabilities writes what is
    calibrated.

    Example: `autoseg calibrate autoseg_workspace/results/Dataset004_Hippocampus/nnunet__...`
    """
    from autoseg.pipeline.calibrate import calibrate_model

    start(quiet)
    found = calibrate_model(model, workspace_at(workspace), device, workers)
    if as_json:
        print_json(found.to_json())
        return
    typer.echo("\n".join([model.name, *(f"  {line}" for line in found.evidence["in_words"])]))
