"""HTML pages from templates: one environment and one style sheet for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    import jinja2


def templates(folder: Path) -> jinja2.Environment:
    """The templates of a folder. All text that they are given is escaped, and a missing value is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def unescaped(path: Path) -> Markup:
    """A style sheet or script of autoseg's own: the only text that is not escaped."""
    return Markup(path.read_text(encoding="utf-8"))


def stylesheet() -> Markup:
    """The style sheet that all pages share."""
    return unescaped(Path(__file__).with_name("page.css"))
