"""How many labelled cases does a network need, and fewer after training on images without labels?

    python benchmarks/bench_fewshot.py --data FOLDER --workspace FOLDER [--sizes 5,20,all] [--seeds 0,1,2]

`autoseg pretrain` on the training images of the fold, and then `autoseg plan-and-train` with rows of a few
cases, from random weights and from those; subsets lie within each other, and a seed draws the same cases for
both. Every row has the same wall clock. The curves are written beside the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _few_cases import Floats, picture, summarise, table
from _machine import RESULTS, machine, write_results

from autoseg.leaderboard.records.files import Record, load_records
from autoseg.system.files import write_text

NAME = "fewshot"
ARMS = ("pre-trained without labels", "random weights")


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "segmentation-models-pytorch"))
    options = _options()
    place, data = Path(options.workspace), Path(options.data) / options.dataset
    sizes = options.sizes.split(",")
    weights = _pretrained(data, place, options)
    for seed in options.seeds.split(","):
        rows = [
            _row(options.trainer, size, start) for size, start in itertools.product(sizes, (weights, None))
        ]
        _walk(data, rows, seed, place, options)
    records = load_records(place / "results")
    result = {
        "options": {key: value for key, value in vars(options).items() if key not in ("data", "workspace")},
        "rows": summarise(_scores(records), ARMS),
        "runs": [_told(record) for record in records],
    }
    text = _report(result, options)
    print(text)
    write_text(RESULTS / f"{NAME}.svg", picture(result["rows"], ARMS, None, "training cases"))
    write_results(NAME, where, result, text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", required=True, help="what is there already is not done again")
    parser.add_argument("--dataset", default="Dataset018_FetalHead")
    parser.add_argument("--trainer", default="mobilenetv2_unet")
    parser.add_argument("--sizes", default="5,20,all", help="numbers of training cases, with commas")
    parser.add_argument("--seeds", default="0,1,2", help="with commas")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each row, prediction included")
    parser.add_argument("--pretrain-seconds", type=float, default=240.0, help="without labels")
    return parser.parse_args()


def _pretrained(data: Path, place: Path, options: argparse.Namespace) -> Path:
    """The checkpoint of a training without labels, held-out images left out."""
    about = place / "pretrained.json"
    if not about.is_file():
        budget = f"{options.pretrain_seconds:g}s"
        command = ["pretrain", str(data), options.trainer, "--fold", "0", "--budget", budget, "--json"]
        about.parent.mkdir(parents=True, exist_ok=True)
        about.write_text(_autoseg(command, place), encoding="utf-8")
    return Path(json.loads(about.read_text(encoding="utf-8"))["path"])


def _row(trainer: str, size: str, weights: Path | None) -> str:
    options = [] if weights is None else [f"init={weights}"]
    options += [] if size == "all" else [f"cases={size}"]
    return ":".join([trainer, *options])


def _walk(data: Path, rows: list[str], seed: str, place: Path, options: argparse.Namespace) -> None:
    command = ["plan-and-train", str(data), "--trainers", ",".join(rows), "--folds", "0", "--seed", seed]
    command += ["--budget", f"{options.seconds * len(rows):g}s", "--device", "cpu"]
    _autoseg(command, place)


def _autoseg(command: list[str], place: Path) -> str:
    return subprocess.run(
        [sys.executable, "-m", "autoseg", *command, "--workspace", str(place)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def _scores(records: tuple[Record, ...]) -> dict[int, dict[str, Floats]]:
    """By number of training cases asked for and arm, shape (seeds, cases)."""
    found: dict[int, dict[str, list[Any]]] = {}
    for record in sorted(records, key=lambda each: each.seed):
        # What was asked for: whole groups are drawn, so a seed may get a case less.
        size = int(record.options.get("cases", record.training_cases or 0))
        arm = ARMS[0] if "init" in record.options else ARMS[1]
        found.setdefault(size, {}).setdefault(arm, []).append(record.scores.case_scores("dice"))
    return {size: {arm: np.array(rows) for arm, rows in arms.items()} for size, arms in found.items()}


def _told(record: Record) -> dict[str, Any]:
    return {
        "options": dict(record.options),
        "seed": record.seed,
        "cases": record.training_cases,
        "status": record.status,
        "dice": float(record.scores.case_scores("dice").mean()),
        "steps": record.cost.training_steps,
        "seconds": record.cost.train_s,
        "changes": list(record.changes),
        "commit": record.code_version,
    }


def _report(result: dict[str, Any], options: argparse.Namespace) -> str:
    steps = [run["steps"] for run in result["runs"]]
    collapsed = sum(run["status"] == "collapsed" for run in result["runs"])
    return "\n".join(
        [
            f"# Few cases: {options.trainer} on {options.dataset}",
            "",
            f"{options.seconds:g} s a row, prediction included; {options.pretrain_seconds:g} s of masked",
            "pre-training on all training images of the fold, without labels. Held-out Dice of fold 0;",
            "95 % intervals by drawing images and seeds again; differences are paired by image and seed.",
            f"{min(steps)} to {max(steps)} steps; {collapsed} of {len(steps)} runs predict only background.",
            "",
            table(result["rows"], ARMS),
            "",
            f"![Dice against the number of cases]({NAME}.svg)",
        ]
    )


if __name__ == "__main__":
    main()
