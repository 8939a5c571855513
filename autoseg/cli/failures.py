"""Trainings that failed, on standard error and in the exit status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from autoseg.benchmark.status.status import Status
    from autoseg.leaderboard.records.record import Record


def exit_where_all_failed(records: Sequence[Record]) -> None:
    """Say which runs failed and why; that is a warning as long as one of them has a result.

    Raises:
        typer.Exit: with status 1 if there are runs, and none has a result.
    """
    without = [
        (f"{each.label}, fold {each.fold}, {each.status}", each.reason)
        for each in records
        if each.status in ("failed", "impossible")
    ]
    failed = any(each.status == "failed" for each in records)
    if failed or len(without) == len(records):
        _report(without, len(records), "trainings")


def exit_where_all_cells_failed(status: Status) -> None:
    """The same for a benchmark: it ends with status 1 where none of its cells has a result or may get one.

    Raises:
        typer.Exit: with status 1 if all failed.
    """
    cells = status.cells
    without = [
        (f"{each.cell.dataset}, {each.cell.name}, fold {each.cell.fold}, {each.word}", each.reason)
        for each in cells
        if each.state in ("failed", "blocked", "impossible")
    ]
    if len(without) == len(cells):
        _report(without, len(cells), "runs")


def _report(without: Sequence[tuple[str, str]], total: int, what: str) -> None:
    if not without:
        return
    level = "error" if len(without) == total else "warning"
    typer.echo(f"{level}: {len(without)} of {total} {what} have no result:", err=True)
    for name, reason in dict.fromkeys(without):
        typer.echo(f"  {name}: {reason}", err=True)
    if len(without) == total:
        raise typer.Exit(1)
