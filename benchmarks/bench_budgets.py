"""Is a budget kept, and does more time help? Dice over budgets, with stock nnU-Net at the same wall clock.

    python benchmarks/bench_budgets.py --data FOLDER [--workspace FOLDER] [--minutes 2,5,10,20]

One plan-and-train for each data set and budget, fold 0, one seed; what is done in the workspace stays done.
A fall in Dice from one budget to the next counts where the 95 % interval of the paired difference, over
held-out cases (exams where the data have them), lies below zero.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine, write_results

from autoseg.leaderboard.records import Record, load_records
from autoseg.statistics import mean_intervals, resample

STOCK = "nnunet:stock=true"
# nnU-Net, a documented system in its own dimension, and one more.
TRAINERS: dict[str, tuple[str, ...]] = {
    "Dataset004_Hippocampus": ("nnunet", "brainunet", "resnet34_mlp", STOCK),
    "Dataset018_FetalHead": ("nnunet", "mobilenetv2_unet", "resnet34_mlp", STOCK),
}
KEPT = 0.05


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "numpy", "SimpleITK"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", help="one folder per data set is made in it; default: a temporary one")
    parser.add_argument("--minutes", default="2,5,10,20", help="of each row, with commas")
    parser.add_argument("--only", default=",".join(TRAINERS), help="data sets, with commas")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    place = Path(options.workspace or tempfile.mkdtemp(prefix="bench_budgets_"))
    minutes = sorted(float(each) for each in options.minutes.split(","))
    names = [name for name in TRAINERS if any(part in name for part in options.only.split(","))]
    results = {}
    for name in names:
        for budget in minutes:
            _walk(Path(options.data) / name, TRAINERS[name], budget, place / name, options.device)
        results[name] = _curves(load_records(place / name / "results"), minutes)
        text = _report(results)
        write_results("budgets", where, results, text)
    print(text)


def _walk(data: Path, trainers: Sequence[str], minutes: float, workspace: Path, device: str) -> None:
    command = ["plan-and-train", str(data), "--trainers", ",".join(trainers), "--folds", "0"]
    command += ["--budget", f"{minutes * len(trainers):g}m", "--device", device]
    subprocess.run(
        [sys.executable, "-m", "autoseg", *command, "--workspace", str(workspace)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _curves(records: Sequence[Record], minutes: Sequence[float]) -> dict[str, list[dict[str, Any]]]:
    """By trainer: one point for each budget, the first budget first."""
    found: dict[str, dict[float, Record]] = {}
    for record in records:
        budget = round((record.cost.budget_s or 0) / 60, 3)
        found.setdefault(_label(record), {})[budget] = record
    return {
        trainer: _points([by_budget[each] for each in minutes if each in by_budget])
        for trainer, by_budget in found.items()
    }


def _label(record: Record) -> str:
    return ":".join([record.trainer, *(f"{key}={value}" for key, value in record.options.items())]).lower()


def _points(records: Sequence[Record]) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    before = None
    for record in records:
        dice, cost = record.scores.case_scores("dice"), record.cost
        groups = record.scores.groups
        low, high = _interval(dice, groups)
        assert cost.budget_s is not None and cost.train_s is not None
        point = {
            "budget_s": cost.budget_s,
            "wall_clock_s": cost.train_s,
            "off": cost.train_s / cost.budget_s - 1,
            "steps": cost.training_steps,
            "dice": float(dice.mean()),
            "dice_ci": [low, high],
            "configuration": record.configuration,
            "changes": list(record.changes),
            "status": record.status,
            "commit": record.code_version,
            "dirty": record.code_dirty,
        }
        if before is not None:
            point["gain"] = float((dice - before).mean())
            point["gain_ci"] = list(_interval(dice - before, groups))
        points.append(point)
        before = dice
    return points


def _interval(values: Any, groups: Sequence[str] | None) -> tuple[float, float]:
    (found,) = mean_intervals(values[np.newaxis], resample(len(values), groups), groups)
    return found.low, found.high


def _report(results: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> str:
    lines = [
        "# Budgets: kept, and what more time buys",
        "",
        "Fold 0 of five, one seed. The wall clock is from the first training step to the held-out",
        "predictions. The gain is over the next smaller budget, paired by case, with its 95 % interval.",
    ]
    for dataset, curves in results.items():
        lines += ["", f"## {dataset}", ""]
        lines += ["| trainer | budget | wall clock | off | steps | Dice | gain | what the budget changed |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        lines += [_line(name, point) for name, points in curves.items() for point in points]
        lines += ["", *_verdict(curves)]
    return "\n".join(lines)


def _line(name: str, point: Mapping[str, Any]) -> str:
    gain = ""
    if "gain" in point:
        gain = "{:+.3f} [{:+.3f}, {:+.3f}]".format(point["gain"], *point["gain_ci"])
    dice = "{:.3f} [{:.3f}, {:.3f}]".format(point["dice"], *point["dice_ci"])
    told = "" if point["status"] == "ok" else f" ({point['status']})"
    clock = f"{point['wall_clock_s']:.0f} s | {point['off']:+.1%}"
    return (
        f"| {name} ({point['configuration']}) | {point['budget_s'] / 60:g} min | {clock}"
        f" | {point['steps']} | {dice}{told} | {gain} "
        f"| {', '.join(point['changes']) or 'nothing'} |"
    )


def _verdict(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    everything = [(name, point) for name, points in curves.items() for point in points]
    missed = [f"{name} at {p['budget_s'] / 60:g} min" for name, p in everything if abs(p["off"]) > KEPT]
    fell = [
        f"{name} at {p['budget_s'] / 60:g} min"
        for name, p in everything
        if "gain_ci" in p and p["gain_ci"][1] < 0
    ]
    return [
        f"Kept within {KEPT:.0%}: {len(everything) - len(missed)} of {len(everything)}"
        + (f" (not: {', '.join(missed)})." if missed else "."),
        "Dice falls beyond its interval: " + (", ".join(fell) if fell else "nowhere") + ".",
    ]


if __name__ == "__main__":
    main()
