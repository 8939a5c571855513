"""`autoseg review --serve` and `--export`: the review page, and the data set that comes of it."""

from __future__ import annotations

import dataclasses
import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from autoseg.cli.console import print_json
from autoseg.errors import UsageError

if TYPE_CHECKING:
    from autoseg.pipeline.review_session import Sources


def serve_command(sources: Sources, reviewer: str, port: int, idle: float, viewer: str) -> None:
    """Serve the page until it is closed."""
    from autoseg.pipeline.review_session import find_review, serve_review

    if viewer not in ("auto", "plain"):
        raise UsageError(f"{viewer!r} is no viewer. Expected auto or plain.")
    review = find_review(sources)
    try:
        why = serve_review(
            review,
            reviewer or _user(),
            _tell,
            port=port,
            idle_minutes=idle,
            three_d=viewer == "auto",
        )
    except KeyboardInterrupt:
        why = "Ctrl-C"
    _tell(f"The review ended: {why}. All that was stored is in {review.folder}")


def export_command(sources: Sources, output: Path, link: bool, serve: bool, as_json: bool) -> None:
    """Write the corrected data set and say what became of the cases."""
    from autoseg.pipeline.review_session import export_review, find_review

    if serve:
        raise UsageError("--serve and --export are two steps. Give one of them.")
    found, report = export_review(find_review(sources), output, link, sources.workers)
    errors = [each for each in report.findings if each.severity == "error"]
    if as_json:
        print_json({**dataclasses.asdict(found), "root": str(found.root), "errors": len(errors)})
    else:
        counts = {
            "corrected": found.corrected,
            "as they were": found.unchanged,
            "rejected and left out": found.rejected,
            "undecided and left out": found.undecided,
        }
        listed = ", ".join(f"{len(cases)} {words}" for words, cases in counts.items() if cases)
        typer.echo(f"{found.root}: {listed}")
    for case in found.changed_since:
        typer.echo(
            f"{case}: the label is another one since it was corrected; the correction counts", err=True
        )
    for each in errors:
        typer.echo(f"{each.case or each.file}: {each.message} {each.remedy}", err=True)
    if errors:
        raise typer.Exit(1)


def _tell(line: str) -> None:
    # Standard output may be a pipe, where a line would wait for others.
    typer.echo(line, err=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
