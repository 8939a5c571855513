"""Racing on paper: 100 data sets x 20 trainers on drawn learning curves, for each set of rules.

    python benchmarks/bench_race_paper.py

What the curves are drawn from is in `autoseg.racing.paper`; three kinds of field: as it stands there,
one whose trainers are all nearly as good, and one whose cases scatter more. Nothing is trained.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from _machine import machine, write_results
from _race_rules import RULES

from autoseg.racing.paper import Trainers, paper_calculation

DATASETS, TRAINERS = 100, 20
FIELDS = {
    "as usual": Trainers(),
    "all nearly as good": Trainers(spread=0.01),
    "cases scatter": Trainers(own=0.08),
}


def main() -> None:
    where = machine()
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    for name, rules in RULES.items():
        for field, kind in FIELDS.items():
            found = paper_calculation(DATASETS, TRAINERS, rules=rules, kind=kind)
            rows.append({"rules": name, "field": field, **asdict(found), "saved": found.saved})
    text = _report(rows, time.monotonic() - began)
    print(text)
    write_results("race_paper", where, rows, text)


def _report(rows: Sequence[dict[str, Any]], seconds: float) -> str:
    lines = [
        "# Racing on paper",
        "",
        f"{DATASETS} data sets x {TRAINERS} trainers x 5 folds of 12 h, 50 cases each; learning curves drawn",
        "at random, so that they cross. Lost: the truly best trainer was stopped. Lost by more: the winner",
        "is more than 0.01 Dice worse than the best one; beside it the same without a race, since the best",
        f"mean is not always the truly best. Given away: mean of the true Dice. It took {seconds:.0f} s.",
        "",
        "| rules | field | compute | of the matrix | best one lost | lost by more | without a race "
        "| given away | went to the end |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_line, rows)])


def _line(row: dict[str, Any]) -> str:
    return (
        f"| {row['rules']} | {row['field']} | {row['raced_hours']:,.0f} of {row['full_hours']:,.0f} h "
        f"| {1 - row['saved']:.0%} | {row['lost']:.0%} | {row['lost_more']:.0%} "
        f"| {row['unraced_lost_more']:.0%} | {row['regret']:.4f} | {row['survivors']:.1f} |"
    )


if __name__ == "__main__":
    main()
