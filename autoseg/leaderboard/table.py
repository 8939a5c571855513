"""The ranking on a terminal: readable at 100 columns and without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autoseg.leaderboard.quantities import HEADLINE, SPECIAL, Quantity, columns
from autoseg.leaderboard.ranking.entries import fold_words
from autoseg.leaderboard.ranking.ranking import Leaderboard, RankedSet
from autoseg.leaderboard.ranking.rows import Row
from autoseg.leaderboard.trust_of_rows import advice

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


# The costs that a terminal has room for, and what their columns are called.
COSTS = {"parameters": "params", "train_s": "train", "inference_s_per_case": "s/case"}


def terminal_table(leaderboard: Leaderboard) -> RenderableType:
    """A table for each comparable set, its warnings, and what has no rank.

    Returns:
        A rich renderable; print it with a `rich.console.Console`.
    """
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for dataset in leaderboard.datasets:
        for item in leaderboard.of(dataset):
            notes = _notes(item.rows)
            parts.append(_set_table(item, item.analysis.quantity, notes))
            parts.extend(Text(f"  ({number}) {text}") for text, number in notes.items())
            parts.extend(Text(f"  {warning}", style="yellow") for warning in item.warnings)
            if item.analysis.quantity.name == "dice" and item.analysis.structure is None:
                parts.extend(Text(f"  {text}") for text in filter(None, [advice(item.rows)]))
            parts.append(Text())
        lines = dict.fromkeys(
            line for row in leaderboard.rows if row.dataset == dataset for line in row.data_warnings
        )
        parts.extend(Text(f"  {dataset}, found by verify: {line}", style="yellow") for line in lines)
        parts.extend(
            Text(f"  {row.name} on {row.dataset}: {row.status}. {row.reason}", style="red")
            for row in leaderboard.unranked
            if row.dataset == dataset
        )
    if not parts:
        return Text("No records: nothing to rank.")
    tested = [item.analysis.testable for item in leaderboard.sets if len(item.rows) > 1]
    if not tested:  # a single row is compared with nothing
        return Group(*parts)
    if all(tested):
        parts.append(Text("  = not told apart from the best (Wilcoxon signed rank, Holm, p >= 0.05)."))
    else:
        where = "" if not any(tested) else " where cases are too few for a test"
        parts.append(
            Text(f"  = cannot be tested with so few: the interval of the difference holds 0{where}.")
        )
    return Group(*parts)


def _notes(rows: Sequence[Row]) -> dict[str, int]:
    """Footnotes of a table by their text, numbered from 1."""
    texts = dict.fromkeys(text for row in rows for text in _notes_of(row))
    return {text: number for number, text in enumerate(texts, 1)}


def _notes_of(row: Row) -> list[str]:
    """What tells a row from a run of the published system, made here."""
    notes = [f"differs from the published system: {'; '.join(row.changes)}"] if row.changes else []
    if row.foreign:
        notes.append(f"made elsewhere: {'; '.join(row.sources)}")
    return notes


def _set_table(item: RankedSet, ranked: Quantity, notes: Mapping[str, int]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    first = item.rows[0]
    title = f"{first.dataset}: {first.n_cases} cases, {fold_words(first.folds)}"
    if item.comparable.difference:
        title += f"\n(not comparable with the first table: {item.comparable.difference})"
    table = Table(
        title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    names = [name for name in HEADLINE if name in first.means and name != ranked.name]
    own = [name for name in columns(first.means) if name not in (*HEADLINE, *SPECIAL, ranked.name)]
    others = [item.comparable.quantity(name) for name in (*names[:2], *own)]
    missing = any(row.n_missing for row in item.rows)
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("trainer", overflow="fold", min_width=18)
    table.add_column(f"{ranked.title} [95 %]", justify="right", no_wrap=True)
    for other in others:
        table.add_column(f"{other.label} {other.unit}".strip(), justify="right", no_wrap=True)
    costs = [name for name in COSTS if any(row.cost(name) is not None for row in item.rows)]
    for name in (*(("miss",) if missing else ()), *(COSTS[name] for name in costs)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in item.rows:
        values = [other.text(row.means[other.name]) for other in others]
        gaps = [str(row.n_missing)] if missing else []
        cells = [_rank(row), _name(row, notes), _interval(row, ranked), *values, *gaps]
        cells += [cell for cell, name in zip(_costs(row), COSTS, strict=True) if name in costs]
        table.add_row(*(Text(cell) for cell in cells), style="bold" if row.tied_with_best else "")
    return table


def _rank(row: Row) -> str:
    if row.rank is None:
        return ""
    return f"{row.rank} =" if row.tied_with_best and row.rank != 1 else f"{row.rank}  "


def _name(row: Row, notes: Mapping[str, int]) -> str:
    name = row.name if row.status in ("ok", "foreign") else f"{row.name} ({row.status})"
    if "cases" in row.entry.first.options and row.training_cases is not None:
        name += f" ({row.case_words})"
    return " ".join([name, *(f"({notes[text]})" for text in _notes_of(row))])


def _interval(row: Row, ranked: Quantity) -> str:
    interval = row.intervals[ranked.name]
    value, low, high = (ranked.text(x) for x in (row.means[ranked.name], interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def _costs(row: Row) -> list[str]:
    inference = row.cost("inference_s_per_case")
    return [
        count_words(row.cost("parameters")),
        duration_words(row.cost("train_s")),
        "" if inference is None else f"{inference:.2g}" if inference < 100 else f"{inference:.0f}",
    ]


def count_words(value: float | None) -> str:
    """A count in thousands or millions: ``31.2 M``."""
    if value is None:
        return ""
    if value >= 1e6:
        return f"{value / 1e6:.1f} M" if value < 1e8 else f"{value / 1e6:.0f} M"
    return f"{value / 1e3:.1f} k" if value >= 1e3 else f"{value:.0f}"


def duration_words(seconds: float | None) -> str:
    """A duration in the unit that reads best: ``48 s``, ``5.2 min``, ``3.1 h``."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    value, unit = (seconds / 60, "min") if seconds < 3600 else (seconds / 3600, "h")
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def cost_words(row: Row, name: str) -> str:
    """A cost of a row, as tables show it; of energy, what nobody measured is said in words."""
    value = row.cost(name)
    if name in ("energy_kwh", "g_co2"):
        if value is None:
            return "not measured"
        about = "" if row.energy_how == "measured" else "about "
        return about + (_energy_words(value) if name == "energy_kwh" else f"{value:.3g} g")
    if value is None:
        return "\N{EN DASH}"
    if name == "training_steps":
        return f"{value:.0f}"
    return count_words(value) if name == "parameters" else duration_words(value)


def _energy_words(kwh: float) -> str:
    return f"{kwh:.3g} kWh" if kwh >= 0.1 else f"{1000 * kwh:.3g} Wh"
