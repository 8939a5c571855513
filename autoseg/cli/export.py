"""Models that leave the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli.arguments import Json, Quiet
from autoseg.cli.console import print_json, start
from autoseg.errors import UsageError

app = typer.Typer()
FORMS = ("nnunet", "onnx", "web")


@app.command("export")
def export_command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A run's folder: trainer__plan__configuration. For web a bundle too."
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or a file ending in .zip.")],
    to: Annotated[
        str,
        typer.Option(
            "--to", help="nnunet: for stock nnU-Net; onnx: a bundle without torch; web: a page for a browser."
        ),
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a trained model for use elsewhere, with all its trained folds.

    Example: `autoseg export autoseg_workspace/results/Dataset004_Hippocampus/nnunet__... out --to nnunet`
    """
    from autoseg.export import export_bundle, export_nnunet, export_web

    start(quiet)
    if to not in FORMS:
        raise UsageError(f"There is no export to {to!r}. Choose one of {', '.join(FORMS)}.")
    {"nnunet": export_nnunet, "onnx": export_bundle, "web": export_web}[to](model, output)
    if as_json:
        print_json({"export": str(output), "to": to})
    else:
        typer.echo(f"The model: {output}")
