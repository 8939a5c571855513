"""Quality against cost: one small figure per cost, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoseg.drawing.axes import ticks
from autoseg.leaderboard.page.charts import pareto
from autoseg.leaderboard.page.colours import Look, look
from autoseg.leaderboard.ranking.ranking import RankedSet
from autoseg.leaderboard.table import count_words, duration_words

WIDTH, HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 404, 16, 252
_LETTER, _LINE = 7.4, 13.0
# A name of which more than this part lies on something else cannot be read.
_COVERED = 0.25
_SECONDS = [step * 10.0**power for power in range(-4, 1) for step in (1, 2, 5)] + [10, 20, 30]
_DURATIONS = [*_SECONDS, *(60.0 * m for m in (1, 2, 5, 10, 20, 30)), *(3600.0 * 2**k for k in range(12))]
_COUNTS = [step * 10.0**power for power in range(2, 10) for step in (1, 2, 5)]
_Place = Callable[[float], float]

# Name of the cost, what the axis says, which words its ticks use.
COSTS = (
    ("inference_s_per_case", "Inference time per case", "duration"),
    ("train_s", "Training time per run", "duration"),
    ("parameters", "Parameters", "count"),
)


@dataclass(frozen=True)
class Point:
    """A row in the figure: where it lies, what it is called and where its name stands, if there is room."""

    name: str
    number: int
    look: Look
    place: tuple[float, float]
    on_front: bool
    label: tuple[float, float, str] | None
    words: str


@dataclass(frozen=True)
class Scatter:
    """One figure.

    Attributes:
        title: what the horizontal axis is.
        points: one per row that has this cost.
        front: the Pareto front as a staircase path.
        front_names: who is on it, from the cheapest to the best.
        x_ticks, y_ticks: position and text.
    """

    title: str
    points: tuple[Point, ...]
    front: str
    front_names: tuple[str, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]

    @property
    def is_crowded(self) -> bool:
        """Whether some points have no name beside them."""
        return any(point.label is None for point in self.points)


def scatters(item: RankedSet, numbers: dict[str, int]) -> tuple[Scatter, ...]:
    """A figure for each cost that at least two rows have measured."""
    found = (_scatter(item, numbers, *cost) for cost in COSTS)
    return tuple(figure for figure in found if figure is not None)


def _scatter(item: RankedSet, numbers: dict[str, int], cost: str, title: str, words: str) -> Scatter | None:
    quantity = item.analysis.quantity
    rows = [row for row in item.rows if row.cost(cost)]
    if len(rows) < 2:
        return None
    costs = [float(row.cost(cost) or 0.0) for row in rows]
    values = [row.means[quantity.name] for row in rows]
    say = duration_words if words == "duration" else count_words
    x_of, x_ticks = _log_axis(costs, _DURATIONS if words == "duration" else _COUNTS)
    y_of, y_ticks = _linear_axis(values, bool(quantity.higher_is_better))
    places = [(x_of(x), y_of(y)) for x, y in zip(costs, values, strict=True)]
    front = pareto(costs, values, bool(quantity.higher_is_better))
    stairs = [places[i] for i in front]
    labels = _labels([row.name for row in rows], places, front, _stair_boxes(stairs))
    points = tuple(
        Point(
            row.name,
            numbers[row.name],
            look(numbers[row.name]),
            places[i],
            i in front,
            labels[i],
            f"{quantity.text(values[i])} at {say(costs[i])}",
        )
        for i, row in enumerate(rows)
    )
    return Scatter(
        title,
        points,
        _staircase(stairs),
        tuple(rows[i].name for i in front),
        tuple((x_of(tick), say(tick).replace(".0 ", " ")) for tick in x_ticks),
        tuple((y_of(tick), f"{tick:g}") for tick in y_ticks),
    )


def _log_axis(values: Sequence[float], marks: Sequence[float]) -> tuple[_Place, list[float]]:
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = max(0.12 * (high - low), 0.12)
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        return round(_LEFT + (math.log10(value) - low) / (high - low) * (_RIGHT - _LEFT), 1)

    inside = [mark for mark in marks if low <= math.log10(mark) <= high]
    # At most six: every second or third of the round values, where there are more.
    return place, inside[:: max(1, math.ceil(len(inside) / 6))]


def _linear_axis(values: Sequence[float], up: bool) -> tuple[_Place, tuple[float, ...]]:
    low, high = min(values), max(values)
    margin = max(0.12 * (high - low), 1e-3)
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        part = (value - low) / (high - low)
        # Better is always up: distances grow downwards.
        return round(_BOTTOM - (part if up else 1 - part) * (_BOTTOM - _TOP), 1)

    return place, ticks(low, high, 4)


def _staircase(places: Sequence[tuple[float, float]]) -> str:
    if not places:
        return ""
    path = f"M{places[0][0]} {_BOTTOM}V{places[0][1]}"
    for x, y in places[1:]:
        path += f"H{x}V{y}"
    return path + f"H{_RIGHT}"


def _stair_boxes(stairs: Sequence[tuple[float, float]]) -> list[tuple[float, float, float, float]]:
    """The front's lines as thin boxes, for names to keep clear of."""
    ends = [*stairs[1:], (float(_RIGHT), 0.0)]
    flat = [(x, y - 4, next_x, y + 4) for (x, y), (next_x, _) in zip(stairs, ends, strict=True)]
    upright = [
        (x - 4, y, x + 4, before)
        for (x, y), (_, before) in zip(stairs, [(0, _BOTTOM), *stairs], strict=False)
    ]
    return [*flat, *upright]


def _labels(
    names: Sequence[str],
    places: Sequence[tuple[float, float]],
    front: Sequence[int],
    stairs: Sequence[tuple[float, float, float, float]],
) -> list[tuple[float, float, str] | None]:
    """Put each name beside its point where it covers nothing yet; those on the front choose first.

    But for the cheapest and the best, a name that finds no room is left to the point's tooltip.
    """
    taken = [*((x - 7, y - 7, x + 7, y + 7) for x, y in places), *stairs]
    chosen: dict[int, tuple[float, float, str] | None] = {}
    for i in (*front, *(i for i in range(len(names)) if i not in front)):
        x, y = places[i]
        width = _LETTER * len(names[i])
        options = (
            (x + 10, y + 4, "start"),
            (x - 10, y + 4, "end"),
            (x, y - 11, "middle"),
            (x, y + 19, "middle"),
            (x + 8, y - 9, "start"),
            (x - 8, y - 9, "end"),
            (x + 8, y + 17, "start"),
            (x - 8, y + 17, "end"),
        )
        scored = [(_overlap(_box(option, width), taken), rank) for rank, option in enumerate(options)]
        overlap, rank = min(scored)
        if i not in (*front[:1], *front[-1:]) and overlap > _COVERED * width * _LINE:
            chosen[i] = None
            continue
        chosen[i] = options[rank]
        taken.append(_box(options[rank], width))
    return [chosen[i] for i in range(len(names))]


def _box(option: tuple[float, float, str], width: float) -> tuple[float, float, float, float]:
    x, y, anchor = option
    left = {"start": x, "end": x - width, "middle": x - width / 2}[anchor]
    return left, y - _LINE + 3, left + width, y + 3


def _overlap(box: tuple[float, float, float, float], taken: Sequence[tuple[float, ...]]) -> float:
    """Area shared with what is there, and a high price for leaving the figure."""
    left, top, right, bottom = box
    area = sum(
        max(0.0, min(right, other[2]) - max(left, other[0]))
        * max(0.0, min(bottom, other[3]) - max(top, other[1]))
        for other in taken
    )
    outside = max(0.0, _LEFT - left) + max(0.0, right - WIDTH) + max(0.0, -top) + max(0.0, bottom - _BOTTOM)
    return round(area + 100 * outside, 1)
