"""`autoseg predict` as a whole process beside ``nnUNetv2_predict_from_modelfolder``, with the same weights.

    OMP_NUM_THREADS=1 python benchmarks/bench_predict_whole.py --data DATA

Stock nnU-Net plans Dataset004_Hippocampus (3d_fullres); the last layer of that network is fitted to some
cases, and both predict 10 others: one thread, float32, with mirrored copies and without. CPU seconds are
those of all of a command's processes, start included; on a machine that does other things they are disturbed
less than the clock. "auto" runs twice: the first run measures which engine is faster, the second knows it.
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

import _processes
import bench_bundle
import torch
from _machine import machine, write_results
from _readout import fit_last_layer
from _stock_models import PREDICT, StockHome
from bench_bundle import equal, some_cases

from autoseg.architectures import channels_last
from autoseg.data.readers import read_images, read_segmentation
from autoseg.inference.engines import OpenVino
from autoseg.inference.model import load_model
from autoseg.inference.network import channels_of
from autoseg.system.files import read_json, write_json

Row = dict[str, Any]
NAME, PREDICTED, FITTED = "Dataset004_Hippocampus", 10, 8
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
model, images, out, mirroring, engine = sys.argv[1:]
choices = Options(engine)
places = [Path(place) for place in (model, images, out)]
predict_folder(*places, device="cpu", mirroring=mirroring == "yes", choices=choices)
"""


def stock_model(data: Path, work: Path) -> tuple[Path, Path]:
    """The model, and images to predict."""
    bench_bundle.TRAINED, bench_bundle.PREDICTED = FITTED, PREDICTED
    raw, images = some_cases(data / NAME, work / "data")
    home = StockHome(work / "stock")
    plans = home.plan(raw)
    document = read_json(home.folder / "preprocessed" / NAME / f"{plans}.json")
    about, reader = read_json(raw / "dataset.json"), document["image_reader_writer"]
    pairs = []
    for path in sorted((raw / "labelsTr").iterdir()):
        image = raw / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz")
        pairs.append((read_images([image], reader), read_segmentation(path, reader)))
    model = work / "model" / NAME / f"nnUNetTrainer__{plans}__3d_fullres"
    model.mkdir(parents=True)
    write_json(model / "plans.json", document)
    write_json(model / "dataset.json", about)
    fit_last_layer(model, document, about, pairs)
    return model, images


@dataclass(frozen=True)
class Side:
    """One command: mirrored copies or not, whose, in which engine, and for which time."""

    mirroring: str
    who: str
    engine: str = ""
    time: str = ""

    @property
    def name(self) -> str:
        """For files and the table."""
        return ", ".join(filter(None, (self.who, self.engine, self.time)))

    def line(self, model: Path, images: Path, out: Path) -> list[object]:
        """The command."""
        if self.who == "autoseg":
            given = (model, images, out, self.mirroring, self.engine)
            return [sys.executable, "-c", OURS, *given]
        options = ["-f", 0, "-device", "cpu", "-npp", 1, "-nps", 1, "--disable_progress_bar"]
        options += ["--disable_tta"] if self.mirroring == "no" else []
        return [sys.executable, "-c", PREDICT, "-i", images, "-o", out, "-m", model, *options]


SIDES = (
    Side("no", "nnU-Net"),
    Side("no", "autoseg", "torch"),
    Side("yes", "nnU-Net"),
    Side("yes", "autoseg", "torch"),
    Side("yes", "autoseg", "auto", "first"),
    Side("yes", "autoseg", "auto", "again"),
)


def measure(number: int, model: Path, images: Path, work: Path) -> None:
    """One command; in a process of its own, whose only child it is."""
    side = SIDES[number]
    line = list(map(str, side.line(model, images, work / f"out{number}")))
    # Engines are measured here, whatever was known on this machine before.
    variables = {"nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(work / "cache")}
    took = _processes.measure(line, variables, work / f"log{number}.txt")
    found = {"cpu_s": round(took.cpu_s, 2), "wall_s": round(took.wall_s, 2)}
    write_json(work / f"took{number}.json", found | {"peak_mb": round(took.peak_pss_mb)})


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
    from autoseg.inference.onnx_network import write_network

    ours, plain = load_model(model, device="cpu"), load_model(model, device="cpu", as_trained=True)
    network, patch = ours.networks[0], ours.configuration.patch_size
    channels = channels_of(ours.configuration, ours.dataset_json)
    example = torch.randn(1, channels, *patch)
    began = time.process_time()
    file = work / "network.onnx"
    write_network(plain.networks[0], channels, patch, file)
    export_s = time.process_time() - began
    began = time.process_time()
    openvino = OpenVino(network, example, reduced=False)
    convert_s = time.process_time() - began
    onnx = load_network(file.read_bytes(), file.name, 1)
    last = channels_last(len(patch))
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


def passes_of(model: Path, images: Path, mirrored: int) -> dict[str, int]:
    """Patches that go through the network for the cases, by whether there are mirrored copies."""
    loaded = load_model(model, device="cpu")
    shapes = [
        loaded.preprocess(read_images([path], loaded.reader))[0].shape[1:]
        for path in sorted(images.iterdir())
    ]
    copies = 2 ** len(loaded.mirror_axes)
    counts = [loaded.passes(shape) for shape in shapes]
    return {"no": sum(counts) // copies, "yes": sum(counts[:mirrored])}


def text(whole: Sequence[Row], alone: Sequence[Row]) -> str:
    """What was measured, as Markdown."""
    lines = [
        "# Prediction as a whole process beside nnU-Net's",
        "",
        f"Cases of {NAME}, 3d_fullres as nnU-Net plans it; drawn weights, the last layer fitted to",
        f"{FITTED} other cases by least squares. Float32, one thread, CPU seconds of whole processes; the",
        "ratio is nnU-Net's by autoseg's. The limit is the network alone: all passes of the cases in the",
        "fastest program below; the ratio at most is nnU-Net's by it, with all else for nothing. Peak memory",
        "is that of all processes of a command, shared pages counted once. Where next to nothing is",
        "foreground, equal voxels say little.",
        "",
        "| mirrored copies | cases | who | CPU s | clock s | ratio | at most | limit, CPU s | peak MB "
        "| voxels equal | foreground |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    stock = {row["mirroring"]: row["cpu_s"] for row in whole if "ratio" not in row}
    for row in whole:
        cells = [
            row["mirroring"],
            str(row["cases"]),
            row["who"],
            f"{row['cpu_s']:.1f}",
            f"{row['wall_s']:.0f}",
            f"{row['ratio']:.2f}" if "ratio" in row else "",
            f"{stock[row['mirroring']] / row['limit_s']:.2f}" if "limit_s" in row else "",
            f"{row['limit_s']:.1f}" if "limit_s" in row else "",
            str(row["peak_mb"]),
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
            model, images = stock_model(given.data, work)
        alone = list(engines(model, work))
        fastest = min(row["cpu_s"] for row in alone)
        passes = passes_of(model, images, given.mirrored)
        whole = list(whole_processes(model, images, work, given.jobs, given.mirrored))
        for row in whole:
            if "ratio" in row:
                row["limit_s"] = round(passes[row["mirroring"]] * fastest, 1)
        for row in (*whole, *alone):
            print(row)
        write_results("predict_whole", where, [*whole, *alone], text(whole, alone))


if __name__ == "__main__":
    main()
