"""What a pilot decides, against the truth: a walk with a pilot, and the dimension that it left.

    python benchmarks/bench_pilot.py --workspace FOLDER [--minutes 40] [--phantoms 23] [--only Thick]

nnunet is planned and trained on fold 0 with a budget that allows a pilot, of data that leave 2D or 3D open;
then in the other dimension with the wall clock that the pilot had left. The regret is the Dice that the
decision lost. What is done in the workspace stays done, so that the other run can be begun beside the first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _ambiguous import write_ambiguous
from _machine import machine, write_results

from autoseg.leaderboard.records import Record, load_records
from autoseg.statistics import mean_intervals, resample

BOTH = ("2d", "3d_fullres")
REAL = ("Dataset030_MSLesion",)


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "numpy", "SimpleITK"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=40.0, help="of the walk with a pilot")
    parser.add_argument("--only", default="Thick", help="parts of the data sets' names, with commas")
    parser.add_argument("--phantoms", type=int, default=23, help="seed of the phantoms")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    place = options.workspace.absolute()
    folders = write_ambiguous(place / f"phantoms_{options.phantoms}", seed=options.phantoms)
    folders += [Path(options.data) / name for name in REAL]
    found = [
        _one(folder, place, options)
        for folder in folders
        if any(part in folder.name for part in options.only.split(","))
    ]
    write_results("pilot", where, found, _report(found, options.minutes))


def _one(folder: Path, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    _walk(folder, place / "decided", options, f"{options.minutes:g}m")
    (record,) = load_records(place / "decided" / "results" / folder.name)
    (decision,) = (
        each
        for plan in (place / "decided" / "results" / folder.name).rglob("plans.json")
        for each in json.loads(plan.read_text(encoding="utf-8"))["autoseg"]["decisions"]
        if each["name"] == "dimension"
    )
    other = BOTH[1 - BOTH.index(str(record.configuration))]
    _walk(folder, place / other, options, f"{record.cost.budget_s:g}s", other)
    (truth,) = load_records(place / other / "results" / folder.name)
    gain = _dice(truth) - _dice(record)
    interval = None
    if len(gain) > 1:
        groups = record.scores.groups
        (mean,) = mean_intervals(gain[np.newaxis], resample(len(gain), groups), groups)
        interval = [mean.low, mean.high]
    return {
        "dataset": folder.name,
        "pilot": {name: decision["inputs"].get(name) for name in ("pilot_dice", "p", "seconds_each", "fold")},
        "decided": record.configuration,
        "rule": decision["rule"],
        "run_s": record.cost.budget_s,
        "dice": {str(each.configuration): float(_dice(each).mean()) for each in (record, truth)},
        "steps": {str(each.configuration): each.cost.training_steps for each in (record, truth)},
        "other_less_decided": float(gain.mean()),
        "interval": interval,
        "regret": max(float(gain.mean()), 0.0),
    }


def _dice(record: Record) -> Any:
    return record.scores.case_scores("dice")


def _walk(folder: Path, place: Path, options: argparse.Namespace, budget: str, dimension: str = "") -> None:
    command = ["plan-and-train", str(folder), "--trainers", "nnunet", "--folds", "0", "--budget", budget]
    command += ["--device", options.device, "--workspace", str(place)]
    command += ["--configuration", dimension] if dimension else []
    subprocess.run([sys.executable, "-m", "autoseg", *command], check=True, stdout=subprocess.DEVNULL)


def _report(found: list[dict[str, Any]], minutes: float) -> str:
    lines = [
        "# 2D or 3D by a pilot: the decision against the truth",
        "",
        f"nnunet, fold 0, {minutes:g} minutes with the pilot; the other dimension got what the pilot left.",
        "The interval is of the mean paired difference over held-out cases.",
        "",
        "| data set | pilot Dice (2D, 3D) | p | decided | run | Dice 2D (steps) | Dice 3D (steps) "
        "| other - decided | regret |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        pilot = row["pilot"]["pilot_dice"] or {}
        seen = ", ".join(f"{pilot[name]:.3f}" for name in BOTH if name in pilot) or "none"
        p = "" if row["pilot"]["p"] is None else f"{row['pilot']['p']:.3f}"
        scores = " | ".join(f"{row['dice'][name]:.3f} ({row['steps'][name]})" for name in BOTH)
        interval = "one case" if row["interval"] is None else "[{:+.3f}, {:+.3f}]".format(*row["interval"])
        lines.append(
            f"| {row['dataset']} | {seen} | {p} | {row['decided']} | {row['run_s']:.0f} s | {scores} "
            f"| {row['other_less_decided']:+.3f} {interval} | {row['regret']:.3f} |"
        )
    return "\n".join([*lines, "", *(f"- {row['dataset']}: {row['rule']}." for row in found)])


if __name__ == "__main__":
    main()
