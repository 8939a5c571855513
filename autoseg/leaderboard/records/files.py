"""Records on disk: JSON lines, one file per run, written whole and checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from autoseg.errors import DataError
from autoseg.leaderboard.records.record import SCHEMA, UNKNOWN_FOLD, Cost, Quality, Record, Status
from autoseg.metrics import declare
from autoseg.system.documents import DocumentError, parse_json
from autoseg.system.files import read_bounded, write_text

__all__ = [
    "FILE_NAME",
    "SCHEMA",
    "UNKNOWN_FOLD",
    "Cost",
    "Quality",
    "Record",
    "Status",
    "load_records",
    "read_records",
    "write_record",
    "write_records",
]

FILE_NAME = "record.jsonl"


def write_record(path: Path, record: Record) -> Record:
    """Write a record as one JSON line, whole or not at all.

    Returns:
        The record, which now knows its file.

    Raises:
        ValueError: for NaN or infinity anywhere in it.
    """
    write_records(path, [record])
    return replace(record, source=path)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON lines, whole or not at all."""
    lines = [json.dumps(record.to_json(), allow_nan=False, separators=(",", ":")) for record in records]
    write_text(path, "".join(line + "\n" for line in lines))


def load_records(*places: Path) -> tuple[Record, ...]:
    """Read records from files and folders.

    Args:
        places: a JSON-lines file, or a folder in which every ``record.jsonl`` below is read.

    Raises:
        DataError: if a place does not exist or a line is not a record; the message names file, line
            and field.
    """
    records: list[Record] = []
    for place in places:
        if place.is_dir():
            files = sorted(place.rglob(FILE_NAME))
        elif place.is_file():
            files = [place]
        else:
            raise DataError(f"There is no file or folder {place}. Give a folder of runs or a record file.")
        for file in files:
            records.extend(read_records(file))
    return tuple(records)


def read_records(path: Path) -> list[Record]:
    """Read one file of JSON lines.

    Raises:
        DataError: naming the line and the field at fault.
    """
    records = []
    try:
        text = read_bounded(path).decode("utf-8")
    except (OSError, DocumentError) as problem:
        said = problem.strerror if isinstance(problem, OSError) else problem
        raise DataError(f"{path} cannot be read: {said}. Give a file of records that you may read.") from None
    except UnicodeDecodeError as problem:
        raise DataError(f"{path} is not a text file in UTF-8: {problem}. Give a file of records.") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            records.append(_parse(line, f"{path}, line {number}", path))
    return records


def _parse(line: str, where: str, path: Path) -> Record:
    from pydantic import ValidationError

    try:
        content = parse_json(line)
    except DocumentError as problem:
        raise DataError(f"{where}: this is not JSON ({problem}). Write the record again.") from None
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected one JSON object, found {line[:40]!r}. Write the record again.")
    schema = content.pop("schema", None)
    if schema != SCHEMA:
        raise DataError(
            f"{where}: record schema {schema!r}, this version reads {SCHEMA}. "
            f"Update autoseg, or evaluate the run again."
        )
    content.pop("quality", None)
    try:
        record: Record = _adapter().validate_python(content)
    except ValidationError as problem:
        first = problem.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "the record"
        raise DataError(f"{where}: {name}: {first['msg']}. Correct this field.") from None
    _check(record, where)
    declare(record.settings.get("own_metrics", {}))
    object.__setattr__(record, "source", path)
    return record


@cache
def _adapter() -> Any:
    """pydantic's validator of a record, built once: building takes longer than reading a thousand."""
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def _check(record: Record, where: str) -> None:
    table = record.scores
    if len(set(table.cases)) != len(table.cases):
        twice = next(case for case in table.cases if table.cases.count(case) > 1)
        raise DataError(f"{where}: scores.cases: the case {twice!r} is there twice. Keep one of them.")
    for column in table.columns:
        if len(column.values) != len(table.cases):
            raise DataError(
                f"{where}: scores.columns: {len(column.values)} values of {column.metric} of "
                f"{column.structure!r} for {len(table.cases)} cases. Each case needs one value or null."
            )
    if table.groups is not None and len(table.groups) != len(table.cases):
        raise DataError(
            f"{where}: scores.groups: {len(table.groups)} groups for {len(table.cases)} cases. "
            f"Each case needs one."
        )
