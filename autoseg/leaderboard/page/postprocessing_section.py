"""What was decided about the postprocessing of the models behind the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoseg.errors import RunError
from autoseg.leaderboard.ranking.rows import Row
from autoseg.run import POSTPROCESSING
from autoseg.system.files import read_json


def postprocessing_of(rows: Sequence[Row]) -> tuple[tuple[Row, tuple[str, ...]], ...]:
    """Rows with a decision beside their model, each with it in words. Their scores are those without it."""
    found = []
    for row in rows:
        sources = [record.source for record in row.entry.records if record.source is not None]
        folders = dict.fromkeys(source.parent.parent for source in sources)
        lines = [line for folder in folders for line in _words(folder / POSTPROCESSING)]
        if lines:
            found.append((row, tuple(dict.fromkeys(lines))))
    return tuple(found)


def _words(path: Path) -> Sequence[str]:
    if not path.is_file():
        return ()
    try:
        return [str(line) for line in read_json(path, RunError)["evidence"]["in_words"]]
    except (RunError, KeyError, TypeError):  # the page is drawn without what cannot be read
        return ()
