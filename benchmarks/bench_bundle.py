"""Bundles beside `autoseg predict` and stock nnU-Net: the same labels, and what they cost.

    python benchmarks/bench_bundle.py --data DATA --light LIGHT/bin/python

Models are trained for a few steps on some cases of real data sets and predict others. DATA holds the data
sets; LIGHT is a virtual environment with onnxruntime, numpy, scipy and SimpleITK alone. Every prediction is
a process of its own with one thread and in float32, so that the figures are the same on processors with
bfloat16. CPU seconds are those of the whole process, its start included.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from _machine import commit, machine, write_results

from autoseg.data.dataset import labels_from_json
from autoseg.decoding.rules import BEST_DICE, Decoding
from autoseg.decoding.temperature import Calibration
from autoseg.errors import RunError
from autoseg.export import export_bundle, export_nnunet
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.single_stages import train_one
from autoseg.postprocessing.rules import Postprocessing, Rule
from autoseg.run import POSTPROCESSING
from autoseg.system.files import read_json, write_json
from autoseg.workspace import Workspace

Row = dict[str, Any]
TRAINED, PREDICTED, STARTS = 24, 2, 1
FETAL_HEAD, HIPPOCAMPUS = "Dataset018_FetalHead", "Dataset004_Hippocampus"
CONFIGURATION = {FETAL_HEAD: "2d", HIPPOCAMPUS: "3d_fullres"}


@dataclass(frozen=True)
class Model:
    """A model to compare.

    Attributes:
        dataset: that it is trained on.
        trainer: a name with options.
        configuration: that is trained.
        longer: how many times as many steps it is trained.
        folds: trained ones, which the bundle averages.
        rules: whether it has postprocessing, a calibration, and a decoding for the best expected Dice.
    """

    dataset: str
    trainer: str
    configuration: str
    longer: int = 1
    folds: tuple[int, ...] = (0,)
    rules: bool = False

    @property
    def name(self) -> str:
        """The trainer, and what is special about the row."""
        folds = f", {len(self.folds)} folds" if len(self.folds) > 1 else ""
        rules = ", postprocessing, calibration, decoding" if self.rules else ""
        return f"`{self.trainer}`{folds}{rules}"


# Both dimensions of every documented system, and what stock nnU-Net has the networks of.
MODELS = (
    Model(FETAL_HEAD, "nnunet", "2d"),
    Model(HIPPOCAMPUS, "nnunet", "3d_fullres", longer=15),
    Model(HIPPOCAMPUS, "brainunet", "3d_fullres"),
    Model(HIPPOCAMPUS, "deepmrseg:orientations=3", "2d"),
    Model(HIPPOCAMPUS, "mednext_s", "3d_fullres"),
    Model(FETAL_HEAD, "mobilenetv2_unet", "2d"),
    Model(FETAL_HEAD, "resnet50_unet", "2d"),
    Model(FETAL_HEAD, "resnet34_mlp", "2d"),
    Model(FETAL_HEAD, "brainunet", "2d"),
    Model(FETAL_HEAD, "mednext_s", "2d"),
    Model(HIPPOCAMPUS, "nnunet", "3d_fullres", folds=(0, 1), rules=True),
    Model(HIPPOCAMPUS, "resnet34_mlp", "3d_fullres"),
    Model(HIPPOCAMPUS, "mobilenetv2_unet", "3d_fullres"),
    Model(HIPPOCAMPUS, "resnet50_unet", "3d_fullres"),
    Model(HIPPOCAMPUS, "deepmrseg:orientations=1", "3d_fullres"),
    Model(HIPPOCAMPUS, "nnunet", "2d", folds=(0, 1)),
    Model(FETAL_HEAD, "nnunet_resenc_m", "2d"),
    Model(HIPPOCAMPUS, "nnunet_resenc_l", "3d_fullres"),
    Model(HIPPOCAMPUS, "nnunet_resenc_xl", "2d"),
)
IN_FLOAT32 = """
import sys
from pathlib import Path
import torch
import autoseg.inference.model
from autoseg.pipeline.single_stages import predict_folder
torch.set_num_threads(1)
autoseg.inference.model.autocast_dtype = lambda device: None
predict_folder(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), device="cpu")
"""
# The bundle's own program, and after it the CPU seconds that its networks took of the whole.
NETWORK_ALONE = """
import runpy, sys, time
import onnxruntime
spent = 0.0
class Timed(onnxruntime.InferenceSession):
    def run(self, *given):
        global spent
        began = time.process_time()
        found = super().run(*given)
        spent += time.process_time() - began
        return found
onnxruntime.InferenceSession = Timed
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    if end.code:
        raise
print(spent)
"""
STOCK = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as main; main()"


@dataclass(frozen=True)
class Ran:
    """What a process took."""

    cpu_s: float
    wall_s: float
    printed: str = ""


def run(line: Sequence[object], **environment: str) -> Ran:
    """Run a command to its end; an error shows what it printed."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(list(map(str, line)), env=variables, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{line[0]} failed:\n{done.stderr[-3000:]}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(round(used, 2), round(wall, 2), done.stdout)


def some_cases(source: Path, folder: Path) -> tuple[Path, Path]:
    """A raw data set with the first cases of another, and a folder with images of later ones, as links."""
    about = read_json(source / "dataset.json")
    ending = about["file_ending"]
    names = sorted(path.name.removesuffix(ending) for path in (source / "labelsTr").glob(f"*{ending}"))
    chosen, later = names[:TRAINED], names[TRAINED : TRAINED + PREDICTED]
    raw, images = folder / "raw" / source.name, folder / "images" / source.name
    for place in (raw / "imagesTr", raw / "labelsTr", images):
        place.mkdir(parents=True, exist_ok=True)
    for path in (source / "imagesTr").iterdir():
        name = path.name.removesuffix(ending)[:-5]
        if name in chosen or name in later:
            link((raw / "imagesTr" if name in chosen else images) / path.name, path)
    for name in chosen:
        link(raw / "labelsTr" / f"{name}{ending}", source / "labelsTr" / f"{name}{ending}")
    write_json(raw / "dataset.json", {**about, "numTraining": len(chosen)})
    return raw, images


def link(place: Path, file: Path) -> None:
    """A link to a file, where an earlier call has not made it."""
    if not place.is_symlink():
        place.symlink_to(file.resolve())


def equal(one: Path, other: Path) -> tuple[float, float]:
    """The share of equal voxels in all files of two folders, and of foreground in the first."""
    same = count = foreground = 0
    for path in sorted(one.iterdir()):
        if path.suffix == ".json":
            continue
        first, second = (sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (path, other / path.name))
        same += int(np.count_nonzero(first == second))
        count, foreground = count + first.size, foreground + int(np.count_nonzero(first))
    return same / count, foreground / count


def rows(data: Path, light: Path, steps: int, work: Path, part: tuple[int, int]) -> Iterator[Row]:
    """One model after the other: trained, exported, and predicting; what an earlier call found stays."""
    places = {name: some_cases(data / name, work) for name in CONFIGURATION}
    for number, each in list(enumerate(MODELS))[part[0] :: part[1]]:
        found = work / f"row_{number:02}.json"
        if not found.is_file():
            folder = work / f"model_{number:02}"
            shutil.rmtree(folder, ignore_errors=True)
            raw, images = places[each.dataset]
            model = trained(each, raw, steps * each.longer, Workspace.locate(folder / "workspace"))
            about = {"dataset": each.dataset, "model": each.name, "configuration": each.configuration}
            row = {
                **about,
                "steps": steps * each.longer,
                **measured(model, images, light, folder, each.folds),
            }
            write_json(found, {**row, "commit": commit()})
            shutil.rmtree(folder)
        yield read_json(found)


def trained(each: Model, raw: Path, steps: int, workspace: Workspace) -> Path:
    """The folder of a model, or of an ensemble, after a few small steps."""
    settings = Settings(steps=steps, small=True, device="cpu", workers=1, configuration=each.configuration)
    for fold in each.folds:
        model = train_one(raw, each.trainer, fold, workspace, settings).run.model_folder
    if each.rules:
        write_rules(model)
    return model


def write_rules(model: Path) -> None:
    """Rules beside a model, by hand: so short a training gives no evidence that would decide for any."""
    names = labels_from_json(read_json(model / "dataset.json")).structures
    rules = tuple(Rule(name, values, values[0], largest=True) for name, values in names.items())
    Postprocessing(rules).save(model)
    bias = (0.0, *(0.1 * number for number in range(1, len(names) + 1)))
    Decoding(Calibration(1.4, bias), BEST_DICE).save(model)


def measured(model: Path, images: Path, light: Path, work: Path, folds: Sequence[int]) -> Row:
    """What a model, its bundle and, if there is one, its stock model make of some images."""
    began = time.process_time()
    bundle = export_bundle(model, work / "bundle")
    export_s = round(time.process_time() - began, 1)
    ours = run([sys.executable, "-c", IN_FLOAT32, model, images, work / "ours"])
    bundled = run([light, bundle / "run.py", images, work / "bundled", "--threads", 1])
    same, foreground = equal(work / "ours", work / "bundled")
    first = work / "first"
    first.mkdir()
    image = sorted(images.iterdir())[0]
    (first / image.name).symlink_to(image.resolve())
    line = [bundle / "run.py", first, work / "start", "--overwrite", "--threads", 1]
    alone = run([light, "-c", NETWORK_ALONE, *line])
    starts = [run([light, *line]) for _ in range(STARTS)]
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    row: Row = {
        "export_cpu_s": export_s,
        "megabytes": round(size / 1e6, 1),
        "difference": read_json(bundle / "model.json")["about"]["difference_to_torch"],
        "equal": same,
        "foreground": foreground,
        "predict_cpu_s": ours.cpu_s,
        "bundle_cpu_s": bundled.cpu_s,
        "first_cpu_s": min(each.cpu_s for each in starts),
        "first_wall_s": min(each.wall_s for each in starts),
        "network_cpu_s": round(float(alone.printed.split()[-1]), 2),
        "no_stock": "rules of ours",
        "stock_equal": None,
        "stock_cpu_s": None,
    }
    with_rules = (model / POSTPROCESSING).is_file()  # which stock prediction does not apply
    return row if with_rules else row | stock(model, images, work, folds)


def stock(model: Path, images: Path, work: Path, folds: Sequence[int]) -> Row:
    """Stock nnU-Net where importing autoseg fails; empty for a model that it cannot open."""
    try:
        exported = export_nnunet(model, work / "stock_model")
    except RunError as refused:
        return {"no_stock": "several models" if " models; " in str(refused) else "none of its networks"}
    (work / "blocked").mkdir()
    (work / "blocked" / "autoseg.py").write_text('raise ImportError("there is no autoseg here")\n')
    options = ["-f", *folds, "-device", "cpu", "-npp", 1, "-nps", 1, "--disable_progress_bar"]
    line = [sys.executable, "-c", STOCK, "-i", images, "-o", work / "stock", "-m", exported, *options]
    took = run(line, PYTHONPATH=str(work / "blocked"), nnUNet_def_n_proc="1")
    return {"stock_equal": equal(work / "ours", work / "stock")[0], "stock_cpu_s": took.cpu_s}


def text(found: Sequence[Row], steps: int) -> str:
    """What was measured, as Markdown."""
    lines = [
        "# Bundles: the same labels without torch",
        "",
        f"Models trained for some small steps ({steps}, or as the row says) on {TRAINED} cases predict",
        f"{PREDICTED} others: with `autoseg predict`, with the bundle's `run.py` in an environment that has",
        "onnxruntime, numpy, scipy and SimpleITK alone, and with stock nnU-Net where importing autoseg",
        "fails. One thread, float32; CPU seconds are those of whole processes. `orientations=3` is an",
        "ensemble of three. Postprocessing (largest component), calibration and decoding (best expected",
        "Dice) were set by hand; stock prediction does not apply them, so that row has no stock model.",
        "The network of one case is what onnxruntime computes, measured in a call of its own: the limit.",
        "",
        "| data set | model | configuration | steps | labels equal | foreground | logits differ by "
        "| predict, CPU s | bundle, CPU s | ratio | one case from the start, CPU s (wall) "
        "| the network of it, CPU s | export, CPU s | MB | stock equal | stock, CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        has_stock = row["stock_equal"] is not None
        cells = [
            row["dataset"],
            row["model"],
            row["configuration"],
            str(row["steps"]),
            f"{100 * row['equal']:.4f} %",
            f"{100 * row['foreground']:.1f} %",
            f"{row['difference']:.0e}",
            f"{row['predict_cpu_s']:.1f}",
            f"{row['bundle_cpu_s']:.1f}",
            f"{row['bundle_cpu_s'] / row['predict_cpu_s']:.2f}",
            f"{row['first_cpu_s']:.2f} ({row['first_wall_s']:.2f})",
            f"{row['network_cpu_s']:.2f}" if "network_cpu_s" in row else "",
            f"{row['export_cpu_s']:.0f}",
            f"{row['megabytes']:.1f}",
            f"{100 * row['stock_equal']:.4f} %" if has_stock else row["no_stock"],
            f"{row['stock_cpu_s']:.1f}" if has_stock else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    missing = len(MODELS) - len(found)
    if missing:
        lines += ["", f"{missing} further models of the script were not run."]
    lines += ["", "Differences of logits are parts of their spread, on random images, found at the export."]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--light", type=Path, required=True, help="the light environment's Python")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--work", type=Path, help="folder to work in; a temporary one by default")
    parser.add_argument(
        "--part", default="0/1", help="0/2: every second model, from the first; writes no table"
    )
    parser.add_argument(
        "--finished", action="store_true", help="write a table of what earlier calls measured"
    )
    given = parser.parse_args()
    first, parts = map(int, given.part.split("/"))
    where = machine(packages=("torch", "nnunetv2", "onnx", "onnxruntime"))
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        if given.finished:
            found = [read_json(path) for path in sorted(work.glob("row_*.json"))]
            write_results("bundle", where, found, text(found, given.steps))
            return
        found = []
        for row in rows(given.data, given.light, given.steps, work, (first, parts)):
            print(row, flush=True)
            found.append(row)
            if parts == 1:
                write_results("bundle", where, found, text(found, given.steps))


if __name__ == "__main__":
    main()
