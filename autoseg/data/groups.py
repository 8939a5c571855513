"""The table that says which cases belong together: images of one exam, visits of one person."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

from autoseg.errors import DataError

logger = logging.getLogger(__name__)


class GroupsError(DataError):
    """The table of groups cannot be read, or leaves out a case."""


def groups_in(root: Path) -> dict[str, str] | None:
    for name in ("groups.csv", "cases.csv"):
        path = root / name
        if path.is_file() and _group_column(_header(path)) and _case_column(_header(path)):
            logger.info("Groups are taken from %s", path)
            return read_groups(path)
    return None


def read_groups(path: Path) -> dict[str, str]:
    """Read a table of groups: case to group.

    Raises:
        GroupsError: if the file is missing, lacks a column, leaves a group empty or contradicts itself.
    """
    if not path.is_file():
        raise GroupsError(f"There is no table of groups {path}. Check the path.")
    header = _header(path)
    case_column, group_column = _case_column(header), _group_column(header)
    if case_column is None or group_column is None:
        raise GroupsError(
            f"{path} has the columns {', '.join(header)}. A table of groups has a column 'case' and a column "
            f"'group' (or one that ends in '_group')."
        )
    groups: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        for line, row in enumerate(csv.DictReader(file, delimiter=_delimiter(path)), start=2):
            case, group = (row[case_column] or "").strip(), (row[group_column] or "").strip()
            if not case or not group:
                raise GroupsError(
                    f"{path}, line {line}: case {case!r} has the group {group!r}. Fill in both."
                )
            if groups.setdefault(case, group) != group:
                raise GroupsError(
                    f"{path}, line {line}: case {case!r} is in the groups {groups[case]!r} and {group!r}."
                )
    return groups


def _header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return next(csv.reader(file, delimiter=_delimiter(path)), [])


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
    return max(",;\t", key=first.count)


def _case_column(header: list[str]) -> str | None:
    return next((name for name in header if name.strip().lower().startswith("case")), None)


def _group_column(header: list[str]) -> str | None:
    exact = [name for name in header if name.strip().lower() == "group"]
    return next(iter(exact or [name for name in header if name.strip().lower().endswith("_group")]), None)
