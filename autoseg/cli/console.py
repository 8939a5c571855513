"""What subcommands share: how they start, and how they print."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from autoseg.system import progress

if TYPE_CHECKING:
    from autoseg.workspace import Workspace


def start(quiet: bool) -> None:
    """Let progress and messages go to standard error, or nowhere."""
    progress.show("off" if quiet else "auto")
    level = logging.ERROR if quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s", force=True)
    logging.getLogger("autoseg").setLevel(level)


def workspace_at(root: Path | None) -> Workspace:
    """The workspace of the option, the environment or the working folder."""
    from autoseg.workspace import Workspace

    return Workspace.locate(root)


def console() -> Any:
    """Standard output for tables."""
    from rich.console import Console

    # A pipe has no width; a table cut at 80 columns would lose what it is read for.
    return Console() if sys.stdout.isatty() else Console(width=120)


def print_leaderboard(leaderboard: Any) -> None:
    """The ranking as a table."""
    from autoseg.leaderboard.table import terminal_table

    console().print(terminal_table(leaderboard))


def print_json(value: Any) -> None:
    """One JSON object on one line."""
    typer.echo(json.dumps(value, allow_nan=False))
