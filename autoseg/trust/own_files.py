"""Whether the files of a folder that say how good predictions are were written by this program."""

from __future__ import annotations

import re
from pathlib import Path

from autoseg.errors import RunError
from autoseg.system.files import read_object
from autoseg.system.tables import table_text
from autoseg.trust.assess import CSV_NAME, HEADER, HTML_NAME, JSON_NAME

_TITLE = re.compile(r"<title>Predictions of .*: triage</title>")


def refuse_foreign(output: Path, remedy: str) -> None:
    """See that quality.json, quality.csv and triage.html can be written without the loss of a user's own.

    Args:
        output: the folder of the predictions; it need not be there yet.
        remedy: what to do where one is a user's own, as a sentence.

    Raises:
        RunError: naming the first one that is there and has another content than this program's.
    """
    for name, is_own in ((JSON_NAME, _is_document), (CSV_NAME, _is_table), (HTML_NAME, _is_page)):
        path = output / name
        if path.exists() and not (path.is_file() and (path.stat().st_size == 0 or is_own(path))):
            raise RunError(f"{path} is not known to be this program's, and would be replaced. {remedy}")


def _is_document(path: Path) -> bool:
    return {"model", "about", "cases"} <= set(read_object(path))


def _is_table(path: Path) -> bool:
    return _start(path).startswith(table_text([HEADER]).rstrip())


def _is_page(path: Path) -> bool:
    return _TITLE.search(_start(path)) is not None


def _start(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return file.read(4096)
