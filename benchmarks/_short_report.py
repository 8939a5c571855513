"""The tables of bench_short_runs: learning curves, and each idea beside today's short training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from _short_runs import IDEAS, TODAY

from autoseg.leaderboard.statistics import mean_intervals, resample

Rows = Mapping[str, Mapping[str, Any]]
# The weights that predict today.
LAST = "last"


def report(rows: Rows) -> str:
    """Markdown."""
    settings = dict.fromkeys((row["steps"], row["fold"]) for row in rows.values())
    lines = [
        "# What helps a short training",
        "",
        "nnunet in float32 in the shapes that `auto` takes for six minutes of a slow core; equal steps, the",
        "same seeds and batches. Dice is the mean over structures, then over held-out cases (of many every",
        "n-th), at the spacing of the training, without mirrored copies. Differences are paired over cases,",
        "seeds averaged, with 95 % intervals, against the last weights of what stands as a plain mean: SGD,",
        "or a short training as it was when this was begun (called today):",
        f"{_words(TODAY)}.",
        "",
        "The decay of a moving average (EMA) warms up as (1 + n) / (10 + n) after n steps, so that below 890",
        "steps the two are the same.",
    ]
    for steps, fold in settings:
        mine = [row for row in rows.values() if (row["steps"], row["fold"]) == (steps, fold)]
        role = "development" if fold == 0 else "a report: nothing was chosen on it"
        lines += [
            "",
            f"## {steps} steps, fold {fold} ({role})",
            "",
            *_shapes(mine),
            "",
            *_table(mine),
            *_curves(mine),
        ]
    return "\n".join([*lines, "", *_ideas(rows.values())])


def _words(hyperparameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in hyperparameters.items())


def _shapes(rows: list[Mapping[str, Any]]) -> list[str]:
    found = {row["dataset"]: row for row in rows}
    return [
        f"- {name}: {row['shape']}; {len(row['cases'])} cases; {row['step_cpu_s']:.3f} CPU s a step."
        for name, row in found.items()
    ]


def _table(rows: list[Mapping[str, Any]]) -> list[str]:
    sets = list(dict.fromkeys(row["dataset"] for row in rows))
    lines = [f"| idea | weights | {' | '.join(sets)} |", f"|---|---|{'---|' * len(sets)}"]
    for idea in dict.fromkeys(row["idea"] for row in rows):
        for kind in next(row for row in rows if row["idea"] == idea)["dice"]:
            cells = [_cell([row for row in rows if row["dataset"] == name], idea, kind) for name in sets]
            lines.append(f"| {idea} | {kind} | {' | '.join(cells)} |")
    return lines


def _base(rows: list[Mapping[str, Any]]) -> str:
    """What the others are compared with; at lengths that had SGD before, that."""
    return "today" if any(row["idea"] == "today" for row in rows) else "SGD"


def _cell(rows: list[Mapping[str, Any]], idea: str, kind: str) -> str:
    """Mean Dice, or the difference on the seeds that both have."""
    mine = {row["seed"]: row for row in rows if row["idea"] == idea}
    base = _base(rows)
    today = {row["seed"]: row for row in rows if row["idea"] == base}
    if not mine:
        return "-"
    if idea == base and kind == LAST:
        means = [float(np.mean(row["dice"][LAST])) for row in mine.values()]
        return f"{np.mean(means):.4f} ({len(means)} seeds)" if len(means) > 1 else f"{means[0]:.4f}"
    seeds = sorted(set(mine) & set(today))
    if not seeds:
        return "-"
    difference = np.mean(
        [np.subtract(mine[seed]["dice"][kind], today[seed]["dice"][LAST]) for seed in seeds], axis=0
    )
    groups = today[seeds[0]]["groups"]
    (found,) = mean_intervals(difference[np.newaxis], resample(len(difference), groups), groups)
    several = f", {len(seeds)} seeds" if len(seeds) > 1 else ""
    return f"{difference.mean():+.4f} [{found.low:+.4f}, {found.high:+.4f}]{several}"


def _curves(rows: list[Mapping[str, Any]]) -> list[str]:
    curves = [row for row in rows if row["curve"]]
    if not curves:
        return []
    lines = ["", "Learning curves (Dice of a few held-out cases; loss: mean since the look before):", ""]
    lines += ["| data set | idea | step | loss | last | EMA 0.99 |", "|---|---|---|---|---|---|"]
    for row in curves:
        lines += [
            f"| {row['dataset']} | {row['idea']} | {look['step']} | {look['loss']:.3f} | {look['last']:.3f} "
            f"| {look['EMA 0.99']:.3f} |"
            for look in row["curve"]
        ]
    return lines


def _ideas(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = list(rows)
    ran = [idea for idea in IDEAS if any(row["idea"] == idea for row in rows)]
    left = [idea for idea in IDEAS if idea not in ran]
    commits = ", ".join(sorted({f"`{row['commit']}`" for row in rows}))
    lines = [
        "## The ideas",
        "",
        *(f"- {idea}: {IDEAS[idea].words}." for idea in ran),
        "",
        f"Commits: {commits}.",
    ]
    return [*lines, f"Not run: {', '.join(left)}."] if left else lines
