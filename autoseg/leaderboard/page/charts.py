"""Geometry of the page's figures: axes, dots, lines and Pareto fronts as SVG attributes.

Figures that share rows with a table are drawn in a box 1000 units wide which the browser stretches to the
cell; only strokes are used there, because strokes keep their width when the box is stretched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autoseg.drawing.axes import ROW_HEIGHT, Axis, ticks
from autoseg.leaderboard.quantities import Quantity
from autoseg.leaderboard.ranking.comparable import Floats


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


def segment(axis: Axis, low: float, high: float, y: float = ROW_HEIGHT / 2) -> str:
    """A horizontal line between two values."""
    return f"M{axis.position(low):.1f} {y:g}H{axis.position(high):.1f}"


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
