"""Geometry of the page's figures: axes, dots, lines and Pareto fronts as SVG attributes.

Figures that share rows with a table are drawn in a box 1000 units wide which the browser stretches to the
cell; only strokes are used there, because strokes keep their width when the box is stretched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.leaderboard.comparable import Floats
from autoseg.leaderboard.quantities import Quantity

WIDTH = 1000.0
ZONE = 70.0
ROW_HEIGHT = 34.0


@dataclass(frozen=True)
class Axis:
    """A linear axis of `WIDTH` units; what lies beyond its worse end is gathered in a zone there.

    Attributes:
        low, high: the values at the two ends of the linear part.
        ticks: round values in between.
        zone: ``left``, ``right`` or empty: where the zone is.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    zone: str = ""

    def position(self, value: float) -> float:
        """Units from the left; clipped to the linear part."""
        left = ZONE if self.zone == "left" else 0.0
        right = WIDTH - (ZONE if self.zone == "right" else 0.0)
        part = (value - self.low) / (self.high - self.low)
        return left + min(1.0, max(0.0, part)) * (right - left)

    def beyond(self, value: float) -> bool:
        """Whether a value lies in the zone."""
        return (self.zone == "left" and value < self.low) or (self.zone == "right" and value > self.high)

    def percent(self, value: float) -> str:
        """`position` for CSS."""
        return f"{self.position(value) / WIDTH:.2%}"


def ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """Round values within a range, about so many."""
    span = high - low
    raw = span / max(1, about)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = min((m * magnitude for m in (1, 2, 5, 10)), key=lambda size: abs(size - raw))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(i * step, 10) for i in range(first, last + 1))


def score_axis(scores: Floats, quantity: Quantity) -> Axis:
    """An axis on which most cases spread out; the worst of them go to the zone.

    Args:
        scores: shape (rows, cases).
        quantity: says which end is the worse one.
    """
    if quantity.higher_is_better:
        high = math.ceil((float(scores.max()) + 0.005) * 20) / 20
        high = min(1.0, high) if quantity.worst == 0.0 else high
        low = float(np.quantile(scores, 0.04, axis=1).min())
        low = min(math.floor(low * 20) / 20, high - 0.1)
        low = 0.0 if low <= 0.25 else low
        return Axis(low, high, ticks(low, high), "left" if scores.min() < low else "")
    high = float(np.quantile(scores, 0.96, axis=1).max())
    step = ticks(0.0, max(high, 1e-6))
    width = step[1] - step[0] if len(step) > 1 else max(high, 1e-6)
    high = max(math.ceil(high / width) * width, width)
    return Axis(0.0, high, ticks(0.0, high), "right" if scores.max() > high else "")


def interval_axis(lows: Sequence[float], highs: Sequence[float]) -> Axis:
    """An axis that holds all intervals, with a margin."""
    low, high = min(lows), max(highs)
    margin = max(0.08 * (high - low), 1e-3)
    return Axis(low - margin, high + margin, ticks(low - margin, high + margin, 2))


def dots(values: Floats, axis: Axis, exact: bool = True) -> str:
    """One path with a dot per case, in the cases' order; the same case has the same height in each row."""
    order = np.arange(len(values))
    heights = 4.0 + (ROW_HEIGHT - 8.0) * ((order * 0.6180339887) % 1.0)
    across = np.array([_across(i, value, axis) for i, value in enumerate(values)])
    digits = 1 if exact else 0
    parts, x, y = [], 0.0, 0.0
    for new_x, new_y in zip(np.round(across, digits), np.round(heights, digits), strict=True):
        parts.append(f"m{_number(new_x - x, digits)} {_number(new_y - y, digits)}h0")
        x, y = new_x, new_y
    return "".join(parts)


def _across(i: int, value: float, axis: Axis) -> float:
    if not axis.beyond(value):
        return axis.position(value)
    inside = 12.0 + (ZONE - 24.0) * ((i * 0.7548776662) % 1.0)
    return inside if axis.zone == "left" else WIDTH - inside


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def segment(axis: Axis, low: float, high: float, y: float = ROW_HEIGHT / 2) -> str:
    """A horizontal line between two values."""
    return f"M{axis.position(low):.1f} {y:g}H{axis.position(high):.1f}"


def tick_mark(axis: Axis, value: float, half: float = 8.0, y: float = ROW_HEIGHT / 2) -> str:
    """A vertical line at a value."""
    return f"M{axis.position(value):.1f} {y - half:g}v{2 * half:g}"


def pareto(costs: Sequence[float], values: Sequence[float], higher_is_better: bool) -> list[int]:
    """Indices of the rows that no other row beats in both, from the cheapest to the best.

    A row is beaten by one that is at least as good and at most as dear, and better in one of the two.
    """
    sign = -1.0 if higher_is_better else 1.0
    front: list[int] = []
    best = math.inf
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], sign * values[i])):
        if sign * values[i] < best - 1e-12:
            front.append(i)
            best = sign * values[i]
    return front
