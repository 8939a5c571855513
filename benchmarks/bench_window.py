"""What a larger step of the sliding window costs in Dice, and what mirrored copies gain, of short trainings.

    python benchmarks/bench_window.py --data FOLDER --workspace PLACE [--only Hearts] [--steps 800]
        [--models MODEL ...]

Of models that are there, or of nnunet with a small patch, so that there are many windows, trained with
mirrored samples, so that copies may be averaged. Fold 0, one seed. What is in the results file already is not
run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _hearts import NAME as HEARTS
from _hearts import write_hearts
from _machine import RESULTS, machine, write_results

from autoseg.data import readers as images
from autoseg.data.dataset import load_dataset
from autoseg.evaluation.scoring import evaluate
from autoseg.inference.model import Model, load_model
from autoseg.leaderboard.statistics import mean_intervals, resample
from autoseg.workspace import Workspace

DATASETS = (HEARTS, "Dataset004_Hippocampus", "Dataset018_FetalHead", "Dataset021_NucleiColor")
STEP_SIZES = (0.5, 0.75, 1.0)
Row = dict[str, Any]


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--models", type=Path, nargs="*", help="folders of models; nothing is trained then")
    options = parser.parse_args()
    where, path = machine(), RESULTS / "window.json"
    rows = dict(json.loads(path.read_text(encoding="utf-8"))["results"]) if path.is_file() else {}
    for folder in options.models or ():
        key, row = _measured(folder, options.data)
        rows[key] = row
        write_results("window", where, rows, _report(rows))
    for name in () if options.models else DATASETS:
        key = f"{name} nnunet {options.steps} steps, mirrored"
        if key in rows or not any(part in name for part in options.only):
            continue
        source = write_hearts(options.workspace / "raw") if name == HEARTS else options.data / name
        rows[key] = _row(source, options.workspace / name, options.steps)
        write_results("window", where, rows, _report(rows))
    print(_report(rows))


def _row(source: Path, place: Path, steps: int) -> Row:
    command = (
        f"plan-and-train {source} --trainers nnunet:mirroring=true --folds 0 --small --steps {steps} "
        f"--device cpu --workspace {place} --quiet"
    )
    subprocess.run([sys.executable, "-m", "autoseg", *command.split()], check=True)
    (folder,) = (place / "results" / source.name).glob("nnunet__*")
    return _measured(folder, source.parent)[1]


def _measured(folder: Path, data: Path) -> tuple[str, Row]:
    """A name and the scores of a model with each way to predict; it lies in its workspace."""
    source, workspace = data / folder.parent.name, Workspace.locate(folder.parents[2])
    cases = json.loads(workspace.folds_of(source.name).read_text(encoding="utf-8"))[0]["val"]
    model, cost = load_model(folder, [0], "cpu"), json.loads((folder / "fold_0" / "cost.json").read_text())
    copies = (True, False) if model.mirror_axes else (False,)
    ways = [(step, mirrored) for step in STEP_SIZES for mirrored in copies]
    found = [_predicted(folder, source, workspace, cases, *way) for way in ways]
    trainer = folder.name.split("__")[0]
    return f"{source.name} {trainer} {cost['steps']} steps{', mirrored' * bool(model.mirror_axes)}", {
        "trainer": trainer,
        "patch": list(model.configuration.patch_size),
        "steps": cost["steps"],
        "cases": len(cases),
        "ways": [
            {"step_size": step, "mirrored": mirrored, **each}
            for (step, mirrored), each in zip(ways, found, strict=True)
        ],
    }


def _predicted(
    folder: Path, source: Path, workspace: Workspace, cases: list[str], step_size: float, mirrored: bool
) -> Row:
    """Dice of each held-out case, windows, and seconds that the processor had."""
    model = load_model(folder, [0], "cpu", mirrored)
    model.step_size = step_size
    place = workspace.cases_of(source.name, model.configuration.data_identifier)
    dataset = load_dataset(source)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        passes = [_segment(model, place, case, Path(temporary), dataset.file_ending) for case in cases]
        seconds = time.process_time() - began
        evaluation = evaluate(Path(temporary), dataset, cases=cases, metrics=["dice"], workers=1)
    return {
        "dice": [evaluation.values("dice")[case] for case in cases],
        "passes": int(np.sum(passes)),
        "cpu_s": round(seconds, 2),
    }


def _segment(model: Model, place: Path, case: str, output: Path, ending: str) -> int:
    data, properties = model.preprocessed(place, case)
    images.write_segmentation(
        model.segment(data, properties), output / f"{case}{ending}", properties, model.reader
    )
    return model.passes(data.shape[1:])


def _report(rows: dict[str, Row]) -> str:
    lines = [
        "# Step of the sliding window, and mirrored copies, of short trainings",
        "",
        "Fold 0, one seed. The difference to the published way (a step of half a patch; mirrored copies",
        "where the training had mirrored samples) is paired over the held-out cases, with its 95 % interval.",
        "",
        "| data set | training | patch | step | mirrored | Dice | difference | network inputs | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, row in rows.items():
        ways = {(each["step_size"], each["mirrored"]): each for each in row["ways"]}
        for (step, mirrored), each in ways.items():
            published = ways.get((0.5, True)) or ways[(0.5, False)]
            difference = np.subtract(each["dice"], published["dice"])
            (found,) = mean_intervals(difference[np.newaxis], resample(len(difference)))
            patch = "x".join(map(str, row["patch"]))
            lines.append(
                f"| {key.split()[0]} | {row['trainer']}, {row['steps']} steps | {patch} | {step:g} | "
                f"{'yes' if mirrored else 'no'} | {np.mean(each['dice']):.4f} | "
                f"{np.mean(difference):+.4f} [{found.low:+.4f}, {found.high:+.4f}] | "
                f"{each['passes']} | {each['cpu_s']:.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
