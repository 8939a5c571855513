"""A whole walk with a pilot in it: what it decides, what the decision costs, whether it stays within its
time.

    python benchmarks/bench_pilot_walk.py --workspace FOLDER [--minutes 40] [--phantoms 5]

plan-and-train as a user types it, nnunet on narrow images of thick slices (see _ambiguous.py), where the
rules leave 2D or 3D in doubt. After it the dimension that was not taken is trained for as long as the other
was, on the same fold. A workspace that holds some of it is gone on with.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _ambiguous import NARROW as DATASET
from _ambiguous import write_narrow
from _machine import machine, write_results

from autoseg.leaderboard.records.files import Record, load_records
from autoseg.leaderboard.statistics import mean_intervals, resample
from autoseg.planner.plan import Plan
from autoseg.workspace import Workspace

BOTH = ("2d", "3d_fullres")
PILOT = ("fold", "seconds_each", "pilot_dice", "p", "lead_at_the_end")


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "numpy", "SimpleITK"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=40.0, help="of the walk")
    parser.add_argument("--phantoms", type=int, default=5, help="seed of the phantoms")
    options = parser.parse_args()
    place = options.workspace.absolute()
    folder = write_narrow(place / f"phantoms_{options.phantoms}", options.phantoms)

    began = time.monotonic()
    _walk(folder, place / "walk", "auto", f"{options.minutes:g}m")
    command_s = time.monotonic() - began
    (walked,) = load_records(place / "walk" / "results" / DATASET)
    (other,) = (name for name in BOTH if name != walked.configuration)
    _walk(folder, place / "other", other, f"{walked.cost.budget_s:.0f}s")
    (against,) = load_records(place / "other" / "results" / DATASET)
    result = {
        "phantoms": options.phantoms,
        "minutes": options.minutes,
        "command_s": round(command_s, 1),
        **_pilot(place / "walk"),
        **_compared(walked, against),
    }
    text = _report(result)
    print(text)
    write_results("pilot_walk", where, [result], text)


def _walk(folder: Path, workspace: Path, configuration: str, budget: str) -> None:
    command = ["plan-and-train", str(folder), "--trainers", "nnunet", "--configuration", configuration]
    command += ["--folds", "0", "--budget", budget, "--device", "cpu", "--workspace", str(workspace)]
    subprocess.run([sys.executable, "-m", "autoseg", *command], check=True)


def _pilot(walk: Path) -> dict[str, Any]:
    """What the pilot found, and what it took."""
    home = Workspace.locate(walk).pilot_of(DATASET)
    records = sorted(load_records(home / DATASET), key=lambda record: float(record.cost.budget_s or 0))
    trained = {name: [record for record in records if record.configuration == name] for name in BOTH}
    plans = map(Plan.load, sorted(Workspace.locate(walk).preprocessed_of(DATASET).glob("*Plans*.json")))
    (decision,) = {
        each.rule: each
        for plan in plans
        for each in plan.decisions
        if each.name == "dimension" and "pilot_dice" in each.inputs
    }.values()
    return {
        "decided": decision.value,
        "rule": decision.rule,
        "pilot": {key: decision.inputs[key] for key in PILOT},
        "pilot_steps": {name: [each.cost.training_steps for each in rows] for name, rows in trained.items()},
        "pilot_s": {name: [round(each.cost.train_s, 1) for each in rows] for name, rows in trained.items()},
    }


def _compared(walked: Record, against: Record) -> dict[str, Any]:
    scores = {record.configuration: record.scores.case_scores("dice") for record in (walked, against)}
    difference = scores["3d_fullres"] - scores["2d"]
    interval = mean_intervals(difference[np.newaxis], resample(len(difference), None), None)[0]
    means = {name: float(values.mean()) for name, values in scores.items()}
    return {
        "dice": means,
        "difference": float(difference.mean()),
        "difference_ci": [interval.low, interval.high],
        "regret": max(means.values()) - means[walked.configuration],
        "taken": walked.configuration,
        "steps": {record.configuration: record.cost.training_steps for record in (walked, against)},
        "train_s": {record.configuration: round(record.cost.train_s, 1) for record in (walked, against)},
        "run_budget_s": walked.cost.budget_s,
    }


def _report(row: dict[str, Any]) -> str:
    pilot, asked = row["pilot"], 60 * row["minutes"]
    taken = row["taken"]
    used = row["train_s"][taken] + sum(map(sum, row["pilot_s"].values()))
    lines = [
        "# A whole walk with a pilot",
        "",
        f"nnunet on thick slices ({DATASET}, phantoms of seed {row['phantoms']}), fold 0,",
        f"{row['minutes']:g} minutes. Decided: {row['decided']} ({row['rule']}).",
        "",
        f"| | pilot Dice (fold {pilot['fold']}) | steps | s | Dice (fold 0) | steps | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in BOTH:
        dice = ", ".join(f"{each:.3f}" for each in pilot["pilot_dice"][name])
        steps = ", ".join(map(str, row["pilot_steps"][name]))
        took = " + ".join(f"{each:.0f}" for each in row["pilot_s"][name])
        took += f" of {sum(pilot['seconds_each']):g}"
        lines.append(
            f"| {name} | {dice} | {steps} | {took} | {row['dice'][name]:.3f} "
            f"| {row['steps'][name]} | {row['train_s'][name]:.0f} of {row['run_budget_s']:.0f} |"
        )
    low, high = row["difference_ci"]
    return "\n".join(
        [
            *lines,
            "",
            f"Pilot: p {pilot['p']:.3f} over its held-out cases; by its trend the lead of what was not taken "
            f"comes to {pilot['lead_at_the_end']:+.3f}. 3D less 2D after the walk: "
            f"{row['difference']:+.4f} [{low:+.4f}, {high:+.4f}]; the decision lost {row['regret']:.4f}.",
            f"Pilot and training took {used:.0f} of {asked:.0f} s ({used / asked - 1:+.1%}), the whole "
            f"command {row['command_s']:.0f} s (or less, if it was gone on with).",
        ]
    )


if __name__ == "__main__":
    main()
