"""The table that says which cases belong together: images of one exam, visits of one person."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from autoseg.errors import DataError
from autoseg.system.tables import read_table

logger = logging.getLogger(__name__)


class GroupsError(DataError):
    """The table of groups cannot be read, or leaves out a case."""


def members(cases: Iterable[str], groups: Mapping[str, str]) -> list[list[str]]:
    """The cases of each group, in the order of the groups' first cases.

    Args:
        cases: identifiers.
        groups: group of each case; a case without one is a group of its own.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        # A case's own name must not coincide with the name of a group.
        key = ("group", groups[case]) if case in groups else ("case", case)
        found.setdefault(key, []).append(case)
    return list(found.values())


def groups_in(root: Path) -> dict[str, str] | None:
    for name in ("groups.csv", "cases.csv"):
        path = root / name
        header = read_table(path, GroupsError)[0] if path.is_file() else []
        if _group_column(header) and _case_column(header):
            _say_once(path)
            return read_groups(path)
    return None


@cache
def _say_once(path: Path) -> None:
    """Every stage of a walk reads the table; the user reads about it once."""
    logger.info("Groups are taken from %s", path)


def read_groups(path: Path) -> dict[str, str]:
    """Read a table of groups: case to group.

    Raises:
        GroupsError: if the file cannot be read, lacks a column, leaves a group empty or contradicts itself.
    """
    header, lines = read_table(path, GroupsError)
    case_column, group_column = _case_column(header), _group_column(header)
    if case_column is None or group_column is None:
        raise GroupsError(
            f"{path} has the columns {', '.join(header)}. A table of groups has a column 'case' and a column "
            f"'group' (or one that ends in '_group')."
        )
    groups: dict[str, str] = {}
    for line, row in lines:
        case, group = row[case_column], row[group_column]
        if not case or not group:
            raise GroupsError(f"{path}, line {line}: case {case!r} has the group {group!r}. Fill in both.")
        if groups.setdefault(case, group) != group:
            raise GroupsError(
                f"{path}, line {line}: case {case!r} is in the groups {groups[case]!r} and {group!r}. "
                f"Leave one of the two lines."
            )
    return groups


def _case_column(header: list[str]) -> str | None:
    return next((name for name in header if name.strip().lower().startswith("case")), None)


def _group_column(header: list[str]) -> str | None:
    exact = [name for name in header if name.strip().lower() == "group"]
    return next(iter(exact or [name for name in header if name.strip().lower().endswith("_group")]), None)
