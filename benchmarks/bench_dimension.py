"""2D or 3D, decided before training: what does the decision cost against knowing the answer?

    python benchmarks/bench_dimension.py --data FOLDER [--workspace FOLDER] [--minutes 4] [--only NAME,NAME]

nnunet is trained in both dimensions at one wall clock on fold 0 of each data set that has volumes, and of
three phantoms built to be ambiguous (see _ambiguous.py). The regret is the Dice of the better one less that
of the one that the planner decided for with that budget. Data sets of single slices leave nothing to decide,
and one of a single case (CTOrgans) has nothing to compare on. What stands in the results file is not run
again.
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
from _ambiguous import write_ambiguous
from _machine import RESULTS, machine, write_results

from autoseg.data.fingerprint import Fingerprint
from autoseg.leaderboard.records.files import Record, load_records
from autoseg.leaderboard.statistics import mean_intervals, resample
from autoseg.planner import plan_experiment
from autoseg.planner.data_facts import DataFacts
from autoseg.planner.dimension import DimensionChoice, choose_dimension
from autoseg.planner.networks import Hardware
from autoseg.workspace import Workspace

REAL = ("Dataset004_Hippocampus", "Dataset030_MSLesion")
BOTH = ("2d", "3d_fullres")
TRAINER = "nnunet"
GOAL = 0.01
# Of rows that do not say so.
EARLIER = {"fold": 0, "phantoms": 11}


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "numpy", "SimpleITK"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", help="what is done there stays done; a temporary folder by default")
    parser.add_argument("--minutes", type=float, default=4.0, help="of each run")
    parser.add_argument("--seeds", default="0", help="with commas")
    parser.add_argument("--only", default="Dataset", help="parts of the data sets' names, with commas")
    parser.add_argument("--fold", type=int, default=0, help="of each data set")
    parser.add_argument("--phantoms", type=int, default=11, help="seed of the phantoms; a workspace for each")
    parser.add_argument("--name", default="dimension", help="of the results file")
    parser.add_argument("--again", action="store_true", help="only decide again, on what was trained")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    place = Path(options.workspace or tempfile.mkdtemp(prefix="bench_dimension_")).absolute()
    seeds = [int(each) for each in options.seeds.split(",")]
    phantoms = write_ambiguous(place / f"phantoms_{options.phantoms}", seed=options.phantoms)
    folders = [Path(options.data) / name for name in REAL] + phantoms
    for folder in folders:
        key = {"dataset": folder.name, "minutes": options.minutes, "fold": options.fold}
        if folder in phantoms:
            key["phantoms"] = options.phantoms
        there = [
            each for each in _known(options.name) if all(each.get(k, EARLIER.get(k)) == key[k] for k in key)
        ]
        if not any(part in folder.name for part in options.only.split(",")) or bool(there) != options.again:
            continue
        for configuration in BOTH if not options.again else ():
            for seed in seeds:
                _train(folder, place, configuration, seed, options)
        found = {**_regret(folder, place, options), **key}
        # Another process may be at other data sets.
        results = [each for each in _known(options.name) if each not in there] + [found]
        write_results(options.name, where, results, _report(results, len(seeds)))
    print(_report(_known(options.name), len(seeds)))


def _known(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    known: list[dict[str, Any]] = []
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))["results"]
    return known


def _train(folder: Path, place: Path, configuration: str, seed: int, options: argparse.Namespace) -> None:
    command = ["plan-and-train", str(folder), "--trainers", TRAINER, "--configuration", configuration]
    command += ["--folds", str(options.fold), "--budget", f"{options.minutes:g}m", "--device", options.device]
    subprocess.run(
        [sys.executable, "-m", "autoseg", *command, "--seed", str(seed), "--workspace", str(place)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _regret(folder: Path, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    records = [
        record
        for record in load_records(place / "results" / folder.name)
        if record.fold == options.fold and record.cost.budget_s == 60 * options.minutes
    ]
    dice = {name: _mean_case_dice(records, name) for name in BOTH}
    choice = _decision(folder, place, options)
    # A cascade's second stage and the walk's stand-in for it work at full resolution.
    taken = "2d" if choice.value == "2d" else "3d_fullres"
    means = {name: float(values.mean()) for name, values in dice.items()}
    difference = dice["3d_fullres"] - dice["2d"]
    interval = None
    if len(difference) > 1:
        groups = records[0].scores.groups
        (found,) = mean_intervals(difference[np.newaxis], resample(len(difference), groups), groups)
        interval = [found.low, found.high]
    return {
        "dataset": folder.name,
        "dice": means,
        "difference": float(difference.mean()),
        "difference_ci": interval,
        "decided": choice.value,
        "confidence": choice.confidence,
        "rule": choice.decision.rule,
        "regret": max(means.values()) - means[taken],
        "cases": len(difference),
        "minutes": options.minutes,
        "steps": {name: [r.cost.training_steps for r in records if r.configuration == name] for name in BOTH},
        "commits": sorted({str(record.code_version) for record in records}),
    }


def _mean_case_dice(records: Sequence[Record], configuration: str) -> Any:
    """By case, the mean over seeds."""
    chosen = [
        record.scores.case_scores("dice") for record in records if record.configuration == configuration
    ]
    return np.mean(chosen, axis=0)


def _decision(folder: Path, place: Path, options: argparse.Namespace) -> DimensionChoice:
    from autoseg.data.dataset import load_dataset
    from autoseg.system.device import find_device
    from autoseg.tailoring.machine.kept import machine_model

    preprocessed = Workspace.locate(place).preprocessed_of(folder.name)
    fingerprint = Fingerprint.load(preprocessed / "dataset_fingerprint.json")
    plan = plan_experiment(load_dataset(folder), fingerprint)
    hardware = Hardware.of(machine_model(find_device(options.device)))
    return choose_dimension(plan, DataFacts.of(plan, fingerprint), hardware, options.minutes * 60)


def _report(results: Sequence[Mapping[str, Any]], seeds: int) -> str:
    mean = float(np.mean([each["regret"] for each in results]))
    met = "met" if mean <= GOAL else "not met"
    return "\n".join(
        [
            "# 2D or 3D: the decision against the truth",
            "",
            f"nnunet in both dimensions at one wall clock, {seeds} seed(s). The interval is",
            "of the mean paired difference over held-out cases. Data sets of single slices leave nothing to",
            "decide; CTOrgans has a single case.",
            "",
            "| data set | run | 2D Dice (steps) | 3D Dice (steps) | 3D - 2D | decided | regret |",
            "|---|---|---|---|---|---|---|",
            *map(_line, results),
            "",
            f"Mean regret {mean:.4f} over {len(results)} decisions (goal: at most {GOAL}, {met}).",
            "",
            *(f"- {each['dataset']}, {each['minutes']:g} min: {each['rule']}." for each in results),
        ]
    )


def _line(each: Mapping[str, Any]) -> str:
    dice = " | ".join(
        f"{each['dice'][name]:.3f} ({', '.join(map(str, each['steps'][name]))})" for name in BOTH
    )
    interval = each["difference_ci"]
    told = "one case" if interval is None else f"[{interval[0]:+.3f}, {interval[1]:+.3f}]"
    return (
        f"| {each['dataset']} | {each['minutes']:g} min, fold {each.get('fold', 0)} | {dice} "
        f"| {each['difference']:+.3f} {told} "
        f"| {each['decided']} ({each['confidence']}) | {each['regret']:.3f} |"
    )


if __name__ == "__main__":
    main()
