"""The ranking as one offline HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoseg.files import write_text
from autoseg.leaderboard.ranking import Leaderboard


def write_page(leaderboard: Leaderboard, path: Path, overlays: Sequence[Any] = ()) -> Path:
    """Write the page, whole or not at all, and return its path."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    text = environment.get_template("page.html").render(leaderboard=leaderboard, overlays=overlays)
    write_text(path, text)
    return path
