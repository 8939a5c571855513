"""A training step beside stock nnU-Net's: one plan, network and batch, loading and augmentation included.

    OMP_NUM_THREADS=1 python benchmarks/bench_train_step.py --data FOLDER --workspace FOLDER

Three ways take turns, each in a process of its own with one thread, measured in seconds of processor time:
nnU-Net's trainer with its own loader and augmentation; autoseg's, which augments sample by sample; and
autoseg's with the augmentation of whole batches. (In one process, stock would get the C library's settings
that autoseg makes.) A ratio above 1 is in favour of autoseg. Rows of another data set or width, or of a
processor that computes in another precision, stay in the results file beside the new ones.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _machine import RESULTS, machine, write_results

NAME = "train_step"
DATASETS = ("Dataset004_Hippocampus", "Dataset018_FetalHead")
BATCHES = "autoseg, in batches"
WAYS = ("stock", "autoseg", BATCHES)
ANSWER = "turn: "
# No processes of their own: what they use would not be counted.
IN_PROCESS = {"nnUNet_n_proc_DA": "0"}


def main() -> None:
    """Prepare, measure, write."""
    where = machine(packages=("torch", "nnunetv2"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", default="train_step_workspace", help="run again, it goes on there")
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    parser.add_argument("--memory", type=float, default=3.0, help="target of the planner, GB")
    parser.add_argument("--width", type=int, default=16, help="features of the first stage")
    parser.add_argument(
        "--rounds", type=int, default=5, help="of one step each way, after one that is not counted"
    )
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # of a process that takes turns
    parser.add_argument("--no-results", dest="results", action="store_false", help="print, write nothing")
    options = parser.parse_args()
    os.environ |= IN_PROCESS
    if options.way is not None:
        take_turns(Path(options.data) / options.datasets[0], options)
        return
    rows = []
    for name in options.datasets:
        of = {key: where[key] for key in ("commit", "date", "processor", "load_average_at_start")}
        rows.append({**measured(Path(options.data) / name, options), **of})
        print(rows[-1], flush=True)
    if options.results:
        rows = joined(rows)
        write_results(NAME, where, rows, report(rows))


def joined(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, and those of the results file that they do not replace."""
    path = RESULTS / f"{NAME}.json"
    before = json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []
    replaced = {_of(row) for row in rows}
    return sorted([*rows, *(row for row in before if _of(row) not in replaced)], key=_of)


def _of(row: dict[str, Any]) -> tuple[str, int, int]:
    """What a row is of; networks of another width stand beside each other."""
    return row["precision"], DATASETS.index(row["dataset"]), -row["parameters"]


def measured(raw: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One data set: CPU seconds of making a batch and of the step, each way."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    processes = {}
    planned(raw, options)  # here, since a training settles the C library for its process
    for name in WAYS:
        line = [sys.executable, __file__, "--data", str(raw.parent), "--datasets", raw.name, "--way", name]
        line += ["--workspace", options.workspace, "--memory", str(options.memory)]
        line += ["--width", str(options.width)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        processes[name] = subprocess.Popen(line, **pipes)
        facts = _answer(processes[name])
    for number in range(options.rounds + 1):
        for name, process in processes.items():
            print("step", file=process.stdin, flush=True)
            found = _answer(process)
            if number:
                seconds[name].append((found["load"], found["step"]))
    for process in processes.values():
        process.communicate()
    ways = {
        name: {
            "batch_cpu_s": round(statistics.median(load for load, _ in each), 4),
            "step_cpu_s": round(statistics.median(step for _, step in each), 4),
            "steps_a_cpu_s": round(len(each) / sum(map(sum, each)), 3),
        }
        for name, each in seconds.items()
    }
    return {"dataset": raw.name, **facts, "rounds": options.rounds, "ways": ways}


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next answer of a process; nnU-Net prints between them."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(ANSWER):
            return dict(json.loads(line.removeprefix(ANSWER)))
    raise RuntimeError(f"A way ended with {process.wait()} before its turn; its error stands above.")


def take_turns(raw: Path, options: argparse.Namespace) -> None:
    """Make a step whenever a line comes in, and answer with its CPU seconds."""
    import torch

    torch.set_num_threads(1)
    load, step, facts = prepared(raw, options)
    print(ANSWER + json.dumps(facts), flush=True)
    for _ in sys.stdin:
        began = time.process_time()
        batch = load()
        between = time.process_time()
        step(batch)
        found = {"load": between - began, "step": time.process_time() - between}
        print(ANSWER + json.dumps(found), flush=True)


def planned(raw: Path, options: argparse.Namespace) -> Any:
    """A run of one step, which leaves the plan and the prepared data; what is there is not made again."""
    from autoseg.pipeline.settings import Settings
    from autoseg.pipeline.single_stages import train_one
    from autoseg.workspace import Workspace

    settings = Settings(steps=1, memory_gb=options.memory, device="cpu", workers=1)
    trainer = f"nnunet:width={options.width}:mirroring=true"
    return train_one(raw, trainer, 0, Workspace.locate(options.workspace), settings).run


def prepared(
    raw: Path, options: argparse.Namespace
) -> tuple[Callable[[], Any], Callable[[Any], Any], dict[str, Any]]:
    """What makes a batch and what takes a step, one way, and the plan that all share."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from autoseg import plugins
    from autoseg.augmentation.batch_augmentation import BatchAugmentation
    from autoseg.planner.plan import Plan
    from autoseg.system.device import autocast_dtype
    from autoseg.system.files import read_json
    from autoseg.workspace import Workspace

    workspace, run = Workspace.locate(options.workspace), planned(raw, options)
    plan = Plan.load(workspace.plan_of(run.dataset, run.plan))
    about = read_json(workspace.dataset_json_of(run.dataset))
    kind = nnUNetTrainer if options.way == "stock" else plugins.trainer_class("nnunet")
    document = {**plan.to_json(), "continue_training": False}
    trainer = kind(document, run.configuration, run.fold, dict(about), torch.device("cpu"))
    trainer.initialize()
    trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
    trainer.network.train()
    batches, _ = trainer.get_dataloaders()
    augment = None
    if options.way == BATCHES:
        augment = BatchAugmentation(batches.loader.transforms)
        batches.loader.transforms = None

    def load() -> dict[str, Any]:
        batch = next(batches)
        if augment is None:
            return dict(batch)
        data, target = augment(batch["data"], batch["target"])
        return {"data": data, "target": target}

    configuration = plan.configuration(run.configuration)
    facts = {
        "patch": list(configuration.patch_size),
        "batch": configuration.batch_size,
        "parameters": sum(each.numel() for each in trainer.network.parameters()),
        "precision": str(autocast_dtype(torch.device("cpu")) or torch.float32).removeprefix("torch."),
    }
    return load, trainer.train_step if options.way == "stock" else trainer.optimiser_step, facts


def report(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "# A training step beside stock nnU-Net's",
        "",
        "One plan, network and batch each; medians of seconds of processor time on one thread, and steps in",
        "one such second, over all rounds. The three ways took turns, each in a process of its own. Rows of",
        "a processor with bfloat16 and of one with float32 alone are of two machines; those of float32 had",
        "all three in one process, where stock has autoseg's settings of the C library too.",
        "",
        "| data set | patch, batch, weights | way | rounds | a batch | a step | steps a CPU s | to stock |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shape = f"{'x'.join(map(str, row['patch']))}, {row['batch']}, {row['parameters'] / 1e6:.1f} M"
        stock = row["ways"]["stock"]["steps_a_cpu_s"]
        for name, way in row["ways"].items():
            precision = "float32" if name == "stock" else row["precision"]
            lines.append(
                f"| {row['dataset']} | {shape} | {name} ({precision}) | {row['rounds']} "
                f"| {way['batch_cpu_s']:.3f} s "
                f"| {way['step_cpu_s']:.3f} s | {way['steps_a_cpu_s']:.3g} "
                f"| {way['steps_a_cpu_s'] / stock:.2f}x |"
            )
    lines += ["", "| data set | precision of autoseg | processor | commit | date | load at start |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [
        f"| {row['dataset']} | {row['precision']} | {row['processor']} | `{row['commit']}` | {row['date']} "
        f"| {row['load_average_at_start']} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
