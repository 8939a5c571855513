"""Is `--memory` kept on a CPU, and is it told before? Every trainer on three data sets, for 4, 8 and 16 GB.

    AUTOSEG_TEST_DATA=DIR python benchmarks/bench_memory.py --workspace DIR [--memory 4 8 16]
        [--datasets NAME ...] [--trainers NAME ...] [--known FILE ...] [--limit 900]
        [--steps 50 --name memory_growth]

Each is planned as plan-and-train plans it and takes a few real steps in a process of its own with its real
loaders, every case in memory; kept is what peaks below the memory that was asked for. What comes close to it
takes more steps, since gaps in the heap may still add some after the first two. Where more memory leads to
the same patch and batch as less, the training is not measured twice; nor is what `--known` files hold
(earlier files of this benchmark: another estimate may lead to the same patch and batch). Rows are written
when they are measured, and those of the results file are not measured again. With more `--steps` (and another
`--name`) each is measured for as long, and its peak told step by step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _machine import RESULTS, machine, write_results

DATASETS = ("Dataset004_Hippocampus", "Dataset018_FetalHead", "Dataset030_MSLesion")
WITHIN = 0.15
# Measured above the share `CLOSE` of what was asked, a training takes `LONG` steps.
STEPS, CLOSE, LONG = 2, 0.88, 5
NAME = "memory"
Row = dict[str, Any]


def main() -> None:
    from autoseg import plugins

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=float, nargs="+", default=[4.0, 8.0, 16.0], help="GB")
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS))
    parser.add_argument("--trainers", nargs="+", default=list(plugins.available("trainers")))
    parser.add_argument("--known", type=Path, nargs="+", default=[], help="earlier rows, JSON")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    parser.add_argument("--name", default=NAME, help="of the results file")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that a row may take")
    options = parser.parse_args()
    if options.one:
        plan, configuration, trainer, steps = options.one
        print(json.dumps(measure(Path(plan), configuration, trainer, options.workspace, int(steps))))
        return
    where = machine(packages=("torch", "nnunetv2"))
    path = RESULTS / f"{options.name}.json"
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []
    known = [row for file in options.known for row in json.loads(file.read_text(encoding="utf-8"))["results"]]
    there = {(row["dataset"], row["trainer"], row["asked_gb"]) for row in rows}
    for dataset in options.datasets:
        prepared = prepare(dataset, options.workspace)
        # Small targets first: what they lead to is quick, and often what larger ones lead to.
        for memory in sorted(options.memory):
            for trainer in options.trainers:
                if (dataset, trainer, memory) not in there:
                    rows.append(_row(prepared, trainer, memory, [*rows, *known], options))
                    print(json.dumps(rows[-1]), flush=True)
                    write_results(options.name, where, rows, _report(rows))
    print(_report(rows))


def prepare(name: str, workspace: Path) -> Any:
    """A data set with its fingerprint, and where it is preprocessed."""
    from autoseg.data.dataset import load_dataset
    from autoseg.data.fingerprint import Fingerprint
    from autoseg.preprocessing.dataset import link_references
    from autoseg.workspace import Workspace

    root = os.environ.get("AUTOSEG_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    place = Workspace.locate(workspace)
    dataset = load_dataset(Path(root) / name)
    reference = Path(__file__).resolve().parents[1] / "plans" / "reference" / name / "fingerprint.json"
    fingerprint = Fingerprint.load(reference)
    home = place.preprocessed_of(dataset.name)
    link_references(dataset, home / "gt_segmentations")
    fingerprint.save(place.fingerprint_of(dataset.name))
    (home / "dataset.json").write_text(json.dumps(dict(dataset.dataset_json)), encoding="utf-8")
    return dataset, fingerprint, home


def _row(prepared: Any, trainer: str, memory_gb: float, earlier: Sequence[Row], options: Any) -> Row:
    from autoseg.errors import PlanError

    dataset, _, home = prepared
    row: Row = {"dataset": dataset.name, "trainer": trainer, "asked_gb": memory_gb}
    try:
        plan = _planned(prepared, trainer, memory_gb)
    except PlanError as problem:
        return {**row, "note": str(problem)}
    (configuration,) = plan.configurations.values()
    (fit,) = (each for each in plan.decisions if each.name.endswith("memory_fit"))
    row |= {"configuration": configuration.name, "patch": list(configuration.patch_size)}
    row |= {"batch": configuration.batch_size, "predicted_gb": fit.inputs["footprint_gb"]["total"]}
    path = home / f"kept_{trainer}.json"
    plan.save(path)
    command = [sys.executable, __file__, "--workspace", str(options.workspace)]
    command += ["--one", str(path), configuration.name, trainer]
    try:
        found = _before(row, earlier) or _measured(command, options.steps, options.limit)
        if found["measured_gb"] > CLOSE * memory_gb and found["steps"] < LONG:
            found = _measured(command, LONG, options.limit)
    except subprocess.TimeoutExpired:
        return {**row, "note": f"its steps took more than {options.limit:g} s"}
    except subprocess.CalledProcessError as problem:
        return {**row, "note": (problem.stderr.strip().splitlines() or ["killed"])[-1][:300]}
    return {**row, **found}


def _before(row: Row, earlier: Sequence[Row]) -> Row | None:
    """The longest of earlier measurements of the same training."""
    same = ("dataset", "trainer", "configuration", "patch", "batch")
    found = [
        other for other in earlier if "measured_gb" in other and all(other[key] == row[key] for key in same)
    ]
    if not found:
        return None
    longest = max(found, key=lambda other: other.get("steps", STEPS))
    at = longest.get("measured_at_gb", longest["asked_gb"])
    steps = longest.get("steps", STEPS)
    return {"measured_gb": longest["measured_gb"], "steps": steps, "measured_at_gb": at}


def _measured(command: Sequence[str], steps: int, limit_s: float) -> Row:
    done = subprocess.run([*command, str(steps)], capture_output=True, text=True, timeout=limit_s, check=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    peak = round(found["peaks"]["trained"] / 1e9, 3)
    row = {"measured_gb": peak, "steps": steps, "seconds": found["seconds"]}
    return row if steps <= LONG else {**row, "by_step_gb": found["by_step"]}


def _planned(prepared: Any, trainer: str, memory_gb: float) -> Any:
    """The plan that plan-and-train would train with, its data preprocessed."""
    import torch

    from autoseg.preprocessing.dataset import preprocess_dataset
    from autoseg.tailoring.request import Request
    from autoseg.tailoring.tailored_plan import tailor
    from autoseg.tailoring.trainer_spec import Choice
    from autoseg.tailoring.variant import Variant

    dataset, fingerprint, home = prepared
    request = Request(torch.device("cpu"), memory_gb=memory_gb)
    plan = tailor(Variant(dataset, fingerprint, Choice(trainer), request))
    (configuration,) = plan.configurations.values()
    preprocess_dataset(dataset, plan, configuration, home / configuration.data_identifier, 2)
    return plan


def measure(plan: Path, configuration: str, trainer: str, workspace: Path, steps: int) -> dict[str, Any]:
    """Train a few steps and say what they took; in a process of its own."""
    import torch

    from autoseg import nnunet, plugins
    from autoseg.planner.plan import Plan
    from autoseg.system.files import read_json
    from autoseg.system.process_memory import peak_bytes
    from autoseg.workspace import Workspace

    nnunet.activate(Workspace.locate(workspace))
    found = Plan.load(plan)
    peaks = {}
    built = plugins.trainer_class(trainer)
    peaks["imported"] = peak_bytes(torch.device("cpu"))
    dataset_json = read_json(plan.parent / "dataset.json")
    running = built(found.to_json(), configuration, "all", dict(dataset_json), torch.device("cpu"))
    running.initialize()
    peaks["initialised"] = peak_bytes(torch.device("cpu"))
    running.on_train_start()
    for loader in (running.dataloader_train, running.dataloader_val):
        data = getattr(loader, "_data", None)
        for identifier in getattr(data, "identifiers", ()):
            data.load_case(identifier)
    peaks["loaded"] = peak_bytes(torch.device("cpu"))
    running.network.train()
    began = time.monotonic()
    by_step = []
    for _ in range(steps):
        running.train_step(next(running.dataloader_train))
        by_step.append(round(peak_bytes(torch.device("cpu")) / 1e9, 3))
    peaks["trained"] = peak_bytes(torch.device("cpu"))
    initial = running.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[2]
    return {
        "peaks": peaks,
        "by_step": by_step,
        "seconds": round(time.monotonic() - began, 1),
        "initial_patch": [int(n) for n in initial],
    }


def _report(rows: Sequence[Row]) -> str:
    measured = [row for row in rows if "measured_gb" in row]
    kept = [row for row in measured if row["measured_gb"] <= row["asked_gb"]]
    close = [row for row in measured if abs(_error(row)) <= WITHIN]
    lines = [
        "# Memory on a CPU: asked for, predicted and measured",
        "",
        f"Peak resident set of a process that takes real steps ({LONG} at least where {STEPS} come within",
        f"{1 - CLOSE:.0%} of what was asked) with every case in memory, planned as plan-and-train",
        "plans. A training that more memory does not change is measured once. The two constants of the",
        "estimate (footprint.py) were set on 110 trainings on an Intel Xeon with AMX, before these.",
        f"Kept: {len(kept)} of {len(measured)}, at most {max(map(_share, measured)):.2f} of what was asked.",
        f"Predicted within {WITHIN:.0%}: {len(close)} of {len(measured)} "
        f"({min(map(_error, measured)):+.1%} to {max(map(_error, measured)):+.1%}).",
        "",
        "| data set | trainer | asked | configuration | patch | batch | steps | predicted | measured "
        "| error | |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *map(_line, measured),
        "",
        *map(_growth, (row for row in measured if "by_step_gb" in row)),
        *(
            f"- {row['dataset']}, {row['trainer']}, {row['asked_gb']:g} GB: {row['note']}"
            for row in rows
            if "note" in row
        ),
    ]
    return "\n".join(lines)


def _error(row: Row) -> float:
    return float(row["predicted_gb"] / row["measured_gb"] - 1)


def _share(row: Row) -> float:
    return float(row["measured_gb"] / row["asked_gb"])


def _growth(row: Row) -> str:
    """The peak after more and more steps."""
    peaks = row["by_step_gb"]
    at = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500) if n <= len(peaks)]
    told = ", ".join(f"{peaks[n - 1]:.2f} ({n})" for n in at)
    return f"- {row['dataset']}, {row['trainer']}, {row['asked_gb']:g} GB: peak in GB (after steps) {told}"


def _line(row: Row) -> str:
    told = "kept" if row["measured_gb"] <= row["asked_gb"] else "EXCEEDED"
    return (
        f"| {row['dataset']} | {row['trainer']} | {row['asked_gb']:g} GB | {row['configuration']} "
        f"| {'x'.join(map(str, row['patch']))} | {row['batch']} | {row['steps']} | {row['predicted_gb']:.2f} "
        f"| {row['measured_gb']:.2f} | {_error(row):+.0%} | {told} |"
    )


if __name__ == "__main__":
    main()
