"""`autoseg predict` as a whole process beside ``nnUNetv2_predict_from_modelfolder``, with the same weights.

    OMP_NUM_THREADS=1 python benchmarks/bench_predict_whole.py --data DATA

Stock nnU-Net plans Dataset004_Hippocampus (3d_fullres), trains a few steps on 20 cases, and both predict 10
others: one thread, float32, with mirrored copies and without. CPU seconds are those of all of a command's
processes, start included; on a machine that does other things they are disturbed less than the clock.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_bundle
import torch
from _machine import machine, write_results
from _stock_models import PREDICT, StockHome, balance_heads
from bench_bundle import equal, run, some_cases

from autoseg.inference.engines import OpenVino
from autoseg.inference.model import load_model
from autoseg.system.files import read_json, write_json

Row = dict[str, Any]
NAME, PREDICTED, TRAINED = "Dataset004_Hippocampus", 10, 20
OURS = """
import sys
from pathlib import Path
import torch
import autoseg.cli.app
import autoseg.inference.model
from autoseg.inference.options import Options
from autoseg.pipeline.single_stages import predict_folder
torch.set_num_threads(1)
autoseg.inference.model.autocast_dtype = lambda device: None
model, images, out, mirroring, engine, fast = sys.argv[1:]
choices = Options(engine, fast == "yes")
places = [Path(place) for place in (model, images, out)]
predict_folder(*places, device="cpu", mirroring=mirroring == "yes", choices=choices)
"""


def stock_model(data: Path, work: Path, steps: int) -> tuple[Path, Path]:
    """The model, and images to predict."""
    bench_bundle.TRAINED, bench_bundle.PREDICTED = TRAINED, PREDICTED
    raw, images = some_cases(data / NAME, work / "data")
    home = StockHome(work / "stock")

    def edit(document: dict[str, Any]) -> None:
        document["configurations"]["3d_fullres"]["batch_size"] = 2

    plans = home.plan(raw, edit=edit)
    home.preprocess(raw.name, plans, "3d_fullres")
    model = home.train(raw.name, plans, "3d_fullres", steps)
    balance_heads(model, images)
    return model, images


@dataclass(frozen=True)
class Side:
    """One command: mirrored copies or not, whose, in which engine, fast or not."""

    mirroring: str
    who: str
    engine: str = ""
    fast: str = "no"

    @property
    def name(self) -> str:
        """For files and the table."""
        return (
            f"{self.who}{f', {self.engine}' if self.engine else ''}{', --fast' if self.fast == 'yes' else ''}"
        )

    def line(self, model: Path, images: Path, out: Path) -> list[object]:
        """The command."""
        if self.who == "autoseg":
            given = (model, images, out, self.mirroring, self.engine, self.fast)
            return [sys.executable, "-c", OURS, *given]
        options = ["-f", 0, "-device", "cpu", "-npp", 1, "-nps", 1, "--disable_progress_bar"]
        options += ["--disable_tta"] if self.mirroring == "no" else []
        return [sys.executable, "-c", PREDICT, "-i", images, "-o", out, "-m", model, *options]


SIDES = tuple(
    Side(mirroring, *rest)
    for mirroring in ("no", "yes")
    for rest in (("nnU-Net",), ("autoseg", "torch"), ("autoseg", "auto"))
    if mirroring == "yes" or rest[-1] != "auto"
)


def measure(number: int, model: Path, images: Path, work: Path) -> None:
    """One command; in a process of its own, whose only child it is."""
    side = SIDES[number]
    took = run(side.line(model, images, work / f"out{number}"), nnUNet_def_n_proc="1")
    write_json(work / f"took{number}.json", {"cpu_s": took.cpu_s, "wall_s": took.wall_s})


def whole_processes(model: Path, images: Path, work: Path, jobs: int, mirrored: int) -> Iterator[Row]:
    """All commands, so many at a time; CPU seconds are each one's own."""

    few = work / "few"
    few.mkdir()
    for path in sorted(images.iterdir())[:mirrored]:
        (few / path.name).symlink_to(path.resolve())

    def one(number: int) -> None:
        source = few if SIDES[number].mirroring == "yes" else images
        line = [sys.executable, __file__, "--one", number, model, source, work]
        subprocess.run(list(map(str, line)), check=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, range(len(SIDES))))
    stock: dict[str, tuple[Path, float]] = {}
    for number, side in enumerate(SIDES):
        out, took = work / f"out{number}", read_json(work / f"took{number}.json")
        for path in out.glob("*.json"):
            path.unlink()
        row = {
            "mirroring": side.mirroring,
            "cases": len(list(out.glob("*.nii.gz"))),
            "who": side.name,
            **took,
        }
        if side.who == "nnU-Net":
            stock[side.mirroring] = out, took["cpu_s"]
        else:
            other, cpu_s = stock[side.mirroring]
            same, foreground = equal(out, other)
            row |= {"ratio": round(cpu_s / took["cpu_s"], 2), "equal": same, "foreground": foreground}
        yield row


def engines(model: Path, work: Path) -> Iterator[Row]:
    """CPU seconds of one patch through the network alone, in each program."""
    from autoseg.bundle.segment import load_network
    from autoseg.export.onnx_network import write_network

    ours, plain = load_model(model, device="cpu"), load_model(model, device="cpu", as_trained=True)
    network, example = ours.networks[0], torch.randn(1, 1, *ours.configuration.patch_size)
    began = time.process_time()
    file = work / "network.onnx"
    write_network(plain.networks[0], 1, ours.configuration.patch_size, file)
    export_s = time.process_time() - began
    began = time.process_time()
    openvino = OpenVino(network, example, reduced=False)
    convert_s = time.process_time() - began
    onnx = load_network(file.read_bytes(), file.name, 1)
    last = torch.channels_last_3d
    sides: dict[str, tuple[Callable[[], Any], float]] = {
        "torch": (lambda: plain.networks[0](example), 0.0),
        "torch as autoseg runs it": (lambda: network(example.contiguous(memory_format=last)), 0.0),
        "onnxruntime": (lambda: onnx(example.numpy()), export_s),
        "OpenVINO": (lambda: openvino(example), convert_s),
    }
    with torch.no_grad():
        for name, (call, prepare_s) in sides.items():
            call()
            seconds = []
            for _ in range(5):
                began = time.process_time()
                call()
                seconds.append(time.process_time() - began)
            yield {"engine": name, "cpu_s": round(min(seconds), 3), "prepare_s": round(prepare_s, 1)}


def text(whole: Sequence[Row], alone: Sequence[Row], steps: int) -> str:
    """What was measured, as Markdown."""
    lines = [
        "# Prediction as a whole process beside nnU-Net's",
        "",
        f"{PREDICTED} cases of {NAME}, 3d_fullres as nnU-Net plans it, weights of {steps} steps of stock",
        "training, biases of the last layer shifted so that all labels occur. Float32, one thread, CPU",
        "seconds of whole processes; the ratio is nnU-Net's by autoseg's. They ran beside other work:",
        "seconds on the clock mean little.",
        "",
        "| mirrored copies | cases | who | CPU s | clock s | ratio | voxels equal | foreground |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in whole:
        cells = [
            row["mirroring"],
            str(row["cases"]),
            row["who"],
            f"{row['cpu_s']:.1f}",
            f"{row['wall_s']:.0f}",
            f"{row['ratio']:.2f}" if "ratio" in row else "",
            f"{100 * row['equal']:.4f} %" if "equal" in row else "",
            f"{100 * row['foreground']:.1f} %" if "foreground" in row else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "One patch through the network alone:",
        "",
        "| program | CPU s | to prepare, CPU s |",
        "|---|---|---|",
    ]
    lines += [f"| {row['engine']} | {row['cpu_s']:.3f} | {row['prepare_s']:.1f} |" for row in alone]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data sets")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--model", nargs=2, type=Path, help="a stock model and images that are there already")
    parser.add_argument("--jobs", type=int, default=1, help="commands at a time")
    parser.add_argument("--mirrored", type=int, default=10, help="cases with mirrored copies")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        number, *places = given.one
        measure(int(number), *map(Path, places))
        return
    where = machine(packages=("torch", "nnunetv2", "openvino", "onnxruntime"))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if given.model:
            model, images = given.model
        else:
            model, images = stock_model(given.data, work, given.steps)
        alone = list(engines(model, work))
        whole = list(whole_processes(model, images, work, given.jobs, given.mirrored))
        for row in (*whole, *alone):
            print(row)
        write_results("predict_whole", where, [*whole, *alone], text(whole, alone, given.steps))


if __name__ == "__main__":
    main()
