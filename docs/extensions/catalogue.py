"""`{metrics-table}` and `{trainers-table}`: what there is, read from the registries."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from generated import Generated, table
from sphinx.application import Sphinx

DIRECTIONS = {"higher": "higher", "lower": "lower", "zero": "near 0", "none": ""}


GROUPS = {
    "counts": "Counts",
    "overlap": "Overlap",
    "surface": "Surfaces",
    "volume": "Volume",
    "lesions": "Lesions",
    "head": "Head circumference",
    "secondary": "Secondary",
    "probabilities": "Probabilities",
}


class MetricsTable(Generated):
    """Every metric: name, meaning, unit, direction, on what it is measured."""

    def markdown(self) -> str:
        """One table for each group of metrics."""
        from autoseg.metrics import METRICS

        groups: dict[str, list[Any]] = defaultdict(list)
        for each in METRICS.values():
            groups[each.group].append(each)
        return "\n".join(
            f"## {GROUPS.get(name, name)}\n\n{_metrics(found)}" for name, found in groups.items()
        )


def _metrics(found: list[Any]) -> str:
    rows = (
        (
            f"`{each.name}`",
            each.description + ("" if each.needs == "nothing" else f" Needs {each.needs}."),
            "" if each.unit == "1" else each.unit,
            DIRECTIONS[each.direction],
            "yes" if each.ranked else "",
        )
        for each in found
    )
    return table(("metric", "what it measures", "unit", "better", "ranks"), rows)


class TrainersTable(Generated):
    """Every trainer: dimensions, size, what ImageNet weights fit, paper."""

    def markdown(self) -> str:
        """The documented systems first."""
        from autoseg.cli.catalogue import REFERENCE, entries

        found = sorted(entries("trainers"), key=lambda row: not row["documented"])
        rows = (
            (
                f"`{row['name']}`",
                "yes" if row["documented"] else "",
                *(_millions(row["parameters"].get(key)) for key in ("2d", "3d")),
                "yes" if row["fitting_weights"] else "",
                row["paper"],
            )
            for row in found
        )
        columns = ("trainer", "documented system", "2D", "3D", "ImageNet weights", "paper")
        return f"{table(columns, rows)}\n{REFERENCE}\n"


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f}\u00a0M"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both directives."""
    app.add_directive("metrics-table", MetricsTable)
    app.add_directive("trainers-table", TrainersTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
