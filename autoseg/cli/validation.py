"""A model tried on another data set than its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.arguments import DatasetName, Device, Json, Quiet, Root, Workers
from autoseg.cli.console import console, print_json, start, workspace_at

if TYPE_CHECKING:
    from rich.table import Table

    from autoseg.pipeline.external_validation import Mean, Validation

app = typer.Typer()


@app.command("validate")
def validate_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run's folder, or a bundle.")],
    dataset: DatasetName,
    mapping: Annotated[
        str,
        typer.Option("--map", metavar="A=B,...", help="Structure A of DATASET is the model's structure B."),
    ] = "",
    mirroring: Annotated[bool, typer.Option(help="Average over mirrored copies.")] = True,
    device: Device = "auto",
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on a data set that it was not trained on, and say how much it loses there.

    Structures are joined by name. The leaderboard of DATASET shows the model from then on.

    Example: `autoseg validate results/Dataset004_Hippocampus/nnunet__plans__2d Dataset104_OtherSite`
    """
    from autoseg.data.joined_labels import parse_renaming
    from autoseg.pipeline.external_validation import validate_elsewhere

    start(quiet)
    found = validate_elsewhere(
        model,
        dataset,
        workspace_at(workspace),
        renamed=parse_renaming(mapping),
        device=device,
        mirroring=mirroring,
        workers=workers,
    )
    if as_json:
        print_json(found.to_json())
        return
    console().print(_table(found))
    for sentence in _notes(found):
        typer.echo(sentence)
    typer.echo(f"\nPredictions and scores: {found.folder}\nRanked: autoseg leaderboard {found.dataset}")


def _table(found: Validation) -> Table:
    from rich.table import Table

    table = Table("Dice", "at home, out of fold", f"on {found.dataset}", "drop", title=found.model, box=None)
    # Of one structure the mean over all is the same again.
    rows = found.rows[1:] if len(found.rows) == 2 else found.rows
    for row in rows:
        drop = "" if row.drop is None else f"{row.drop:+.3f}{_between(row.interval)}"
        table.add_row(row.structure or "all in common", _mean(row.home), _mean(row.abroad), drop)
    return table


def _mean(mean: Mean | None) -> str:
    return "not known" if mean is None else f"{mean.value:.3f}{_between(mean.interval)}"


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"


def _notes(found: Validation) -> list[str]:
    notes = [f"Left out, and scored as 0: {each}" for each in found.left_out]
    if found.joined.only_model:
        notes.append(f"Only the model has {', '.join(found.joined.only_model)}: taken as background.")
    if found.joined.only_dataset:
        notes.append(f"Only {found.dataset} has {', '.join(found.joined.only_dataset)}: not scored.")
    first = found.rows[0]
    if first.home is None:
        notes.append("The model has no out-of-fold scores, so that no drop can be given.")
    elif first.interval is None:
        notes.append("A drop's interval needs two groups of cases on either side.")
    return notes
