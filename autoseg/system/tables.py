"""Tables that people open in a spreadsheet: read with bounds, written so that no cell is run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from autoseg.errors import AutosegError, DataError
from autoseg.system.documents import DocumentError
from autoseg.system.files import read_bounded

LARGEST_BYTES = 256 * 2**20

# What makes a spreadsheet take a text for a formula, at its very start or after a line break's remains.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
MARK = "'"


def read_table(
    path: Path, error: type[AutosegError] = DataError
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a table with a head: comma, semicolon or tab, whichever the first line has most of.

    Args:
        path: the file, UTF-8 with or without a byte order mark.
        error: what is raised if it cannot be read.

    Raises:
        AutosegError: one of the given class: no file, no text, too large, a quote that is never closed.

    Returns:
        The columns' names, and for each further line its number and the cells by column, blanks around them
        taken off; a cell that is missing is empty.
    """
    try:
        text = read_bounded(path, LARGEST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise error(f"There is no file {path}. Check the path.") from None
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}. Give a file that you may read.") from None
    except DocumentError as problem:
        raise error(f"{path} is no table that can be read: {problem}. Give a table of cases.") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not a text file in UTF-8: {problem}. Save it as CSV in UTF-8.") from None
    if "\0" in text:
        raise error(f"{path} holds a NUL character: it is not a table. Save it as CSV in UTF-8.")
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        lines = [
            (reader.line_num, {key: plain_cell((value or "").strip()) for key, value in row.items() if key})
            for row in reader
        ]
    except csv.Error as problem:
        raise error(
            f"{path}, after line {reader.line_num}: {problem}. Look for a quote that is not closed."
        ) from None
    return columns, lines


def table_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV, no cell of which a spreadsheet runs. Every table that autoseg writes comes from here."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([text_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def text_cell(value: object) -> object:
    """A cell that no spreadsheet runs: texts that begin like a formula get an apostrophe in front.

    Numbers stay numbers, negative ones too. A text that begins with an apostrophe gets a second one, so that
    `plain_cell` gives every text back.
    """
    if isinstance(value, str) and value.startswith((*FORMULA_STARTS, MARK)) and not _is_number(value):
        return MARK + value
    return value


def plain_cell(text: str) -> str:
    """The text that `text_cell` was given."""
    return text[1:] if text.startswith(MARK) and text[1:2] in {*FORMULA_STARTS, MARK} else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
