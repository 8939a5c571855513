"""`autoseg predict --fast` beside mirrored and single predictions and stock nnU-Net's, of trained networks.

    OMP_NUM_THREADS=1 python benchmarks/bench_fast.py --data DATA --work FOLDER [--only FetalHead]

nnunet is trained for some hundred steps, with mirrored samples, on a part of a real data set; its rule of
fast prediction is measured on cases that its fold held out. Other cases, which neither saw, are predicted by
whole processes: one thread, float32, no postprocessing. Each way's Dice is compared with stock's mirrored one
on the same cases. What an earlier call left in the folder is taken from there.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _processes
import bench_bundle
import numpy as np
import torch
from _machine import commit, machine, write_results
from _stock_models import PREDICT
from bench_bundle import equal, some_cases
from bench_predict_whole import engines, passes_of

from autoseg.data.dataset import load_dataset
from autoseg.evaluation.scoring import evaluate
from autoseg.export import export_nnunet
from autoseg.leaderboard.statistics import mean_intervals, resample
from autoseg.system.files import read_json, write_json

Row = dict[str, Any]
# Cases that are trained on or held out by the fold, and others that are predicted.
DATASETS = {"Dataset004_Hippocampus": (80, 10), "Dataset018_FetalHead": (120, 40)}
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
model, images, out, mirroring, fast = sys.argv[1:]
places = [Path(place) for place in (model, images, out)]
choices = Options("auto", fast == "fast")
predict_folder(*places, device="cpu", mirroring=mirroring == "yes", postprocessing=False, choices=choices)
"""
SAVED = re.compile(
    r"(\d+) of (\d+) windows .* had no mirrored copies, which saved (\d+) % of all passes: (.*)"
)


@dataclass(frozen=True)
class Way:
    """One command: whose, with mirrored copies or not, by the rule of fast prediction or not."""

    who: str
    mirroring: str
    fast: str = "all"
    time: str = ""

    @property
    def name(self) -> str:
        """For the table."""
        copies = "mirrored" if self.mirroring == "yes" else "not mirrored"
        how = "--fast" if self.fast == "fast" else copies
        return ", ".join(filter(None, (self.who, how, self.time)))

    def line(self, model: Path, exported: Path, images: Path, out: Path) -> list[object]:
        """The command."""
        if self.who == "autoseg":
            return [sys.executable, "-c", OURS, model, images, out, self.mirroring, self.fast]
        options = ["-f", 0, "-device", "cpu", "-npp", 1, "-nps", 1, "--disable_progress_bar"]
        options += ["--disable_tta"] if self.mirroring == "no" else []
        return [sys.executable, "-c", PREDICT, "-i", images, "-o", out, "-m", exported, *options]


# The first is what the others are compared with.
WAYS = (
    Way("nnU-Net", "yes"),
    Way("nnU-Net", "no"),
    Way("autoseg", "yes"),
    Way("autoseg", "no"),
    Way("autoseg", "yes", "fast", "rule measured"),
    Way("autoseg", "yes", "fast", "rule known"),
)


def trained(raw: Path, place: Path, steps: int) -> Path:
    """The folder of nnunet, trained on fold 0 with mirrored samples."""
    command = (
        f"plan-and-train {raw} --trainers nnunet:mirroring=true --folds 0 --small --steps {steps} "
        f"--device cpu --workers 1 --workspace {place} --quiet"
    )
    if not list((place / "results" / raw.name).glob("nnunet__*/fold_0/evaluation.json")):
        subprocess.run([sys.executable, "-m", "autoseg", *command.split()], check=True)
    (folder,) = (place / "results" / raw.name).glob("nnunet__*")
    return folder


def row_of(name: str, data: Path, work: Path, steps: int) -> Row:
    """A data set: its model, and what each way makes of the cases that nobody saw."""
    bench_bundle.TRAINED, bench_bundle.PREDICTED = DATASETS[name]
    raw, images = some_cases(data / name, work / "data")
    model = trained(raw, work / name / "workspace", steps)
    exported = work / name / "stock"
    if not exported.is_dir():
        export_nnunet(model, exported)
    if not (work / name / "took4.json").is_file():
        (model / "fast.json").unlink(missing_ok=True)  # measured in its turn
    found = [_way(number, (model, exported), images, work / name) for number in range(len(WAYS))]
    for number in range(len(WAYS)):
        _labels_alone(work / name / f"out{number}", load_dataset(data / name).file_ending)
    scored = [_dice(work / name / f"out{number}", images, data / name) for number in range(len(WAYS))]
    for number, (each, scores) in enumerate(zip(found, scored, strict=True)):
        change = scores - scored[0]
        (interval,) = mean_intervals(change[np.newaxis], resample(len(change)))
        each |= {"dice": float(scores.mean()), "change": float(change.mean())}
        each |= {"low": interval.low, "high": interval.high, "ratio": found[0]["cpu_s"] / each["cpu_s"]}
        each["equal"] = equal(work / name / f"out{number}", work / name / "out0")[0]
    cases = len(list(images.iterdir()))
    alone, passes = _alone(model, work / name), passes_of(model, images, cases)
    return {
        "cases": cases,
        "patch": list(read_json(model / "plans.json")["configurations"][_configuration(model)]["patch_size"]),
        "steps": steps,
        "ways": found,
        "rule": read_json(model / "fast.json"),
        "patch_cpu_s": alone,
        "passes": passes,
        "commit": commit(),
    }


def _configuration(model: Path) -> str:
    return model.name.rpartition("__")[2]


def _alone(model: Path, work: Path) -> dict[str, float]:
    """CPU seconds of one patch in each program."""
    return {each["engine"]: each["cpu_s"] for each in engines(model, work)}


def _way(number: int, models: tuple[Path, Path], images: Path, work: Path) -> Row:
    """The cost of one command, and what it said of windows; in a process of its own, its only child."""
    way, known = WAYS[number], work / f"took{number}.json"
    if not known.is_file():
        line = [sys.executable, __file__, "--one", number, *models, images, work]
        subprocess.run(list(map(str, line)), check=True)
    return {"way": way.name, **read_json(known)}


def _measure(number: int, model: Path, exported: Path, images: Path, work: Path) -> None:
    line = list(map(str, WAYS[number].line(model, exported, images, work / f"out{number}")))
    # Engines are measured here, whatever was known on this machine before.
    variables = {"nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(work / "cache")}
    log = work / f"log{number}.txt"
    took = _processes.measure(line, variables, log, interval_s=1.0)
    row: Row = {"cpu_s": round(took.cpu_s, 2), "wall_s": round(took.wall_s, 2)}
    row["peak_mb"] = round(took.peak_pss_mb)
    if said := SAVED.search(log.read_text(encoding="utf-8")):
        windows = {"certain": int(said[1]), "windows": int(said[2]), "passes_saved": int(said[3]) / 100}
        row |= windows
    write_json(work / f"took{number}.json", row)


def _labels_alone(folder: Path, ending: str) -> None:
    """Remove what lies beside the segmentations."""
    for path in folder.iterdir():
        if not path.name.endswith(ending):
            path.unlink()


def _dice(predictions: Path, images: Path, source: Path) -> Any:
    """Mean Dice over structures of each case, in the order of their names."""
    dataset = load_dataset(source)
    ending = dataset.file_ending
    cases = sorted(path.name.removesuffix(ending)[:-5] for path in images.iterdir())
    found = evaluate(predictions, dataset, cases=cases, metrics=["dice"], workers=1).values("dice")
    return np.array([found[case] for case in cases])


def text(rows: Mapping[str, Row]) -> str:
    """What was measured, as Markdown."""
    lines = [
        "# Fast prediction of trained networks",
        "",
        "nnunet after some hundred steps of training with mirrored samples, smallest width and patch; new",
        "cases, which neither the training nor the choice of the rule saw. Whole processes, one thread,",
        "float32. The ratio is the CPU seconds of stock nnU-Net, mirrored, by the way's. Changes of",
        "the mean Dice are against the same, paired over the cases, with 95 % intervals. The limit is the",
        "network alone: all passes in the fastest program, everything else for nothing. autoseg's seconds",
        "hold those of saying how good each segmentation will be.",
        "",
        "| data set | way | CPU s | clock s | ratio | peak MB | Dice | change | voxels equal "
        "| windows without copies | passes saved |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        for each in row["ways"]:
            cells = [
                f"{name} ({row['cases']} cases)",
                each["way"],
                f"{each['cpu_s']:.1f}",
                f"{each['wall_s']:.0f}",
                f"{each['ratio']:.2f}",
                str(each["peak_mb"]),
                f"{each['dice']:.4f}",
                f"{each['change']:+.4f} [{each['low']:+.4f}, {each['high']:+.4f}]",
                f"{100 * each['equal']:.3f} %",
                f"{each['certain']} of {each['windows']}" if "windows" in each else "",
                f"{each['passes_saved']:.0%}" if "windows" in each else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(line for name, row in rows.items() for line in _words(name, row))])


def _words(name: str, row: Row) -> Iterator[str]:
    """The rule of a model, and how near the commands are to the limit."""
    fastest = min(row["patch_cpu_s"].values())
    stock = row["ways"][0]["cpu_s"]
    limits = {copies: passes * fastest for copies, passes in row["passes"].items()}
    alone = ", ".join(f"{engine} {seconds:.4f}" for engine, seconds in row["patch_cpu_s"].items())
    yield (
        f"- {name}, {row['steps']} steps, patch {'x'.join(map(str, row['patch']))}: "
        f"a patch takes (CPU s) {alone}. "
        f"The network alone takes {limits['yes']:.1f} CPU s with all mirrored copies and {limits['no']:.1f} "
        f"without: {stock / limits['yes']:.2f} and {stock / limits['no']:.2f} times stock's speed at most."
    )
    evidence = row["rule"]["evidence"]
    for tried in evidence.get("tried", ()):
        copies = "all" if tried["copies"] is None else tried["copies"]
        rule = (
            "no copies" if tried["share"] >= 1 else f"{copies} copies where {tried['share']:.1%} is in doubt"
        )
        yield (
            f"  - {rule}: {tried['change']:+.4f} (standard error {tried['standard_error']:.4f}) on "
            f"{evidence['cases']} held-out cases, {tried['passes_saved']:.0%} of the passes saved"
        )


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--work", type=Path, help="folder to work in")
    parser.add_argument("--only", default="", help="a part of the name of the one data set to do")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        number, *places = given.one
        _measure(int(number), *map(Path, places))
        return
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    where = machine(packages=("torch", "nnunetv2", "openvino", "onnxruntime"))
    rows: dict[str, Row] = {}
    for name in DATASETS:
        known = given.work / f"{name}.json"
        if not known.is_file() and given.only in name:
            (given.work / name).mkdir(parents=True, exist_ok=True)
            write_json(known, row_of(name, given.data, given.work, given.steps))
        if known.is_file():
            rows[name] = read_json(known)
            write_results("fast", where, rows, text(rows))
    print(text(rows))


if __name__ == "__main__":
    main()
