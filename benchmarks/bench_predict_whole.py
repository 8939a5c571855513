"""`autoseg predict` as a whole process beside ``nnUNetv2_predict_from_modelfolder``, with the same weights.

    OMP_NUM_THREADS=1 python benchmarks/bench_predict_whole.py --data DATA

Stock nnU-Net plans Dataset004_Hippocampus (3d_fullres), trains a few steps on 20 cases, and both predict 10
others: one thread, float32, with mirrored copies and without. CPU seconds are those of all of a command's
processes, start included; on a machine that does other things they are disturbed less than the clock.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import bench_bundle
import numpy as np
import SimpleITK as sitk
import torch
from _machine import machine, write_results
from _stock_models import PREDICT, StockHome
from bench_bundle import equal, run, some_cases

from autoseg.inference.engines import OpenVino
from autoseg.inference.model import load_model

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


def stock_model(data: Path, work: Path, steps: int) -> tuple[Path, Path, Path]:
    """The model, images to predict, and their labels."""
    bench_bundle.TRAINED, bench_bundle.PREDICTED = TRAINED, PREDICTED
    raw, images = some_cases(data / NAME, work / "data")
    home = StockHome(work / "stock")

    def edit(document: dict[str, Any]) -> None:
        document["configurations"]["3d_fullres"]["batch_size"] = 2

    plans = home.plan(raw, edit=edit)
    home.preprocess(raw.name, plans, "3d_fullres")
    return home.train(raw.name, plans, "3d_fullres", steps), images, data / NAME / "labelsTr"


def whole_processes(model: Path, images: Path, labels: Path, work: Path) -> Iterator[Row]:
    """Stock, and ours in each engine and fast, without and with mirrored copies."""
    options = ["-f", 0, "-device", "cpu", "-npp", 1, "-nps", 1, "--disable_progress_bar"]
    for mirroring in ("no", "yes"):
        stock = work / f"stock_{mirroring}"
        line = [sys.executable, "-c", PREDICT, "-i", images, "-o", stock, "-m", model, *options]
        took = run([*line, *(["--disable_tta"] if mirroring == "no" else [])], nnUNet_def_n_proc="1")
        base = {"mirroring": mirroring, "dice": dice(stock, labels)}
        yield {**base, "who": "nnU-Net", "cpu_s": took.cpu_s, "wall_s": took.wall_s, "equal": 1.0}
        for engine, fast in (("torch", "no"), ("auto", "no"), ("auto", "yes")):
            if fast == "yes" and mirroring == "no":
                continue
            out = work / f"ours_{mirroring}_{engine}_{fast}"
            ours = run([sys.executable, "-c", OURS, model, images, out, mirroring, engine, fast])
            (out / "predictions.json").unlink()
            yield {
                **base,
                "who": f"autoseg, {engine}{', --fast' if fast == 'yes' else ''}",
                "cpu_s": ours.cpu_s,
                "wall_s": ours.wall_s,
                "ratio": round(took.cpu_s / ours.cpu_s, 2),
                "equal": equal(out, stock)[0],
                "dice": dice(out, labels),
            }


def dice(folder: Path, labels: Path) -> float:
    """Mean Dice of both structures over the cases."""
    found = []
    for path in folder.glob("*.nii.gz"):
        one, other = (sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (path, labels / path.name))
        for n in (1, 2):
            both, sizes = np.sum((one == n) & (other == n)), np.sum(one == n) + np.sum(other == n)
            found.append(2 * both / sizes if sizes else 1.0)
    return round(float(np.mean(found)), 4)


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
        "training; float32, one thread, CPU seconds of whole processes; the ratio is nnU-Net's by autoseg's.",
        "The processes ran one after the other beside other work, so that seconds on the clock mean little.",
        "",
        "| mirrored copies | who | CPU s | clock s | ratio | voxels equal | Dice |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in whole:
        cells = [
            row["mirroring"],
            row["who"],
            f"{row['cpu_s']:.1f}",
            f"{row['wall_s']:.0f}",
            f"{row['ratio']:.2f}" if "ratio" in row else "",
            f"{100 * row['equal']:.4f} %",
            f"{row['dice']:.4f}",
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
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--model", nargs=2, type=Path, help="a stock model and images that are there already")
    given = parser.parse_args()
    where = machine(packages=("torch", "nnunetv2", "openvino", "onnxruntime"))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if given.model:
            model, images, labels = *given.model, given.data / NAME / "labelsTr"
        else:
            model, images, labels = stock_model(given.data, work, given.steps)
        alone, whole = list(engines(model, work)), []
        for row in whole_processes(model, images, labels, work):
            print(row, flush=True)
            whole.append(row)
            content = [{**each, "part": "whole"} for each in whole] + [
                {**e, "part": "network"} for e in alone
            ]
            write_results("predict_whole", where, content, text(whole, alone, given.steps))


if __name__ == "__main__":
    main()
