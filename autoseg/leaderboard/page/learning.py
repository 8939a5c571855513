"""Quality against the number of training cases: a curve for each trainer and what it started from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoseg.drawing.axes import ticks
from autoseg.leaderboard.page.colours import Look, look
from autoseg.leaderboard.page.short_names import short_names
from autoseg.leaderboard.ranking.entries import case_words
from autoseg.leaderboard.ranking.ranking import RankedSet
from autoseg.leaderboard.ranking.rows import Row
from autoseg.leaderboard.statistics import Interval

WIDTH, HEIGHT = 420, 320
LEFT, TOP, BOTTOM = 44, 14, 266
_LETTER, _LINE, _APART, _INSIDE = 7.0, 15.0, 3.0, 14.0
_MOST = 12
CASES = "cases"


@dataclass(frozen=True)
class Stop:
    """A row on a curve.

    Attributes:
        row: the row of the ranking.
        number: the row's number on the page; filters go by it.
        cases: training cases, the mean over its runs.
        mean, interval: mean and interval of the metric.
        place: position in the figure.
        whisker: path of the interval.
        dots: path of the means of single seeds, where there are several.
        words: the text that pointing at it shows.
    """

    row: Row
    number: int
    cases: float
    mean: float
    interval: Interval
    place: tuple[float, float]
    whisker: str
    dots: str
    words: str


@dataclass(frozen=True)
class Curve:
    """The rows of one trainer with one start and several numbers of training cases.

    Attributes:
        name: the trainer with its options, without the number of cases.
        short: what tells it from the other curves.
        look: its colour, dash pattern and marker, those of no row.
        stops: from few cases to many.
        label: where its name stands, and the line that leads there.
    """

    name: str
    short: str
    look: Look
    stops: tuple[Stop, ...]
    label: tuple[float, float, str]

    def at(self, cases: float) -> Stop | None:
        """The row with so many cases."""
        return next((stop for stop in self.stops if stop.cases == cases), None)


@dataclass(frozen=True)
class Learning:
    """The figure, and the table that says the same.

    Attributes:
        curves: in the order of the ranking's best.
        counts: all numbers of training cases.
        x_ticks, y_ticks: position and text.
        right: where the axis ends and the names begin.
        seeds: the most seeds that a point is the mean of.
    """

    curves: tuple[Curve, ...]
    counts: tuple[float, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    right: float
    seeds: int

    @property
    def drawn(self) -> tuple[Curve, ...]:
        """Those that the figure has room for."""
        return self.curves[:_MOST]


def learning_curves(item: RankedSet, numbers: Mapping[str, int]) -> Learning | None:
    """The figure of a comparable set; None where nobody has rows with several numbers of training cases.

    Args:
        item: the set.
        numbers: the rows' numbers on the page.
    """
    found = _strategies(item)
    if not any(len(rows) > 1 for rows in found.values()):
        return None
    counts = tuple(sorted({cases for rows in found.values() for cases in rows}))
    shorts = short_names(list(found))
    right = float(WIDTH - 14 - _LETTER * max(len(name) for name in shorts[:_MOST]))
    x_of = _x_axis(counts, right)
    drawn = [i for rows in list(found.values())[:_MOST] for i in rows.values()]
    y_of, y_ticks = _y_axis(item, drawn)
    curves = []
    for number, (name, rows) in enumerate(found.items()):
        shift = _APART * (number - (min(len(found), _MOST) - 1) / 2)
        stops = tuple(_stop(item, i, n, numbers, x_of(n) + shift, y_of) for n, i in sorted(rows.items()))
        curves.append(Curve(name, shorts[number], look(number), stops, (0.0, 0.0, "")))
    return Learning(
        _labelled(curves, right),
        counts,
        _spread([(x_of(n), f"{n:.4g}") for n in counts]),
        tuple((y_of(tick), f"{tick:g}") for tick in y_ticks),
        right,
        max(len(row.seeds) for row in item.rows),
    )


def _strategies(item: RankedSet) -> dict[str, dict[float, int]]:
    """By curve and number of cases, the index of the entry; the curve of the best row first."""
    found: dict[str, dict[float, int]] = {}
    several = len({entry.first.configuration for entry in item.comparable.entries}) > 1
    for i in item.analysis.order:
        entry = item.comparable.entries[i]
        cases = entry.training_cases
        if cases is None:
            continue
        options = [part for part in entry.first.label.split(":") if not part.startswith(f"{CASES}=")]
        name = ":".join(options) + (f" · {entry.first.configuration}" if several else "")
        # Rows that differ in something else, such as their budget, are curves of their own.
        names = (name, *(f"{name} ({n})" for n in range(2, len(item.rows) + 2)))
        free = next(each for each in names if cases not in found.get(each, {}))
        found.setdefault(free, {})[cases] = i
    return found


@dataclass(frozen=True)
class _Axis:
    """A place for each value."""

    low: float
    high: float
    start: float
    length: float
    logarithmic: bool

    def __call__(self, value: float) -> float:
        at = math.log10(value) if self.logarithmic else value
        part = 0.5 if self.high == self.low else (at - self.low) / (self.high - self.low)
        return round(self.start + part * self.length, 1)


def _x_axis(counts: Sequence[float], right: float) -> _Axis:
    low, high = math.log10(counts[0]), math.log10(counts[-1])
    return _Axis(low, high, LEFT + _INSIDE, right - LEFT - 2 * _INSIDE, True)


def _y_axis(item: RankedSet, drawn: Sequence[int]) -> tuple[_Axis, tuple[float, ...]]:
    """Better is up: distances grow downwards."""
    ends = [end for i in drawn for end in (item.analysis.intervals[i].low, item.analysis.intervals[i].high)]
    ends += [mean for i in drawn for mean in _by_seed(item, i)]
    margin = max(0.05 * (max(ends) - min(ends)), 1e-3)
    low, high = min(ends) - margin, max(ends) + margin
    up = item.analysis.quantity.higher_is_better
    start, length = (BOTTOM, TOP - BOTTOM) if up else (TOP, BOTTOM - TOP)
    return _Axis(low, high, start, length, False), ticks(low, high, 5)


def _by_seed(item: RankedSet, index: int) -> list[float]:
    """The mean of each seed, where a row has several."""
    entry, chosen = item.comparable.entries[index], item.analysis
    if len(entry.seeds) < 2:
        return []
    means = []
    for seed in entry.seeds:
        tables = [each.scores for each in entry.records if each.seed == seed]
        values = [each.case_scores(chosen.quantity.name, chosen.structure) for each in tables]
        known = np.concatenate(values) if values else np.array([])
        known = known[np.isfinite(known)]
        means += [float(known.mean())] if len(known) else []
    return means


def _stop(
    item: RankedSet, index: int, cases: float, numbers: Mapping[str, int], x: float, y_of: _Axis
) -> Stop:
    row = item.rows[item.analysis.order.index(index)]
    mean, interval = float(item.analysis.means[index]), item.analysis.intervals[index]
    facts, seeds = item.analysis.quantity, _by_seed(item, index)
    x = round(x, 1)
    words = (
        f"{case_words(cases)}: {facts.text(mean)} ({facts.text(interval.low)} to {facts.text(interval.high)})"
    )
    each = f"; seeds {', '.join(facts.text(value) for value in seeds)}" if seeds else ""
    return Stop(
        row,
        numbers[row.name],
        cases,
        mean,
        interval,
        (x, y_of(mean)),
        f"M{x} {y_of(interval.low)}V{y_of(interval.high)}",
        "".join(f"M{x + 5:g} {y_of(value)}h0" for value in seeds),
        words + each,
    )


def _labelled(curves: Sequence[Curve], right: float) -> tuple[Curve, ...]:
    """Put the names beside the ends of their curves, pushed apart where they would overlap."""
    order = sorted(range(len(curves[:_MOST])), key=lambda i: curves[i].stops[-1].place[1])
    heights: list[float] = []
    for i in order:
        wanted = curves[i].stops[-1].place[1] + 4
        heights.append(max(wanted, heights[-1] + _LINE) if heights else max(wanted, TOP + 8.0))
    if heights[-1] > BOTTOM:  # from below, what was pushed out of the figure
        for k in range(len(heights) - 1, -1, -1):
            limit = BOTTOM if k == len(heights) - 1 else heights[k + 1] - _LINE
            heights[k] = min(heights[k], limit)
    placed = {}
    for i, height in zip(order, heights, strict=True):
        x, y = curves[i].stops[-1].place
        leader = f"M{x + 7:g} {y}L{right + 4:g} {round(height - 4, 1)}"
        placed[i] = (right + 8, round(height, 1), leader)
    return tuple(replace(each, label=placed.get(i, each.label)) for i, each in enumerate(curves))


def _spread(marks: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """The marks of an axis that have room beside each other, the last one in any case."""
    kept: list[tuple[float, str]] = []
    for x, text in reversed(marks):
        if not kept or kept[-1][0] - x >= _LETTER * (len(text) + 1):
            kept.append((x, text))
    return tuple(reversed(kept))
