"""The tutorials do what they say: their blocks run in order, and print what the page shows.

A ``text`` block right after a block that runs is what it prints: each of its lines has to come out, in this
order, with any text where the line says ``...``. Pages that go on from another run in the same folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
# Pages of one tuple are run in one folder, one after the other; every other page has a folder of its own.
FAST = [("read_a_leaderboard",)]
TOGETHER = [("first_leaderboard", "choose_and_predict", "ten_cases"), ("your_own_data", "budgets")]
_LISTED = {name for pages in (*FAST, *TOGETHER, ("index",)) for name in pages}
SLOW = [*TOGETHER, *((page.stem,) for page in sorted(TUTORIALS.glob("*.md")) if page.stem not in _LISTED)]
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A piece of a page that runs.

    Attributes:
        language: ``bash`` or ``python``.
        text: what runs.
        shown: the lines that the page shows as its output.
        place: page and line.
    """

    language: str
    text: str
    shown: tuple[str, ...]
    place: str


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    content = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(content):
        line = content.count("\n", 0, found.start()) + 1
        shown = tuple(filter(str.strip, (found[3] or "").splitlines()))
        yield Block(found[1], found[2], shown, f"{page.name}:{line}")


def run(block: Block, folder: Path) -> str:
    """What a block prints, standard error included; it has to succeed."""
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("nnUNet_", "AUTOSEG_"))}
    done = subprocess.run(
        [*command, block.text],
        cwd=folder,
        env={**clean, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "110"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.place} ended with {done.returncode}:\n{done.stdout[-3000:]}"
    return done.stdout


def check_shown(block: Block, printed: str) -> None:
    """Every line that the page shows came out, in this order."""
    rest = [" ".join(line.split()) for line in printed.splitlines()]
    for line in block.shown:
        wanted = ".*".join(map(re.escape, " ".join(line.split()).split("...")))
        while rest and not re.fullmatch(wanted, rest[0]):
            rest.pop(0)
        assert rest, f"{block.place} does not print {line!r} there. It printed:\n{printed[-3000:]}"
        rest.pop(0)


def walk(pages: tuple[str, ...], folder: Path) -> None:
    """Run the pages in one folder, block after block."""
    for name in pages:
        for block in blocks(TUTORIALS / f"{name}.md"):
            check_shown(block, run(block, folder))


@pytest.mark.parametrize("pages", FAST, ids="+".join)
def test_short_tutorials(pages: tuple[str, ...], tmp_path: Path) -> None:
    walk(pages, tmp_path)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("pages", SLOW, ids="+".join)
def test_tutorials(pages: tuple[str, ...], tmp_path: Path) -> None:
    walk(pages, tmp_path)


def test_every_tutorial_has_blocks_that_run() -> None:
    for page in TUTORIALS.glob("*.md"):
        assert page.stem == "index" or list(blocks(page)), page.name


def test_what_a_page_shows_is_compared() -> None:
    block = Block("bash", "", ("1 swift ... 0.845", "3 small"), "page:1")
    check_shown(block, "rank trainer\n   1   swift (1)  0.845\n 2 steady\n 3 small\n")
    for printed in ("1 swift 0.846\n3 small\n", "3 small\n1 swift 0.845\n", ""):
        with pytest.raises(AssertionError, match="page:1"):
            check_shown(block, printed)
