"""Axes of figures: round ticks, a zone for the worst values, and dots along them, as SVG attributes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

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
