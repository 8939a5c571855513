"""Folds by a column of cases.csv: each hospital, scanner or year is held out once, whole."""

from __future__ import annotations

import logging
from pathlib import Path

from autoseg.data.dataset import Dataset
from autoseg.data.folds import Fold
from autoseg.errors import DataError, UsageError
from autoseg.system.amounts import counted
from autoseg.system.tables import read_table

logger = logging.getLogger(__name__)

TABLE = "cases.csv"


def folds_by(dataset: Dataset, column: str) -> tuple[Fold, ...]:
    """One fold for each value of a column, in the order of the values; its cases are held out.

    Args:
        dataset: its raw folder holds cases.csv, with a column that begins with ``case``.
        column: such as ``site``.

    Raises:
        DataError: if the table lacks a case, or gives it no value or two.
        UsageError: if there is no such table or column, or the column has one value only.
    """
    path = dataset.root / TABLE
    values = _column(path, column)
    cases = sorted(case.identifier for case in dataset.cases)
    if lacking := [case for case in cases if case not in values]:
        raise DataError(f"{path} has no {column} for {len(lacking)} cases, {lacking[0]} first. Add them.")
    names = sorted({values[case] for case in cases})
    if len(names) < 2:
        raise UsageError(
            f"Every case of {dataset.name} has the {column} {names[0]!r}, so that none can be held out. "
            f"Give another column, or leave by={column} out for five folds."
        )
    _warn_of_shared_groups(dataset, values, column)
    folds = tuple(
        Fold(
            index,
            tuple(case for case in cases if values[case] != name),
            tuple(case for case in cases if values[case] == name),
        )
        for index, name in enumerate(names)
    )
    held = [
        f"fold {fold.index} {name} ({counted(len(fold.validation), 'case')})"
        for fold, name in zip(folds, names, strict=True)
    ]
    logger.info("Held out by %s: %s.", column, ", ".join(held))
    return folds


def _column(path: Path, column: str) -> dict[str, str]:
    """The value of each case."""
    if not path.is_file():
        raise UsageError(f"There is no {path}. Folds by {column} need a table of case and {column} there.")
    header, lines = read_table(path, DataError)
    case_column = next((name for name in header if name.strip().lower().startswith("case")), None)
    found = next((name for name in header if name.strip().lower() == column.lower()), None)
    if case_column is None or found is None:
        raise UsageError(f"{path} has the columns {', '.join(header)}; expected 'case' and {column!r}.")
    values: dict[str, str] = {}
    for line, row in lines:
        case, value = row[case_column], row[found]
        if not value:
            raise DataError(f"{path}, line {line}: {case!r} has no {column}. Fill it in.")
        if values.setdefault(case, value) != value:
            both = f"{values[case]!r} and {value!r}"
            raise DataError(f"{path}, line {line}: {case!r} has the {column}s {both}. Leave one.")
    return values


def _warn_of_shared_groups(dataset: Dataset, values: dict[str, str], column: str) -> None:
    seen: dict[str, str] = {}
    for case, group in dataset.groups.items():
        if seen.setdefault(group, values[case]) != values[case]:
            logger.warning(
                "The group %s has cases of the %ss %s and %s: it stands on both sides of a fold.",
                group,
                column,
                seen[group],
                values[case],
            )
            return
