"""Threads that wait, beside other processes: `autoseg predict` where they spin and where they sleep.

    python benchmarks/bench_threads.py [--busy 0,2] [--repeats 3]

A network of the demo is trained for four steps. Its prediction of eight pictures is run as a whole process,
with OMP_WAIT_POLICY as ACTIVE, as the library's default, and as PASSIVE (what the command line sets), beside
so many processes that compute without end. The order changes from repeat to repeat; outputs are compared.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _machine import cores, machine, write_results
from _processes import Cost, measure
from PIL import Image

NAME = "threads"
PICTURES = 8
# The empty text is no policy of libgomp's: it takes its default, which spins for a while and then sleeps.
POLICIES = {"spins (ACTIVE)": "ACTIVE", "library's default": "", "sleeps (PASSIVE)": "PASSIVE"}


def main() -> None:
    where = machine(packages=("torch",))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--busy", default="0,2", help="numbers of busy processes beside, with commas")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, images = _prepared(Path(folder))
        rows = []
        for count in map(int, arguments.busy.split(",")):
            with _busy(count):
                rows += _measured(model, images, count, arguments.repeats)
    text = [
        "# Threads that wait",
        "",
        f"`autoseg predict`, a whole process on {cores()} threads, {PICTURES} pictures of the demo. "
        f"Medians of {arguments.repeats} runs, in turn.",
        "",
        "| busy processes beside | a thread that waits | wall s | CPU s | labels equal |",
        "|---|---|---|---|---|",
        *(
            f"| {row['busy']} | {row['policy']} | {row['wall_s']:.1f} | {row['cpu_s']:.1f} | {row['equal']} |"
            for row in rows
        ),
    ]
    write_results(NAME, where, rows, "\n".join(text))


def _prepared(folder: Path) -> tuple[Path, Path]:
    """A model of four steps, and the folder of the pictures that it segments."""
    from autoseg.data.synthetic import make_demo
    from autoseg.pipeline.settings import Settings
    from autoseg.pipeline.walk import plan_and_train
    from autoseg.workspace import Workspace

    workspace = Workspace.locate(folder / "ws")
    _, pictures = make_demo(workspace.raw, cases=(1, PICTURES))
    settings = Settings(trainers=("nnunet",), folds=(0,), steps=4, small=True, device="cpu")
    plan_and_train(pictures, workspace, settings)
    model = next(workspace.results.glob(f"{pictures.name}/nnunet__*"))
    return model, pictures / "imagesTr"


def _measured(model: Path, images: Path, busy: int, repeats: int) -> list[dict[str, object]]:
    costs: dict[str, list[Cost]] = {name: [] for name in POLICIES}
    labels: dict[str, list[np.ndarray]] = {}
    names = list(POLICIES)
    for repeat in range(repeats):
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            output = model.parent.parent.parent / f"out_{busy}_{repeat}_{POLICIES[name]}"
            command = [sys.executable, "-m", "autoseg", "predict", str(model), str(images), str(output)]
            environment = {"OMP_WAIT_POLICY": POLICIES[name], "OMP_NUM_THREADS": str(cores())}
            costs[name].append(
                measure([*command, "--device", "cpu"], environment, output.with_suffix(".log"))
            )
            labels[name] = [np.asarray(Image.open(path)) for path in sorted(output.glob("*.png"))]
    first = labels[names[0]]
    return [
        {
            "busy": busy,
            "policy": name,
            "wall_s": statistics.median(cost.wall_s for cost in costs[name]),
            "cpu_s": statistics.median(cost.cpu_s for cost in costs[name]),
            "equal": len(first) == len(labels[name]) > 0
            and all(np.array_equal(a, b) for a, b in zip(first, labels[name], strict=True)),
        }
        for name in names
    ]


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that compute until the block ends."""
    processes = [
        subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"]) for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
