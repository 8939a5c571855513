"""Scores of two arms over numbers of training cases: intervals over cases and seeds, table and picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.leaderboard.statistics import CONFIDENCE, holm, resample, wilcoxon

Floats = NDArray[np.float64]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 700, 400, 64, 200, 36, 52
COLOURS = ("#0b6e99", "#c4501b", "#6b6b6b")


def interval(scores: Floats) -> tuple[float, float]:
    """Percentile interval of the mean, cases and seeds drawn again together.

    Args:
        scores: shape (seeds, cases). Of one seed, cases alone are drawn. With three seeds their spread is
            known roughly at best.
    """
    seeds, cases = scores.shape
    of_cases, of_seeds = resample(cases, seed=0), resample(seeds, seed=1)
    means = np.einsum("rs,sc,rc->r", of_seeds, scores, of_cases, optimize=True)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def summarise(scores: Mapping[int, Mapping[str, Floats]], arms: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each number of cases: mean and interval of both arms, and of their paired difference.

    Args:
        scores: by number of cases and arm, shape (seeds, cases): the same held-out cases and the same seeds
            in the same order.
        arms: the two, the difference is the first minus the second.

    Returns:
        Rows with Wilcoxon's signed-rank test over held-out cases (each the mean over its seeds), after Holm
        over the rows.
    """
    rows: list[dict[str, Any]] = []
    for size, both in sorted(scores.items()):
        difference = both[arms[0]] - both[arms[1]]
        row = {"cases": size, "seeds": int(difference.shape[0]), "held_out": int(difference.shape[1])}
        row |= {arm: _told(both[arm]) for arm in arms}
        row["difference"] = _told(difference)
        row["p"] = float(wilcoxon(difference.mean(axis=0, keepdims=True))[0])
        rows.append(row)
    for row, p in zip(rows, holm(np.array([row["p"] for row in rows])), strict=True):
        row["p_holm"] = float(p)
    return rows


def _told(scores: Floats) -> dict[str, Any]:
    return {
        "mean": float(scores.mean()),
        "interval": interval(scores),
        "by_seed": [float(n) for n in scores.mean(axis=1)],
    }


def table(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> str:
    """The rows as a Markdown table."""
    lines = [
        f"| cases | {arms[0]} | {arms[1]} | difference | p (Holm) | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [_cell(row[key]) for key in (*arms, "difference")]
        lines.append(f"| {row['cases']} | {' | '.join(cells)} | {row['p_holm']:.2g} | {row['seeds']} |")
    return "\n".join(lines)


def _cell(entry: Mapping[str, Any]) -> str:
    low, high = entry["interval"]
    return f"{entry['mean']:.3f} [{low:.3f}, {high:.3f}]"


def picture(
    rows: Sequence[Mapping[str, Any]],
    arms: Sequence[str],
    unchanged: Mapping[str, Any] | None,
    axis: str = "cases of the second stage",
) -> str:
    """Dice against the number of cases, as SVG: means, intervals, and a dot for each seed.

    Args:
        rows: from `summarise`.
        arms: the two.
        unchanged: mean and interval of the first stage as it came; a horizontal line. None: no line.
        axis: what the numbers of cases count.
    """
    everything = [n for row in rows for arm in arms for n in (*row[arm]["interval"], *row[arm]["by_seed"])]
    everything += list(unchanged["interval"]) if unchanged else []
    step = 0.05 if max(everything) - min(everything) < 0.4 else 0.1
    low, high = np.floor(min(everything) / step) * step, np.ceil(max(everything) / step) * step

    def x(index: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (index + 0.5) / len(rows)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for value in np.arange(low, high + step / 2, step):
        parts.append(_line(LEFT, y(value), WIDTH - RIGHT, y(value), "#dddddd"))
        parts.append(_text(LEFT - 8, y(value) + 4, f"{value:.2f}", "end"))
    for index, row in enumerate(rows):
        parts.append(_text(x(index), HEIGHT - BOTTOM + 20, str(row["cases"]), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, axis, "middle"))
    parts.append(_text(LEFT - 8, TOP - 18, "Dice", "end"))
    names: list[tuple[float, str, str]] = []
    if unchanged:
        level = y(unchanged["mean"])
        parts.append(_line(LEFT, level, WIDTH - RIGHT, level, COLOURS[2], dashed=True))
        names.append((level, "first stage as it is", COLOURS[2]))
    for arm, colour, shift in zip(arms, COLOURS, (-0.04, 0.04), strict=False):
        points = [(x(index + shift), row[arm]) for index, row in enumerate(rows)]
        path = " ".join(f"{a:.1f},{y(entry['mean']):.1f}" for a, entry in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for a, entry in points:
            ends = [y(n) for n in entry["interval"]]
            parts.append(_line(a, ends[0], a, ends[1], colour))
            parts.append(f'<circle cx="{a:.1f}" cy="{y(entry["mean"]):.1f}" r="4" fill="{colour}"/>')
            parts += [
                f'<circle cx="{a:.1f}" cy="{y(n):.1f}" r="2" fill="none" stroke="{colour}"/>'
                for n in entry["by_seed"]
            ]
        names.append((y(points[-1][1]["mean"]), arm, colour))
    parts += [_text(WIDTH - RIGHT + 8, at + 4, name, "start", colour) for at, name, colour in _apart(names)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _apart(names: Sequence[tuple[float, str, str]], gap: float = 16.0) -> list[tuple[float, str, str]]:
    """Names moved down until none lies on another."""
    placed: list[tuple[float, str, str]] = []
    for at, name, colour in sorted(names):
        placed.append((max(at, placed[-1][0] + gap) if placed else at, name, colour))
    return placed


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dash}/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'
