"""`{metrics-table}` and `{trainers-table}`: what there is, read from the registries."""

from __future__ import annotations

from generated import Generated, table
from sphinx.application import Sphinx

DIRECTIONS = {"higher": "higher", "lower": "lower", "zero": "near 0", "none": ""}


class MetricsTable(Generated):
    """Every metric: name, meaning, unit, direction, on what it is measured."""

    def markdown(self) -> str:
        """One row for each metric of the registry."""
        from autoseg.metrics import METRICS

        rows = (
            (
                f"`{each.name}`",
                each.description,
                "" if each.unit == "1" else each.unit,
                DIRECTIONS[each.direction],
                "" if each.needs == "nothing" else each.needs,
                "yes" if each.ranked else "",
                f"`{each.definition}`",
            )
            for each in METRICS.values()
        )
        columns = ("metric", "what it measures", "unit", "better", "needs", "ranks", "definition")
        return table(columns, rows)


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
    return "" if count is None else f"{count / 1e6:.1f} M"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both directives."""
    app.add_directive("metrics-table", MetricsTable)
    app.add_directive("trainers-table", TrainersTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
