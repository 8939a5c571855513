"""What a smaller patch costs: trainings of equal steps in patches of different size, otherwise the same.

    OMP_NUM_THREADS=1 python benchmarks/bench_patch_share.py --data FOLDER --workspace FOLDER
        [--only Nuclei] [--shares 1 0.5 0.25] [--steps 1500] [--seeds 0 1] [--fold 1]

Lengths are in steps, so that a busy machine changes nothing. What stands in the results file is not run
again. The planner's law (`autoseg.planner.learning.patch_loss`) is fitted to these.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from _machine import RESULTS, commit, machine, write_results
from _short_runs import IDEAS, SHAPES, Bench, measure

from autoseg.leaderboard.statistics import mean_intervals, resample
from autoseg.planner.learning import patch_loss
from autoseg.system.device import float32_only

NAME = "patch_share"
IDEA = "rate 0.003"  # what a short training is today
Rows = Mapping[str, Mapping[str, Any]]


def main() -> None:
    """Train what is missing and write the table."""
    where = machine(packages=("torch", "nnunetv2"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("AUTOSEG_TEST_DATA", ".")))
    parser.add_argument("--workspace", type=Path, default=Path("patch_share_workspace"))
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the data sets' names")
    parser.add_argument("--shares", nargs="*", type=float, default=[1.0, 0.5, 0.25])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--fold", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    for name in SHAPES if not options.report else ():
        if not any(part in name for part in options.only):
            continue
        for share in options.shares:
            bench = None
            for seed in options.seeds:
                key = f"{name} | {share:g} | {options.steps} steps | fold {options.fold} | seed {seed}"
                if key in _known():
                    continue
                if bench is None:
                    bench = Bench.of(name, options.data.absolute(), options.workspace.absolute(), share)
                with float32_only():
                    found = measure(bench, IDEAS[IDEA], options.steps, seed, options.fold, 0)
                groups = bench.prepared.dataset.groups
                row = {
                    "dataset": name,
                    "share": share,
                    "steps": options.steps,
                    "fold": options.fold,
                    "seed": seed,
                    "shape": bench.shape,
                    **bench.facts,
                    "commit": commit(),
                    "cases": found["cases"],
                    "groups": [groups[case] for case in found["cases"]] if groups else None,
                    "dice": found["dice"]["last"],
                    "step_cpu_s": found["step_cpu_s"],
                }
                rows = {**_known(), key: row}  # another process may have added some
                write_results(NAME, where, rows, report(rows))
                print(key, round(float(np.mean(row["dice"])), 4), f"{row['step_cpu_s']:.3f} s", flush=True)
    rows = _known()
    if options.report:  # where it was measured, not where it is written
        where = json.loads((RESULTS / f"{NAME}.json").read_text(encoding="utf-8"))["machine"]
    write_results(NAME, where, rows, report(rows))


def report(rows: Rows) -> str:
    """Markdown."""
    lines = [
        "# What a smaller patch costs",
        "",
        "nnunet of width 8 in float32 with a batch of 2, trained for equal steps with the same seeds in",
        "patches of different size. Dice is the mean over structures, then over held-out cases (of many",
        "every n-th), at the spacing of the training, without mirrored copies. Differences from the largest",
        "patch are paired over cases, seeds averaged, with 95 % intervals. CPU seconds of a step depend on",
        "what else the machine does. Fold 1, since other tables report fold 0; of Nuclei fold 0 was",
        "looked at as well, since it had lost where fold 1 had not, and the law's least part goes by it.",
        "",
        "| data set | steps, fold | share of the planned patch | patch | seen of the image | seeds | cases "
        "| CPU s a step | Dice | difference | the planner's law |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    places = dict.fromkeys((row["dataset"], row["steps"], row["fold"]) for row in rows.values())
    for place in sorted(places):
        mine = [row for row in rows.values() if (row["dataset"], row["steps"], row["fold"]) == place]
        shares = sorted({row["share"] for row in mine}, reverse=True)
        lines += [_line(mine, share, shares[0]) for share in shares]
    commits = ", ".join(sorted({f"`{row['commit']}`" for row in rows.values()}))
    return "\n".join([*lines, "", f"Commits: {commits}."])


def _line(rows: list[Mapping[str, Any]], share: float, largest: float) -> str:
    mine = {row["seed"]: row for row in rows if row["share"] == share}
    base = {row["seed"]: row for row in rows if row["share"] == largest}
    first = next(iter(mine.values()))
    dice = np.mean([np.mean(row["dice"]) for row in mine.values()])
    cost = np.mean([row["step_cpu_s"] for row in mine.values()])
    seeds = sorted(set(mine) & set(base))
    apart, law = "", ""
    if share != largest and seeds:
        each = np.mean([np.subtract(mine[seed]["dice"], base[seed]["dice"]) for seed in seeds], axis=0)
        (found,) = mean_intervals(each[np.newaxis], resample(len(each), first["groups"]), first["groups"])
        apart = f"{each.mean():+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        law = f"{-patch_loss(first['seen'], first['structures'], first['axes']):+.4f}"
    patch = first["shape"].split(",")[0]
    place = f"{first['dataset']} | {first['steps']}, {first['fold']} | {_words(share)} | {patch}"
    place += f" | {first['seen']:.2f}"
    return (
        f"| {place} | {len(mine)} | {len(first['cases'])} | {cost:.3f} | {dice:.4f} | "
        f"{apart or '-'} | {law or '-'} |"
    )


def _words(share: float) -> str:
    halvings = -math.log2(share)
    return str(Fraction(1, 2 ** round(halvings))) if halvings == round(halvings) else f"{share:g}"


def _known() -> dict[str, Any]:
    path = RESULTS / f"{NAME}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["results"]) if path.is_file() else {}


if __name__ == "__main__":
    main()
