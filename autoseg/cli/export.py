"""Models that leave the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli.arguments import Json, Quiet
from autoseg.cli.console import print_json, start
from autoseg.errors import UsageError

app = typer.Typer()
FORMS = ("nnunet", "onnx")


@app.command("export")
def export_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A run's folder: trainer__plan__configuration.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or a file ending in .zip.")],
    to: Annotated[
        str, typer.Option("--to", help="nnunet: what stock nnU-Net opens; onnx: a bundle without torch.")
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a trained model for use elsewhere, with all its trained folds.

    Example: `autoseg export autoseg_workspace/results/Dataset004_Hippocampus/nnunet__... out --to nnunet`
    """
    from autoseg.export import export_bundle, export_nnunet

    start(quiet)
    if to not in FORMS:
        raise UsageError(f"There is no export to {to!r}. Choose one of {', '.join(FORMS)}.")
    (export_nnunet if to == "nnunet" else export_bundle)(model, output)
    if as_json:
        print_json({"export": str(output), "to": to})
    else:
        typer.echo(f"The model: {output}")
