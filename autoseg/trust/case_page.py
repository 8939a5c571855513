"""A page of cases in an order that matters, each with its reasons, numbers and pictures: one offline file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.drawing.html import stylesheet, templates
from autoseg.drawing.slices import COLOURS
from autoseg.errors import AutosegError
from autoseg.system.files import write_text
from autoseg.trust.pictures import Plane

log = logging.getLogger(__name__)

# Cases with pictures; the table has all of them.
MOST_PICTURED = 24


@dataclass(frozen=True)
class Listed:
    """One case of the page.

    Attributes:
        case: its identifier.
        mark: one or a few words; empty for nothing.
        bad: whether the mark is one to act upon.
        reasons: in words.
        cells: its numbers in words, one for each column.
    """

    case: str
    mark: str
    bad: bool
    reasons: Sequence[str]
    cells: Sequence[str]


@dataclass(frozen=True)
class Page:
    """What stands above the cases.

    Attributes:
        kind: what the page is, in one or two words.
        title: its heading.
        verdict: the outcome in a sentence or two.
        columns: headings of the cases' numbers.
        legend: what the pictures show.
        notes: further sentences at the end.
    """

    kind: str
    title: str
    verdict: str
    columns: Sequence[str]
    legend: str
    notes: Sequence[str]


def write_case_page(
    path: Path,
    page: Page,
    cases: Sequence[Listed],
    structures: Mapping[str, Sequence[int]],
    pictures: Callable[[str], Sequence[Plane]],
) -> Path:
    """Write the page, whole or not at all.

    Args:
        path: the HTML file.
        page: what stands above the cases.
        cases: in their order.
        structures: for the colours' names.
        pictures: draws a case; called for the first `MOST_PICTURED`. A case that cannot be read has none.
    """
    shots = [(each, _pictures(each.case, pictures)) for each in cases[:MOST_PICTURED]]
    legend = [(name, COLOURS[index % len(COLOURS)]) for index, name in enumerate(structures)]
    text = (
        templates(Path(__file__).parent)
        .get_template("cases.html")
        .render(page=page, cases=cases, shots=shots, colours=legend, css=stylesheet())
    )
    write_text(path, text)
    return path


def _pictures(case: str, pictures: Callable[[str], Sequence[Plane]]) -> Sequence[Plane]:
    try:
        return pictures(case)
    except (AutosegError, OSError, ValueError) as problem:  # files that are gone or of another grid
        log.info("No pictures of %s: %s", case, problem)
        return ()
