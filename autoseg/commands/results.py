"""What came of it: evaluation, leaderboard, and what there is to choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoseg.arguments import Json, Quiet, Root, Workers, parse_folds
from autoseg.commands.console import console, print_json, print_leaderboard, start, workspace_at

app = typer.Typer()


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

    start(quiet)
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
        print_json({"summary": evaluation.summary(), "cases": document["scores"]})
    else:
        console().print(describe_evaluation(evaluation))


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

    start(quiet)
    leaderboard = ranked(
        workspace_at(workspace), datasets or [], add or [], metric, structure, parse_folds(folds), html
    )
    write_exports(leaderboard, csv, export or [], challenger, nnunet_summary)
    if as_json:
        print_json(leaderboard.to_json(html))
    else:
        print_leaderboard(leaderboard)


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
        print_json(catalogue.document(family))
    else:
        console().print(catalogue.table(family, catalogue.entries(family)))
