"""Lines over a common axis, as SVG paths: for the course of something, such as a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoseg.drawing.axes import ticks

Points = Sequence[tuple[float, float]]

# Points of a line that are drawn at most: more are closer together than pixels.
MOST_POINTS = 200


@dataclass(frozen=True)
class Curves:
    """A figure of lines.

    Attributes:
        paths: SVG path data of each line, in the order given; empty for a line without points.
        x_ticks, y_ticks: position and text.
    """

    paths: tuple[str, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def draw_curves(
    lines: Sequence[Points],
    left: float,
    right: float,
    top: float,
    bottom: float,
    y_range: tuple[float, float] | None = None,
) -> Curves:
    """Lines that share both axes, in a box.

    Args:
        lines: points (x, y) of each; those with a value that is not finite are left out.
        left, right, top, bottom: the box, in units of the figure.
        y_range: lowest and highest y; None: those of the lines.
    """
    finite = [[point for point in line if all(map(math.isfinite, point))] for line in lines]
    xs = [x for line in finite for x, _ in line] or [0.0]
    ys = [y for line in finite for _, y in line] or [0.0]
    (x_low, x_high), (y_low, y_high) = _range(min(xs), max(xs)), y_range or _range(min(ys), max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        part_x, part_y = (x - x_low) / (x_high - x_low), (y - y_low) / (y_high - y_low)
        part_y = min(1.0, max(0.0, part_y))
        return round(left + part_x * (right - left), 1), round(bottom - part_y * (bottom - top), 1)

    return Curves(
        tuple(_path([place(*point) for point in thinned(line)]) for line in finite),
        tuple((place(x, y_low)[0], f"{x:.6g}") for x in ticks(x_low, x_high, 4)),
        tuple((place(x_low, y)[1], f"{y:.4g}") for y in ticks(y_low, y_high, 4)),
    )


def _range(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def thinned(line: Points) -> Points:
    """At most `MOST_POINTS` points, the last one in any case."""
    step = math.ceil(len(line) / MOST_POINTS)
    return line if step <= 1 else [*line[:-1:step], line[-1]]


def _path(places: Sequence[tuple[float, float]]) -> str:
    if len(places) == 1:  # a dot, by round ends
        return f"M{places[0][0]:g} {places[0][1]:g}h0"
    return "".join(f"{'L' if i else 'M'}{x:g} {y:g}" for i, (x, y) in enumerate(places))
