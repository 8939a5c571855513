"""All figures of a GPU in one command of about ten minutes: steps beside stock, memory, budgets, Dice.

    python benchmarks/bench_gpu.py --data FOLDER --workspace FOLDER

It needs a GPU and says so where there is none. ``--dry`` walks the same way on the processor with a few
generated volumes, a few steps and short budgets, to see that the command itself works; its numbers say
nothing of a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from _machine import HERE, machine, write_results

NAME, DATASET, LEVEL = "gpu", "Dataset004_Hippocampus", 0.885
STEPS, WARM_UP, EPOCH = 100, 20, 250
MINUTES = (2.0, 5.0)
DRY_STEPS, DRY_MINUTES, DRY_VOLUMES = 2, (1.0,), 10
TOLERANCE = 0.05
NOT_MEASURED = "not measured"


def main() -> int:
    """Measure and write; 1 where there is no GPU."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", default="gpu_workspace", help="where everything goes; a new one")
    parser.add_argument("--minutes", nargs="+", type=float, help="budgets (2 and 5)")
    parser.add_argument("--steps", type=int, help=f"steps that are timed, each way ({STEPS})")
    parser.add_argument("--dry", action="store_true", help="small, on the processor; writes no results")
    parser.add_argument("--no-results", dest="results", action="store_false", help="print, write nothing")
    options = parser.parse_args()
    import torch

    device = "cpu" if options.dry else "cuda"
    if not options.dry and not torch.cuda.is_available():
        print(
            "There is no GPU here, so nothing was measured and nothing is written. Run it on a machine with"
        )
        print("one, or see with --dry that the command works.")
        return 1
    where = machine(device, packages=("torch", "nnunetv2"))
    place = Path(options.workspace).absolute()
    raw = volumes(place / "raw") if options.dry else Path(options.data) / DATASET
    count = options.steps or (DRY_STEPS if options.dry else STEPS)
    found: dict[str, Any] = {"dataset": raw.name, "device": device}
    found["steps"] = steps(raw, place / "steps", device, count)
    print(json.dumps(found["steps"]), flush=True)
    found["budgets"] = []
    for minutes in options.minutes or (DRY_MINUTES if options.dry else MINUTES):
        found["budgets"].append(budget(raw, place / f"budget_{minutes:g}", device, minutes))
        print(json.dumps(found["budgets"][-1]), flush=True)
    text = report(found)
    if options.results and not options.dry:
        write_results(NAME, where, found, text)
    else:
        print(text)
    return 0


def volumes(folder: Path) -> Path:
    """A few generated volumes."""
    from autoseg.data.synthetic import make_demo

    return make_demo(folder, cases=(DRY_VOLUMES, 1))[0]


def steps(raw: Path, place: Path, device: str, count: int) -> dict[str, Any]:
    """Seconds of a step with its loading, busy share and peak memory, of stock nnU-Net and of autoseg."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from autoseg import plugins
    from autoseg.pipeline.settings import Settings
    from autoseg.pipeline.single_stages import train_one
    from autoseg.planner.plan import Plan
    from autoseg.system.files import read_json
    from autoseg.workspace import Workspace

    workspace = Workspace.locate(place)
    run = train_one(raw, "nnunet:mirroring=true", 0, workspace, Settings(steps=1, device=device)).run
    plan = Plan.load(workspace.plan_of(run.dataset, run.plan))
    about = read_json(workspace.dataset_json_of(run.dataset))
    configuration = plan.configuration(run.configuration)
    found: dict[str, Any] = {
        "patch": list(configuration.patch_size),
        "batch": configuration.batch_size,
        "counted_memory_mb": None,
    }
    for name, kind in (("autoseg", plugins.trainer_class("nnunet")), ("stock", nnUNetTrainer)):
        document = {**plan.to_json(), "continue_training": False}
        trainer: Any = kind(document, run.configuration, run.fold, dict(about), torch.device(device))
        trainer.initialize()
        trainer.on_train_start()
        trainer.network.train()
        found[name] = timed(trainer, count, device)
        found["counted_memory_mb"] = found["counted_memory_mb"] or counted(trainer, device)
        for loader in (trainer.dataloader_train, trainer.dataloader_val):
            if hasattr(loader, "_finish"):
                loader._finish()
        del trainer
        if device == "cuda":
            torch.cuda.empty_cache()
    return found


def counted(trainer: Any, device: str) -> int:
    """What the planner counts for weights, momentum and a step, 10^6 bytes."""
    import torch

    from autoseg.tailoring.memory.trace import trace_network

    manager, configuration = trainer.plans_manager, trainer.configuration_manager
    channels, classes = trainer.num_input_channels, trainer.label_manager.num_segmentation_heads

    def build() -> Any:
        return trainer.build_network_architecture(manager, configuration, channels, classes, True)

    shape = (configuration.batch_size, channels, *configuration.patch_size)
    dtype = torch.float16 if device == "cuda" else torch.bfloat16
    return round(trace_network(build, shape, classes, torch.device(device), dtype).peak(1) / 1e6)


def timed(trainer: Any, count: int, device: str) -> dict[str, Any]:
    """Steps of one trainer, after some that are not counted."""
    import torch

    def settled() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    for _ in range(min(WARM_UP, count)):
        trainer.train_step(next(trainer.dataloader_train))
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    busy = Busy(device)
    began = settled()
    for _ in range(count):
        trainer.train_step(next(trainer.dataloader_train))
    seconds = settled() - began
    return {
        "step_s": round(seconds / count, 5),
        "epoch_s": round(EPOCH * seconds / count, 2),
        "busy": busy.end(),
        "peak_memory_mb": round(torch.cuda.max_memory_allocated() / 1e6) if device == "cuda" else None,
    }


class Busy(threading.Thread):
    """The share of the time in which the GPU had something to do, as its driver says, twice a second."""

    def __init__(self, device: str) -> None:
        super().__init__(daemon=True)
        self._seen: list[float] = []
        self._ended = threading.Event()
        self._on = device == "cuda"
        self.start()

    def run(self) -> None:
        import torch

        while self._on and not self._ended.wait(0.5):
            try:
                self._seen.append(float(torch.cuda.utilization()))
            except (ModuleNotFoundError, RuntimeError):  # without the package that asks the driver
                return

    def end(self) -> float | None:
        """Percent; None: nothing measures it."""
        self._ended.set()
        self.join()
        return round(sum(self._seen) / len(self._seen), 1) if self._seen else None


def budget(raw: Path, place: Path, device: str, minutes: float) -> dict[str, Any]:
    """One whole command under a budget: what it took, what it used, and how good its model is."""
    program = ["-m", "autoseg"]
    if device == "cpu":  # a dry walk: by processor time, so that a busy machine does not make it impossible
        program = [str(HERE / "_cpu_clock.py"), "monotonic,perf_counter", *program]
    command = [sys.executable, *program, "plan-and-train", str(raw), "--trainers", "nnunet"]
    command += ["--folds", "0", "--budget", f"{60 * minutes:g}s", "--device", device]
    began = time.monotonic()
    subprocess.run([*command, "--workspace", str(place), "--quiet"], check=True, stdout=subprocess.DEVNULL)
    command_s = time.monotonic() - began
    (path,) = place.glob("results/*/*/fold_0/record.jsonl")
    record = json.loads(path.read_text())
    cost = record["cost"]
    return {
        "budget_s": 60 * minutes,
        "used_s": cost["train_s"],
        "command_s": round(command_s, 1),
        "steps": cost["training_steps"],
        "peak_memory_mb": cost["peak_memory_mb"],
        "dice": round(record["quality"]["dice"]["value"], 4),
    }


def of(value: float | None, unit: str) -> str:
    """A value in its unit, or that nothing measured it."""
    return NOT_MEASURED if value is None else f"{value:.0f} {unit}"


def report(found: dict[str, Any]) -> str:
    """Markdown."""
    each, rows = found["steps"], found["budgets"]
    shape = f"{'x'.join(map(str, each['patch']))}, batch {each['batch']}"
    lines = ["# On a GPU", "", f"{found['dataset']}, {shape}; loading and augmentation included.", ""]
    lines += ["| | step | epoch of 250 steps | busy | peak memory | to stock |", "|---|---|---|---|---|---|"]
    for name in ("stock", "autoseg"):
        row = each[name]
        memory = row["peak_memory_mb"]
        lines.append(
            f"| {name} | {1000 * row['step_s']:.1f} ms | {row['epoch_s']:.1f} s "
            f"| {of(row['busy'], '%')} | {of(memory, 'MB')} "
            f"| {each['stock']['step_s'] / row['step_s']:.2f}x |"
        )
    lines += ["", f"The planner counts {each['counted_memory_mb']} MB for weights, momentum and a step."]
    lines += ["", "| budget | used | within 5 % | whole command | steps | peak memory | Dice |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in rows:
        over = row["used_s"] / row["budget_s"] - 1
        lines.append(
            f"| {row['budget_s']:.0f} s | {row['used_s']:.0f} s | {'yes' if over <= TOLERANCE else 'no'} "
            f"({over:+.1%}) | {row['command_s']:.0f} s | {row['steps']} "
            f"| {row['peak_memory_mb']:.0f} MB | {row['dice']:.3f} |"
        )
    there = [row["command_s"] / 60 for row in rows if row["dice"] >= LEVEL]
    best = max(row["dice"] for row in rows)
    lines += [
        "",
        f"Minutes from the raw folder to a Dice of {LEVEL}: {min(there):.1f}."
        if there
        else f"A Dice of {LEVEL} was not reached with these budgets; the best is {best:.3f}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
