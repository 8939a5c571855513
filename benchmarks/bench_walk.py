"""The whole walk on real data within a budget: what it reaches, and whether it stays within its time.

    python benchmarks/bench_walk.py --data FOLDER [--workspace FOLDER] [--only hippocampus_10m,...]

Three commands as a user types them, on the CPU: nnU-Net alone for ten minutes and three trainers for eighteen
on Dataset004_Hippocampus, and resnet34_mlp for eight on Dataset018_FetalHead. A workspace that holds finished
runs is gone on with; the command's own time is then not a measurement and is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _machine import machine, write_results

WALKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "hippocampus_10m": ("Dataset004_Hippocampus", ("--trainers", "nnunet", "--budget", "10m")),
    "hippocampus_18m": (
        "Dataset004_Hippocampus",
        ("--trainers", "nnunet,brainunet,resnet34_mlp", "--budget", "18m"),
    ),
    "fetalhead_8m": ("Dataset018_FetalHead", ("--trainers", "resnet34_mlp", "--budget", "8m")),
}


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "numpy", "SimpleITK"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", help="one folder per walk is made in it; a temporary one by default")
    parser.add_argument("--only", default=",".join(WALKS), help="walks, with commas")
    options = parser.parse_args()
    place = Path(options.workspace or tempfile.mkdtemp(prefix="bench_walk_"))
    results = [_walk(name, Path(options.data), place / name) for name in options.only.split(",")]
    text = _report(results)
    print(text)
    write_results("walk", where, results, text)


def _walk(name: str, data: Path, workspace: Path) -> dict[str, Any]:
    dataset, arguments = WALKS[name]
    resumed = any(workspace.glob("results/*/*/fold_*/checkpoint_*.pth"))
    command = ["plan-and-train", dataset, *arguments, "--folds", "0", "--device", "cpu"]
    where = ("--json", "--workspace", str(workspace))
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "autoseg", command[0], str(data / dataset), *command[2:], *where],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = None if resumed else round(time.monotonic() - began, 1)
    records = [
        json.loads(path.read_text()) for path in sorted(workspace.glob("results/*/*/fold_*/record.jsonl"))
    ]
    kept = ("trainer", "configuration", "changes", "device", "code_version", "code_dirty", "created", "cost")
    return {
        "name": name,
        "command": " ".join(["autoseg", *command]),
        "command_s": seconds,
        "rows": json.loads(done.stdout)["rows"],
        "records": [{key: record[key] for key in kept} for record in records],
    }


def _report(results: list[dict[str, Any]]) -> str:
    lines = [
        "# Whole walks",
        "",
        "Fold 0 of five; Dice is the mean over held-out cases of the mean over structures, with its 95 %",
        "interval. Time is from the first training step to the held-out predictions; the command's own time",
        "also holds verification, fingerprint, preprocessing, evaluation and the page.",
    ]
    for result in results:
        whole = "not measured (resumed)" if result["command_s"] is None else f"{result['command_s']:.0f} s"
        lines += ["", f"`{result['command']}`, whole command: {whole}", ""]
        lines += ["| trainer | Dice | NSD | HD95 | steps | time / budget | what the budget changed |"]
        lines += ["|---|---|---|---|---|---|---|"]
        by_trainer = {record["trainer"]: record for record in result["records"]}
        for row in result["rows"]:
            record = by_trainer[row["trainer"]]
            hd95 = "" if row["hd95_mm"] is None else f"{row['hd95_mm']:.2f} mm"
            lines.append(
                f"| {row['trainer']} ({row['configuration']}) | {row['dice']:.3f} "
                f"[{row['dice_ci'][0]:.3f}, {row['dice_ci'][1]:.3f}] | {row['nsd']:.3f} | {hd95} "
                f"| {record['cost']['training_steps']} | {row['train_s']:.0f} / {row['budget_s']:.0f} s "
                f"| {', '.join(record['changes']) or 'nothing'} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
