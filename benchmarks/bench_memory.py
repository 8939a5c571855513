"""Peak memory of trainings, predicted before they start and measured: every trainer on three data sets.

    AUTOSEG_TEST_DATA=DIR python benchmarks/bench_memory.py --workspace DIR [--trainers NAME ...]
        [--datasets NAME ...] [--memory 2.5]

Each trainer gets the largest patch and batch that the estimate allows within a target (2.5 GB), trains a few
real steps in a process of its own with its real loaders, every case in memory, and its peak resident set is
compared with the prediction. One process at a time, with as many threads as the calibration had. Run again
with the same workspace, it goes on where it stopped; every row is written when it is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATASETS = ("Dataset004_Hippocampus", "Dataset018_FetalHead", "Dataset030_MSLesion")
TARGET_GB = 2.5
STEPS = 2
WITHIN = 0.15


def raw(name: str) -> Path:
    """The folder of a data set."""
    root = os.environ.get("AUTOSEG_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    return Path(root) / name


def peak_bytes() -> int:
    """Largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(plan: Path, configuration: str, trainer: str, workspace: Path, steps: int) -> dict[str, Any]:
    """Train a few steps and say what they took; in a process of its own."""
    import torch

    from autoseg import nnunet
    from autoseg.files import read_json
    from autoseg.plan import Plan
    from autoseg.workspace import Workspace

    nnunet.activate(Workspace.locate(workspace))
    found = Plan.load(plan)
    peaks = {}
    built = nnunet.trainer_class(trainer)
    peaks["imported"] = peak_bytes()
    dataset_json = read_json(plan.parent / "dataset.json")
    running = built(found.to_json(), configuration, "all", dict(dataset_json), torch.device("cpu"))
    running.initialize()
    peaks["initialised"] = peak_bytes()
    running.on_train_start()
    for loader in (running.dataloader_train, running.dataloader_val):
        data = getattr(loader, "_data", None)
        for identifier in getattr(data, "identifiers", ()):
            data.load_case(identifier)
    peaks["loaded"] = peak_bytes()
    running.network.train()
    began = time.monotonic()
    for _ in range(steps):
        running.train_step(next(running.dataloader_train))
        peaks.setdefault("first_step", peak_bytes())
    peaks["trained"] = peak_bytes()
    initial = running.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[2]
    return {
        "peaks": peaks,
        "seconds": round(time.monotonic() - began, 1),
        "initial_patch": [int(n) for n in initial],
    }


def prepare(name: str, workspace: Path) -> Any:
    """Fingerprint, plan and preprocess a data set; gives it with its plan and the shapes of its cases."""
    from autoseg.dataset import load_dataset
    from autoseg.fingerprint import Fingerprint
    from autoseg.planner import plan_experiment
    from autoseg.preprocess import link_references, preprocess_dataset
    from autoseg.workspace import Workspace

    place = Workspace.locate(workspace)
    dataset = load_dataset(raw(name))
    reference = Path(__file__).resolve().parents[1] / "plans" / "reference" / name / "fingerprint.json"
    fingerprint = Fingerprint.load(reference)
    plan = plan_experiment(dataset, fingerprint)
    home = place.preprocessed_of(dataset.name)
    link_references(dataset, home / "gt_segmentations")
    fingerprint.save(place.fingerprint_of(dataset.name))
    (home / "dataset.json").write_text(json.dumps(dict(dataset.dataset_json)), encoding="utf-8")
    for each in plan.configurations.values():
        if each.name in ("2d", "3d_fullres"):
            preprocess_dataset(dataset, plan, each, home / each.data_identifier, 2)
    return dataset, fingerprint, plan, home


def fitted(
    trainer: str, dataset: Any, fingerprint: Any, plan: Any, calibration: Any, memory_gb: float
) -> Any:
    """The plan and configuration that a trainer gets within the target, and the predicted footprint."""
    import torch

    from autoseg import nnunet
    from autoseg.training_memory import fit_to_memory, memory_of

    built = nnunet.trainer_class(trainer)
    wanted = built.preferred_dimension or (3 if "3d_fullres" in plan.configurations else 2)
    name = "3d_fullres" if wanted == 3 and "3d_fullres" in plan.configurations else "2d"
    planned = plan.configuration(name)
    memory = memory_of(built, dataset, fingerprint, plan, planned, torch.device("cpu"), calibration)
    configuration, _, footprint = fit_to_memory(memory, planned, memory_gb)
    document = dataclasses.replace(plan, name=f"bench_{trainer}", configurations={name: configuration})
    return document, configuration, footprint


def run_all(
    names: list[str], trainers: list[str], workspace: Path, done: Path, memory_gb: float
) -> list[dict[str, Any]]:
    """Predict and measure what `done` does not have; one line of it for each."""
    from autoseg.errors import PlanError
    from autoseg.memory_calibration import calibrate

    calibration = calibrate(workspace / "calibration.json")
    lines = done.read_text(encoding="utf-8").splitlines() if done.is_file() else []
    rows = [json.loads(line) for line in lines]
    there = {(row["dataset"], row["trainer"]) for row in rows}
    for name in names:
        dataset, fingerprint, plan, home = prepare(name, workspace)
        for trainer in trainers:
            if (name, trainer) in there:
                continue
            row: dict[str, Any] = {"dataset": name, "trainer": trainer}
            try:
                began = time.monotonic()
                found = fitted(trainer, dataset, fingerprint, plan, calibration, memory_gb)
            except PlanError as problem:
                rows.append({**row, "note": str(problem)})
                keep(rows[-1], done)
                continue
            document, configuration, footprint = found
            row |= {"fit_s": round(time.monotonic() - began, 1), "predicted": footprint.to_json()}
            row |= {"patch": list(configuration.patch_size), "batch": configuration.batch_size}
            row |= {"configuration": configuration.name}
            path = home / f"{document.name}.json"
            document.save(path)
            arguments = ["--one", str(path), configuration.name, trainer, str(workspace)]
            process = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
            if process.returncode:
                row["note"] = process.stderr.strip().splitlines()[-1][:300]
            else:
                row |= json.loads(process.stdout.strip().splitlines()[-1])
                measured = row["peaks"]["trained"]
                row["measured_gb"] = round(measured / 1e9, 3)
                row["error"] = round(footprint.total / measured - 1, 3)
            rows.append(row)
            keep(row, done)
    return rows


def keep(row: dict[str, Any], done: Path) -> None:
    """Add a row to those that a restart does not repeat."""
    with done.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def predicted_again(rows: list[dict[str, Any]], workspace: Path) -> list[dict[str, Any]]:
    """The same measurements with the predictions that are made now for their patches and batches."""
    import torch

    from autoseg import nnunet
    from autoseg.memory_calibration import calibrate
    from autoseg.plan import Plan
    from autoseg.planner.topology import pooled
    from autoseg.training_memory import memory_of

    calibration = calibrate(workspace / "calibration.json")
    prepared = {name: prepare(name, workspace) for name in {row["dataset"] for row in rows}}
    found = []
    for row in rows:
        if "peaks" not in row:
            found.append(row)
            continue
        dataset, fingerprint, _, home = prepared[row["dataset"]]
        plan = Plan.load(home / f"bench_{row['trainer']}.json")
        configuration = plan.configuration(row["configuration"])
        built = nnunet.trainer_class(row["trainer"])
        memory = memory_of(built, dataset, fingerprint, plan, configuration, torch.device("cpu"), calibration)
        footprint = memory(pooled(configuration.spacing, row["patch"], 4), row["batch"])
        error = round(footprint.total / row["peaks"]["trained"] - 1, 3)
        found.append({**row, "predicted": footprint.to_json(), "error": error})
    return found


def report(rows: list[dict[str, Any]], memory_gb: float) -> str:
    """The table."""
    measured = [row for row in rows if "error" in row]
    inside = [row for row in measured if abs(row["error"]) <= WITHIN]
    lines = [
        "# Peak memory of trainings: predicted and measured",
        "",
        f"Each trainer's largest patch and batch within {memory_gb:g} GB by the estimate of the time; "
        f"{STEPS} real steps in a process of its own, all cases in memory. Peak resident set, GB. "
        f"{len(inside)} of {len(measured)} predictions lie within {WITHIN:.0%}. Base and overhead are "
        "the calibration's; the constants of the estimate were set on the first two data sets, the third "
        "was not looked at. The process takes about 1 GB before any data: the last column is the error of "
        "all that comes on top.",
        "",
        "| data set | trainer | configuration | patch | batch | predicted | measured | error | above base |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in measured:
        patch = "x".join(map(str, row["patch"]))
        base, peak = row["predicted"]["base"], row["measured_gb"]
        above = (row["predicted"]["total"] - base) / (peak - base) - 1
        lines.append(
            f"| {row['dataset']} | {row['trainer']} | {row['configuration']} | {patch} | {row['batch']} | "
            f"{row['predicted']['total']:.2f} | {peak:.2f} | {row['error']:+.0%} | {above:+.0%} |"
        )
    lines += ["", *(f"- {row['dataset']}, {row['trainer']}: {row['note']}" for row in rows if "note" in row)]
    return "\n".join(lines)


def main() -> None:
    """Measure everything, or one training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS))
    parser.add_argument("--trainers", nargs="+")
    parser.add_argument("--memory", type=float, default=TARGET_GB, help="GB that each may take")
    parser.add_argument("--no-results", action="store_true", help="leave benchmarks/results as it is")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--workspace", type=Path, help="kept between runs; a temporary one if not given")
    parser.add_argument(
        "--again", action="store_true", help="predict anew for what was measured in the workspace"
    )
    arguments = parser.parse_args()
    if arguments.one:
        plan, configuration, trainer, workspace = arguments.one
        found = measure(Path(plan), configuration, trainer, Path(workspace), arguments.steps)
        print(json.dumps(found))
        return
    from _machine import machine, write_results

    from autoseg import plugins

    where = machine(packages=("torch", "nnunetv2"))
    with tempfile.TemporaryDirectory() as temporary:
        workspace = arguments.workspace or Path(temporary)
        workspace.mkdir(parents=True, exist_ok=True)
        trainers = arguments.trainers or list(plugins.available("trainers"))
        done = workspace / "rows.jsonl"
        if arguments.again:
            lines = done.read_text(encoding="utf-8").splitlines()
            rows = predicted_again([json.loads(line) for line in lines], workspace)
        else:
            rows = run_all(arguments.datasets, trainers, workspace, done, arguments.memory)
    if arguments.no_results:
        print(report(rows, arguments.memory))
    else:
        write_results("memory", where, rows, report(rows, arguments.memory))


if __name__ == "__main__":
    main()
