"""Models that leave the workspace."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
            metavar="MODEL",
            help="A run's folder: trainer__plan__configuration. For onnx and web a bundle too.",
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or a file ending in .zip.")],
    to: Annotated[
        str,
        typer.Option(
            "--to", help="nnunet: for stock nnU-Net; onnx: a bundle without torch; web: a page for a browser."
        ),
    ],
    sign: Annotated[
        Path | None,
        typer.Option("--sign", metavar="KEY", help="Sign a bundle with this private key, a PEM file."),
    ] = None,
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
    if sign is not None and to != "onnx":
        raise UsageError(f"--sign signs a bundle, not an export to {to}. Leave it out, or give --to onnx.")
    forms: dict[str, Callable[[Path, Path], Path]]
    forms = {"nnunet": export_nnunet, "onnx": partial(export_bundle, key=sign), "web": export_web}
    forms[to](model, output)
    if as_json:
        print_json({"export": str(output), "to": to})
    else:
        typer.echo(f"The model: {output}")
