"""How the trainings went: loss and Dice on validation patches, from the table beside each record."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.drawing.curves import Curves, draw_curves
from autoseg.leaderboard.page.colours import Look, look
from autoseg.leaderboard.ranking.rows import Row
from autoseg.run import PROGRESS

log = logging.getLogger(__name__)

WIDTH, HEIGHT = 420, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 408.0, 10.0, 160.0
Table = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class TrainingCurves:
    """The trainings behind a row.

    Attributes:
        row: the row of the ranking.
        number: its number on the page.
        look: its colour and dash pattern.
        loss: lines of the training loss of each run, then those of the validation loss.
        dice: a line of the mean Dice on validation patches for each run.
        runs: how many runs there are.
        words: what the last epoch of the first run gave.
    """

    row: Row
    number: int
    look: Look
    loss: Curves
    dice: Curves
    runs: int
    words: str


def training_curves(rows: Sequence[Row], numbers: Mapping[str, int]) -> tuple[TrainingCurves, ...]:
    """The curves of all rows whose runs have left a table; scores made elsewhere have none."""
    found = []
    for row in rows:
        tables = [table for path in _paths(row) if (table := _read(path))]
        if tables:
            found.append(_drawn(row, numbers[row.name], tables))
    return tuple(found)


def _paths(row: Row) -> list[Path]:
    sources = [record.source for record in row.entry.records if record.source is not None]
    return [path for path in (source.parent / PROGRESS for source in sources) if path.is_file()]


def _read(path: Path) -> dict[str, list[float]]:
    """Columns of a table; empty where it is none: a page must not fail for a picture."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        names = ("step", "train_loss", "val_loss", "dice")
        return {name: [_number(row[name]) for row in rows] for name in names} if rows else {}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as problem:
        log.warning("No training curves from %s: %s.", path, problem)
        return {}


def _number(text: str) -> float:
    """Of an empty cell NaN; a cell that is missing is None, and no number."""
    return math.nan if text == "" else float(text)


def _drawn(row: Row, number: int, tables: Sequence[Table]) -> TrainingCurves:
    def lines(name: str) -> list[list[tuple[float, float]]]:
        return [list(zip(table["step"], table[name], strict=True)) for table in tables]

    box = (_LEFT, _RIGHT, _TOP, _BOTTOM)
    first = tables[0]
    return TrainingCurves(
        row,
        number,
        look(number),
        draw_curves([*lines("train_loss"), *lines("val_loss")], *box),
        draw_curves(lines("dice"), *box, y_range=(0.0, 1.0)),
        len(tables),
        f"after {first['step'][-1]:.0f} steps: training loss {first['train_loss'][-1]:.3f}, "
        f"validation loss {first['val_loss'][-1]:.3f}, Dice on patches {first['dice'][-1]:.3f}",
    )
