"""The documented systems beside nnU-Net, MedNeXt and the 2D baselines, at equal budgets on real data.

    python benchmarks/bench_documented.py --data FOLDER [--workspace FOLDER] [--minutes 9]

One plan-and-train for each data set, as a user types it: fold 0, one seed, every row the same time. The
leaderboard pages are written beside the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _machine import RESULTS, machine, write_results

DOCUMENTED = ("brainunet", "resnet34_mlp", "deepmrseg", "mobilenetv2_unet", "resnet50_unet")
BASELINES = ("nnunet", "nnunet_resenc_m", "mednext_s")
SLICES_ONLY = ("unet", "unetplusplus", "deeplabv3plus")

# BrainUNet is a system for volumes, the library's networks are for slices.
WALKS: dict[str, tuple[str, ...]] = {
    "Dataset004_Hippocampus": (*DOCUMENTED, *BASELINES),
    "Dataset018_FetalHead": (*DOCUMENTED[1:], *BASELINES, *SLICES_ONLY),
}


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "numpy", "SimpleITK", "segmentation-models-pytorch"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", help="one folder per walk is made in it; a temporary one by default")
    parser.add_argument("--minutes", type=float, default=9.0, help="for each row")
    parser.add_argument("--only", default=",".join(WALKS), help="data sets, with commas")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    place = Path(options.workspace or tempfile.mkdtemp(prefix="bench_documented_"))
    names = [name for name in WALKS if any(part in name for part in options.only.split(","))]
    for name in names:
        result = _walk(name, Path(options.data), place / name, options)
        text = _report(result)
        print(text)
        write_results(_file(name), where, result, text)


def _file(dataset: str) -> str:
    return f"documented_{dataset.split('_')[1].lower()}"


def _walk(dataset: str, data: Path, workspace: Path, options: argparse.Namespace) -> dict[str, Any]:
    trainers = WALKS[dataset]
    resumed = any(workspace.glob("results/*/*/fold_*/checkpoint_*.pth"))
    budget = f"{options.minutes * len(trainers):g}m"
    command = ["plan-and-train", dataset, "--trainers", ",".join(trainers), "--budget", budget]
    command += ["--folds", "0", "--device", options.device]
    where = ("--json", "--workspace", str(workspace))
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "autoseg", command[0], str(data / dataset), *command[2:], *where],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = None if resumed else round(time.monotonic() - began, 1)
    answer = json.loads(done.stdout)
    shutil.copy(answer["page"], RESULTS / f"{_file(dataset)}.html")
    records = [
        json.loads(path.read_text()) for path in sorted(workspace.glob("results/*/*/fold_*/record.jsonl"))
    ]
    kept = ("trainer", "options", "configuration", "changes", "device", "code_version", "code_dirty")
    kept += ("created", "cost")
    return {
        "dataset": dataset,
        "command": " ".join(["autoseg", *command]),
        "command_s": seconds,
        "rows": answer["rows"],
        "comparisons": answer["comparisons"],
        "records": [{key: record[key] for key in kept} for record in records],
    }


def _report(result: dict[str, Any]) -> str:
    whole = "not measured (resumed)" if result["command_s"] is None else f"{result['command_s']:.0f} s"
    by_trainer = {_label(record): record for record in result["records"]}
    lines = [
        f"# {result['dataset']}: the documented systems and the baselines at equal budgets",
        "",
        "Fold 0 of five, one seed; Dice is the mean over held-out cases of the mean over structures,",
        "with its 95 % interval. Rows marked = cannot be told from the first (Wilcoxon signed rank, Holm).",
        "Time is from the first training step to the held-out predictions.",
        "",
        f"`{result['command']}`, whole command: {whole}",
        "",
        "| rank | trainer | Dice | NSD | HD95 | steps | time / budget | what the budget changed |",
        "|---|---|---|---|---|---|---|---|",
        *(_line(row, by_trainer.get(row["trainer"].lower())) for row in result["rows"]),
    ]
    return "\n".join(lines)


def _label(record: dict[str, Any]) -> str:
    """As a row names it: the trainer with its options."""
    options = [f"{name}={value}" for name, value in record["options"].items()]
    return ":".join([record["trainer"], *options]).lower()


def _line(row: dict[str, Any], record: dict[str, Any] | None) -> str:
    if record is None or row["dice"] is None:
        return f"| - | {row['trainer']} | {row['status']} | | | | | {row.get('reason') or ''} |"
    hd95 = "" if row["hd95_mm"] is None else f"{row['hd95_mm']:.2f} mm"
    tie = "=" if row["tied_with_best"] else ""
    return (
        f"| {row['rank']}{tie} | {row['trainer']} ({row['configuration']}) | {row['dice']:.3f} "
        f"[{row['dice_ci'][0]:.3f}, {row['dice_ci'][1]:.3f}] | {row['nsd']:.3f} | {hd95} "
        f"| {record['cost']['training_steps']} | {row['train_s']:.0f} / {row['budget_s']:.0f} s "
        f"| {', '.join(record['changes']) or 'nothing'} |"
    )


if __name__ == "__main__":
    main()
