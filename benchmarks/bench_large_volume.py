"""One large volume with 14 organs: `autoseg predict` beside stock nnU-Net, their CPU seconds and memory.

    OMP_NUM_THREADS=1 python benchmarks/bench_large_volume.py --work FOLDER [--slices 75] [--mirrored]

A CT phantom of 512 x 512 voxels in 300 slices, 0.8 x 0.8 x 1.5 mm, or in fewer; a small network on a grid of
1.5 mm that has learnt it. Both programs predict the same file with the same weights, without mirrored copies
or with them, and then autoseg by `--fast` too: whole processes, one thread, float32. What an earlier call
left in the folder is taken from there.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _processes
import numpy as np
import SimpleITK as sitk
import torch
from _machine import commit, machine, write_results
from _organs import GRID, ORGANS, PATCH, SHAPE, SPACING, organ_model, write_organs
from _stock_models import PREDICT

from autoseg.inference.model import load_model
from autoseg.system.files import read_json, write_json

Row = dict[str, Any]
FAST = "autoseg --fast"
WHO = ("nnU-Net", "autoseg")
OURS = """
import logging
import sys
from pathlib import Path
import torch
import autoseg.cli.app
import autoseg.inference.model
from autoseg.inference.options import Options
from autoseg.pipeline.single_stages import predict_folder
logging.basicConfig(level=logging.INFO)
torch.set_num_threads(1)
autoseg.inference.model.autocast_dtype = lambda device: None
*places, mirroring, fast = sys.argv[1:]
choices = Options("auto", fast == "fast")
predict_folder(*map(Path, places), device="cpu", mirroring=mirroring == "yes", choices=choices)
"""
BOUND = re.compile(r"Memory: (at most ([\d.]+) GB.*)")


def prepared(slices: int, work: Path) -> tuple[Path, Path]:
    """The model and the folder of the image; the labels lie beside them."""
    model = work / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    images, truth = work / "images", work / "truth.npy"
    if not truth.is_file():
        _, labels = write_organs(images, (slices, *SHAPE[1:]))
        organ_model(work, images, labels)
        np.save(truth, labels)
    return model, images


def measure(who: str, mirroring: str, model: Path, images: Path, work: Path) -> None:
    """One command; in a process of its own, whose only child it is."""
    out, log = work / f"out_{who}", work / f"log_{who}.txt"
    if who != "nnU-Net":
        fast = "fast" if who == FAST else "all"
        line: Sequence[object] = [sys.executable, "-c", OURS, model, images, out, mirroring, fast]
    else:
        options = ["-f", 0, "-device", "cpu", "-npp", 1, "-nps", 1, "--disable_progress_bar"]
        options += ["--disable_tta"] if mirroring == "no" else []
        line = [sys.executable, "-c", PREDICT, "-i", images, "-o", out, "-m", model, *options]
    variables = {"nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(work / "cache")}
    took = _processes.measure(list(map(str, line)), variables, log, interval_s=1.0)
    row: Row = {"who": who, "cpu_s": round(took.cpu_s, 1), "wall_s": round(took.wall_s)}
    row |= {"peak_mb": round(took.peak_pss_mb), "commit": commit()}
    if said := BOUND.search(log.read_text(encoding="utf-8")):
        row |= {"bound_mb": round(1000 * float(said[2])), "said": said[1]}
    write_json(work / f"took_{who}.json", row)


def alone(model: Path, mirroring: bool) -> float:
    """CPU seconds of the network alone for all windows and copies, in torch as autoseg runs it."""
    loaded = load_model(model, device="cpu", mirroring=mirroring)
    # Nothing is cropped: air is not 0.
    raw = np.load(model.parent / "truth.npy", mmap_mode="r").shape
    shape = [round(n * old / new) for n, old, new in zip(raw, SPACING, GRID, strict=True)]
    example = torch.randn(1, 1, *PATCH).contiguous(memory_format=torch.channels_last_3d)
    seconds = []
    with torch.no_grad():
        for _ in range(4):
            began = time.process_time()
            loaded.networks[0](example)
            seconds.append(time.process_time() - began)
    return round(min(seconds[1:]) * loaded.passes(shape), 1)


def compared(work: Path, images: Path, truth: Any) -> Row:
    """Equal voxels of the results and stock's, and the Dice of each against the phantom."""
    name = next(images.iterdir()).name.replace("_0000", "")
    found = {
        who: sitk.GetArrayFromImage(sitk.ReadImage(str(work / f"out_{who}" / name)))
        for who in (*WHO, FAST)
        if (work / f"took_{who}.json").is_file()
    }
    dice = {
        who: float(np.mean([_dice(each == n, truth == n) for n in range(1, ORGANS + 1)]))
        for who, each in found.items()
    }
    stock = found.get("nnU-Net")
    same = {who: float(np.mean(each == stock)) for who, each in found.items() if stock is not None}
    return {"dice": dice, "equal": same, "foreground": float(np.mean(truth > 0)), "shape": list(truth.shape)}


def _dice(one: Any, other: Any) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def text(rows: Sequence[Row]) -> str:
    """What was measured, as Markdown."""
    lines = [
        "# One large volume with 14 organs",
        "",
        "A CT phantom of 0.8 x 0.8 x 1.5 mm, a small network (8 to 64 features, patch 64 x 64 x 64) on a",
        "grid of 1.5 mm, float32, one thread, whole processes. The ratio is stock's CPU seconds by",
        "autoseg's; the limit is the network alone in torch, all copies, everything else for nothing. Peak",
        "memory is that of all processes of a command, shared pages counted once. `--fast` has no held-out",
        "cases here and takes its most careful rule: all copies of the windows that are in doubt.",
        "",
        "| voxels | mirrored | who | CPU s | clock s | ratio | limit, CPU s | peak MB | of stock's "
        "| bound said, MB "
        "| Dice | voxels equal |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        stock = row["took"].get("nnU-Net")
        for who, took in row["took"].items():
            ours = who != "nnU-Net" and stock is not None
            cells = [
                " x ".join(map(str, reversed(row["shape"]))),
                "yes" if row["mirrored"] else "no",
                who,
                f"{took['cpu_s']:.0f}",
                str(took["wall_s"]),
                f"{stock['cpu_s'] / took['cpu_s']:.2f}" if ours else "",
                f"{row['limit_s']:.0f}" if who == "autoseg" else "",
                str(took["peak_mb"]),
                f"{took['peak_mb'] / stock['peak_mb']:.2f}" if ours else "",
                str(took.get("bound_mb", "")),
                f"{row['dice'][who]:.3f}",
                f"{100 * row['equal'][who]:.4f} %" if ours else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    missing = [row for row in rows if len(row["took"]) < len(WHO)]
    if missing:
        lines += ["", "Stock nnU-Net was not run on the volumes without a row of its own."]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="folder to work in")
    parser.add_argument("--slices", type=int, default=SHAPE[0])
    parser.add_argument("--only", choices=WHO, help="the one command to run")
    parser.add_argument("--mirrored", action="store_true", help="with mirrored copies, and by --fast too")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        who, mirroring, *places = given.one
        measure(who, mirroring, *map(Path, places))
        return
    where = machine(packages=("torch", "nnunetv2", "openvino"))
    torch.set_num_threads(1)
    work = given.work / f"slices_{given.slices}"
    work.mkdir(parents=True, exist_ok=True)
    model, images = prepared(given.slices, work)
    results = work / "mirrored" if given.mirrored else work
    results.mkdir(exist_ok=True)
    all_of = (*WHO, FAST) if given.mirrored else WHO
    for who in all_of:
        if given.only in (None, who) and not (results / f"took_{who}.json").is_file():
            line = [sys.executable, __file__, "--one", who, "yes" if given.mirrored else "no"]
            line += [model, images, results]
            subprocess.run(list(map(str, line)), check=True, env={**os.environ})
    files = {who: results / f"took_{who}.json" for who in all_of}
    took = {who: read_json(path) for who, path in files.items() if path.is_file()}
    found = {"slices": given.slices, "mirrored": given.mirrored, "limit_s": alone(model, given.mirrored)}
    found |= {"took": took, **compared(results, images, np.load(work / "truth.npy"))}
    write_json(given.work / f"row_{given.slices}{'_mirrored' * given.mirrored}.json", found)
    rows = [read_json(path) for path in sorted(given.work.glob("row_*.json"))]
    write_results("large_volume", where, rows, text(rows))
    print(text(rows))


if __name__ == "__main__":
    main()
