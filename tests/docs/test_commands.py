"""Every command that a page shows exists, with every option that it gives."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from autoseg.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [
    *(page for page in (ROOT / "docs").rglob("*.md") if "measurements" not in page.parts),
    ROOT / "README.md",
]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def shown_commands(page: Path) -> Iterator[str]:
    """The lines of a page's shell blocks that call autoseg, continued lines joined."""
    for block in re.findall(
        r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        for line in block.replace("\\\n", " ").splitlines():
            yield from re.findall(r"(?:^|\$\()autoseg ([^)#>|]+)", line.strip())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    for text in shown_commands(page):
        name, *words = shlex.split(text)
        if name.startswith("--"):
            continue
        assert name in COMMANDS, f"{page.name}: autoseg {text}"
        parameters = COMMANDS[name].params
        known = {option for each in parameters for option in (*each.opts, *each.secondary_opts)} | {"--help"}
        unknown = {word.split("=")[0] for word in words if word.startswith("--")} - known
        assert not unknown, f"{page.name}: autoseg {text}"


def test_there_are_commands_to_check() -> None:
    assert sum(1 for page in PAGES for _ in shown_commands(page)) > 25
