"""Pixel sizes of images whose files have none, from a column of a table."""

from __future__ import annotations

from pathlib import Path

from autoseg.errors import UsageError
from autoseg.system.tables import read_table


def find_pixel_sizes(text: str, folder: Path | None = None) -> dict[str, float]:
    """Pixel sizes from what the command line is given: ``FILE`` or ``FILE:COLUMN``.

    Args:
        text: the table, and where it has several columns of pixel sizes, the one that fits the images.
        folder: where a table is looked for first; then in the current folder.

    Raises:
        UsageError: if there is no such file, or no column is named and not exactly one is meant.
    """
    name, _, named = text.rpartition(":")
    for place in (folder or Path(), Path()):
        for table, column in ((place / text, ""), (place / name, named)):
            if table.is_file():
                return read_pixel_sizes(table, column or _size_column(table))
    raise UsageError(f"There is no table {text}. Give a CSV file with the columns case and pixel_mm.")


def size_columns(table: Path) -> list[str]:
    """The columns of a CSV file that hold pixel sizes, by their names."""
    return [name for name in read_table(table, UsageError)[0] if name.lower().startswith("pixel")]


def _size_column(table: Path) -> str:
    columns = size_columns(table)
    if len(columns) != 1:
        raise UsageError(
            f"{table} has {len(columns)} columns of pixel sizes ({', '.join(columns) or 'none'}). "
            f"Name the right one: {table.name}:{columns[0] if columns else 'COLUMN'}"
        )
    return columns[0]


def read_pixel_sizes(table: Path, column: str) -> dict[str, float]:
    """Pixel sizes of images whose format has none, such as PNG.

    Args:
        table: CSV with a column `case`.
        column: the one with the size in mm.

    Raises:
        UsageError: if a column is missing or a size is not a positive number.
    """
    columns, lines = read_table(table, UsageError)
    if not {"case", column} <= set(columns):
        raise UsageError(f"{table} has the columns {', '.join(columns)}. It needs 'case' and {column!r}.")
    return {row["case"]: _size(row[column], table) for _, row in lines}


def _size(text: str, table: Path) -> float:
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise UsageError(f"{text!r} in {table} is not a pixel size. Give mm, greater than 0.")
    return size
