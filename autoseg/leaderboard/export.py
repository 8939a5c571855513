"""The leaderboard as files for other programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from autoseg.files import write_text
from autoseg.leaderboard.ranking import Leaderboard


def write_csv(leaderboard: Leaderboard, path: Path) -> Path:
    """Write the rows as CSV, one line per row, with the columns of ``--json``; returns the path."""
    rows = [row.to_json() for row in leaderboard.rows]
    text = io.StringIO()
    if rows:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(rows[0])
        for row in rows:
            writer.writerow([_cell(value) for value in row.values()])
    write_text(path, text.getvalue())
    return path


def _cell(value: object) -> object:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return "" if value is None else value
