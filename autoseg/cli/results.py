"""What came of it: evaluation, leaderboard, and what there is to choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli.arguments import DatasetName, Device, Json, Quiet, Root, Workers, parse_folds
from autoseg.cli.console import console, print_json, print_leaderboard, start, workspace_at
from autoseg.errors import UsageError

app = typer.Typer()

ValueMap = Annotated[
    str,
    typer.Option(
        "--map",
        metavar="VALUE=LABEL,...",
        help="What the predictions' values stand for: 255=1 or 85=1,170=2.",
    ),
]
ByVoxels = Annotated[
    bool,
    typer.Option("--by-voxels", help="Compare voxel by voxel, whatever headers say of place and direction."),
]


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
    metrics: Annotated[str | None, typer.Option(help="Beside the usual ones: hc_error,my_metric.py.")] = None,
    mapping: ValueMap = "",
    by_voxels: ByVoxels = False,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score predictions against references, case by case.

    A prediction that is stored along other axes than its reference is turned by its header.

    Where PREDICTIONS has nnU-Net's probabilities (CASE.npz), calibration and ROC AUC are added.

    Example: `autoseg evaluate predictions/ labelsTr/ --dataset-json dataset.json`
    """
    from autoseg.cli.describe import describe_evaluation, labels_of
    from autoseg.evaluation.pixel_sizes import find_pixel_sizes
    from autoseg.evaluation.scoring import evaluate
    from autoseg.evaluation.values import parse_mapping

    start(quiet)
    evaluation = evaluate(
        predictions,
        references=references,
        labels=labels_of(dataset_json, references),
        tolerance_mm=tolerance_mm,
        pixel_sizes=find_pixel_sizes(pixel_sizes) if pixel_sizes else None,
        requested=_names(metrics) or (),
        mapping=parse_mapping(mapping),
        by_voxels=by_voxels,
        workers=workers,
    )
    if as_json:
        document = evaluation.to_json()
        print_json({"summary": evaluation.summary(), "cases": document["scores"]})
    else:
        console().print(describe_evaluation(evaluation))


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


@app.command("measure")
def measure_command(
    dataset: DatasetName,
    metrics: Annotated[str | None, typer.Option(help="Beside the usual ones: hc_error,my_metric.py.")] = None,
    pixel_sizes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:COLUMN]",
            help="Table of case and pixel size in mm, in the data set's folder or elsewhere.",
        ),
    ] = None,
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is measured on a data set, from now on and for its finished runs.

    A data set can also ask by itself, in its dataset.json:
    `"evaluation": {"metrics": ["hc_error"], "pixel_sizes": "cases.csv:pixel_mm"}`.

    Example: `autoseg measure 18 --pixel-sizes cases.csv:pixel_mm_half`
    """
    from autoseg.data.dataset import load_dataset
    from autoseg.evaluation.requested import request_measures
    from autoseg.pipeline.rescore import rescore

    start(quiet)
    place = workspace_at(workspace)
    found = load_dataset(place.find_raw(dataset))
    measures = request_measures(found, place.measures_of(found.name), _names(metrics), pixel_sizes)
    runs = rescore(found, place, workers)
    if as_json:
        print_json(
            {
                "metrics": list(measures.metrics),
                "pixel_sizes": len(measures.pixel_sizes),
                "rescored": [run.name for run in runs],
            }
        )
        return
    sizes = f"pixel sizes of {len(measures.pixel_sizes)} cases" if measures.pixel_sizes else "no pixel sizes"
    typer.echo(
        f"{found.name}: {sizes}; beside the usual: {', '.join(measures.metrics) or 'nothing'}. "
        f"{len(runs)} finished runs were scored again."
    )


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
    mapping: ValueMap = "",
    by_voxels: ByVoxels = False,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank all runs of the workspace, or of some data sets, with intervals and ties.

    Example: `autoseg leaderboard Dataset004_Hippocampus --html leaderboard.html --add swin=predictions/`
    """
    from autoseg.evaluation.values import parse_mapping
    from autoseg.leaderboard.export import check_endings, write_exports
    from autoseg.leaderboard.of_workspace import ranked
    from autoseg.system.named_outputs import refuse_foreign

    start(quiet)
    check_endings(export or [])
    refuse_foreign([path for path in (html, csv, challenger, *(export or [])) if path is not None])
    leaderboard = ranked(
        workspace_at(workspace),
        datasets or [],
        add or [],
        metric,
        structure,
        parse_folds(folds),
        html,
        mapping=parse_mapping(mapping),
        by_voxels=by_voxels,
    )
    write_exports(leaderboard, csv, export or [], challenger, nnunet_summary)
    if as_json:
        print_json(leaderboard.to_json(html))
    else:
        print_leaderboard(leaderboard)


@app.command("select")
def select_command(
    dataset: DatasetName,
    pairs: Annotated[
        int, typer.Option(min=0, help="Of so many of the best models every two are tried together; 0: none.")
    ] = 3,
    device: Device = "auto",
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose the best model, or two together, by the one-standard-error rule.

    Example: `autoseg select Dataset004_Hippocampus`
    """
    from autoseg.pipeline.select_model import describe_selection, select_model

    start(quiet)
    found = select_model(workspace_at(workspace), dataset, pairs=pairs, device=device, workers=workers)
    if as_json:
        print_json(found.to_json())
        return
    console().print(describe_selection(found))
    # The command stands by itself, unwrapped, to be copied.
    typer.echo(f"\nTo segment new images:\n  {found.command}")


@app.command("postprocess")
def postprocess_command(
    dataset: DatasetName,
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="[MODEL]...", help="Runs' folders; all if none is given.")
    ] = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decide postprocessing from out-of-fold predictions: largest component, smallest size, filled holes.

    A rule is retained where a test on cases that did not choose it confirms it. plan-and-train does this by
    itself; predict and export use it. Expected quality is fitted again on what is written from then on.

    Example: `autoseg postprocess Dataset004_Hippocampus`
    """
    from autoseg.data.dataset import load_dataset
    from autoseg.pipeline.postprocessing_of_models import decide_for_models, models_of
    from autoseg.pipeline.quality import as_walked, refit

    start(quiet)
    place = workspace_at(workspace)
    loaded = load_dataset(place.find_raw(dataset))
    found = decide_for_models(loaded, models or models_of(loaded, place), again=True)
    if not found:
        raise UsageError(
            f"{loaded.name} has no model with out-of-fold predictions. Train first: "
            f"autoseg plan-and-train {dataset}"
        )
    refit(found, as_walked(loaded.name, place), place)
    if as_json:
        print_json({str(folder): each.to_json() for folder, each in found.items()})
        return
    for folder, each in found.items():
        typer.echo("\n  ".join([folder.name, *each.evidence["in_words"]]))


@app.command("list")
def list_command(
    family: Annotated[
        str,
        typer.Argument(
            metavar="FAMILY",
            help="trainers, architectures, metrics, layouts, engines, loggers or machine.",
        ),
    ] = "trainers",
    path: Annotated[bool, typer.Option(help="The folder for nnUNet_extTrainer.")] = False,
    as_json: Json = False,
) -> None:
    """What there is, one line each, with what installed packages add.

    `machine` is how fast this machine trains: measured once in some seconds, corrected by each training.

    Example: `export nnUNet_extTrainer=$(autoseg list trainers --path)`
    """
    from autoseg.cli import catalogue

    if path:
        from autoseg.nnunet import shim_folder

        typer.echo(shim_folder())
        return
    if family == "machine":
        _list_machine(as_json)
    elif as_json:
        print_json(catalogue.document(family))
    else:
        console().print(catalogue.table(family, catalogue.entries(family)))


def _list_machine(as_json: bool) -> None:
    """The machine model, measured where it is not known yet."""
    from autoseg.cli import machine

    model, share = machine.found_machine()
    if as_json:
        print_json(machine.document(model, share))
        return
    console().print(*machine.text(model, share), sep="\n", soft_wrap=True)
    console().print(machine.table(model))
