"""Is a budget kept, and does more time help? Dice over budgets, with stock nnU-Net at the same wall clock.

    python benchmarks/bench_budgets.py --data FOLDER --only Hippocampus [--workspace FOLDER]

One plan-and-train for each data set, trainer and budget: fold 0, one seed. Every row is written when it is
there, and rows that the results file of a data set has are not run again, in whatever workspace: the whole is
hours, and may be done in parts. To use two cores, start one process for each data set, pinned to its core.
A fall in Dice from one budget to the next counts where the 95 % interval of the paired difference, over
held-out cases (exams where the data have them), lies below zero.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _machine import RESULTS, machine, write_results

from autoseg.leaderboard.records.files import Record, load_records
from autoseg.leaderboard.statistics import mean_intervals, resample

STOCK = "nnunet:stock=true"
# nnU-Net, a documented system in its own dimension, and one more.
TRAINERS: dict[str, tuple[str, ...]] = {
    "Dataset004_Hippocampus": ("nnunet", "brainunet", "resnet34_mlp", STOCK),
    "Dataset018_FetalHead": ("nnunet", "mobilenetv2_unet", "resnet34_mlp", STOCK),
}
KEPT = 0.05
Rows = dict[str, dict[str, Any]]


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
    # The shortest first, so that what is there early is a curve of every trainer.
    minutes = sorted(float(each) for each in options.minutes.split(","))
    for name in (name for name in TRAINERS if any(part in name for part in options.only.split(","))):
        results = f"budgets_{name.partition('_')[2].lower()}"
        rows = _known(RESULTS / f"{results}.json")
        for budget in minutes:
            for trainer in TRAINERS[name]:
                if (key := f"{trainer} {budget:g}") not in rows:
                    rows[key] = _row(Path(options.data) / name, trainer, budget, place / name, options.device)
                    write_results(results, where, rows, _report(name, rows))
        print(_report(name, rows))


def _known(path: Path) -> Rows:
    """The rows of an earlier run."""
    if not path.is_file():
        return {}
    rows: Rows = json.loads(path.read_text(encoding="utf-8"))["results"]
    return rows


def _row(data: Path, trainer: str, minutes: float, workspace: Path, device: str) -> dict[str, Any]:
    command = [
        "plan-and-train",
        str(data),
        "--trainers",
        trainer,
        "--folds",
        "0",
        "--budget",
        f"{minutes:g}m",
    ]
    subprocess.run(
        [sys.executable, "-m", "autoseg", *command, "--device", device, "--workspace", str(workspace)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (record,) = (
        record
        for record in load_records(workspace / "results")
        if _label(record) == trainer and record.cost.budget_s == 60 * minutes
    )
    cost, scores = record.cost, record.scores
    assert cost.budget_s is not None and cost.train_s is not None
    return {
        "trainer": trainer,
        "budget_s": cost.budget_s,
        "wall_clock_s": cost.train_s,
        "off": cost.train_s / cost.budget_s - 1,
        "steps": cost.training_steps,
        "configuration": record.configuration,
        "changes": list(record.changes),
        "status": record.status,
        "commit": record.code_version,
        "dirty": record.code_dirty,
        "cases": list(scores.cases),
        "case_dice": [float(value) for value in scores.case_scores("dice")],
        "groups": list(scores.groups) if scores.groups else None,
    }


def _curves(rows: Rows) -> dict[str, list[dict[str, Any]]]:
    """By trainer: one point for each budget, the shortest first, with what it gained on the one before."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows.values(), key=lambda row: float(row["budget_s"])):
        points = curves.setdefault(row["trainer"], [])
        dice, groups = np.array(row["case_dice"]), row["groups"]
        point = {**row, "dice": float(dice.mean()), "dice_ci": _interval(dice, groups)}
        if points:
            gained = dice - np.array(points[-1]["case_dice"])
            point |= {"gain": float(gained.mean()), "gain_ci": _interval(gained, groups)}
        points.append(point)
    return curves


def _label(record: Record) -> str:
    return ":".join([record.trainer, *(f"{key}={value}" for key, value in record.options.items())]).lower()


def _interval(values: Any, groups: Sequence[str] | None) -> tuple[float, float]:
    (found,) = mean_intervals(values[np.newaxis], resample(len(values), groups), groups)
    return found.low, found.high


def _report(dataset: str, rows: Rows) -> str:
    curves = _curves(rows)
    lines = [
        f"# Budgets on {dataset}: kept, and what more time buys",
        "",
        "Fold 0 of five, one seed. The wall clock is from the first training step to the held-out",
        "predictions. The gain is over the next smaller budget, paired by case, with its 95 % interval.",
        "Each row's commit stands in the JSON file.",
        "",
        "| trainer | budget | wall clock | off | steps | Dice | gain | what the budget changed |",
        "|---|---|---|---|---|---|---|---|",
        *(_line(name, point) for name, points in curves.items() for point in points),
        "",
        *_verdict(curves),
    ]
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
    """What holds of autoseg's rows, and of the peer's."""
    ours = {name: points for name, points in curves.items() if name != STOCK}
    theirs = {name: points for name, points in curves.items() if name == STOCK}
    sides = (
        ("autoseg", ours),
        ("stock nnU-Net, which begins no step that would pass the budget by far", theirs),
    )
    return [_held(side, found) for side, found in sides if found]


def _held(side: str, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    everything = [(name, point) for name, points in curves.items() for point in points]
    missed = [
        f"{name} at {p['budget_s'] / 60:g} min by {p['off']:+.1%}"
        for name, p in everything
        if abs(p["off"]) > KEPT
    ]
    fell = [
        f"{name} at {p['budget_s'] / 60:g} min"
        for name, p in everything
        if "gain_ci" in p and p["gain_ci"][1] < 0
    ]
    return (
        f"- {side}: kept within {KEPT:.0%}: {len(everything) - len(missed)} of {len(everything)}"
        + (f" (not {', '.join(missed)})" if missed else "")
        + f". Dice falls beyond its interval: {', '.join(fell) or 'nowhere'}."
    )


if __name__ == "__main__":
    main()
