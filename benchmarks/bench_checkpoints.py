"""Checkpoints of other channels, classes, patches and kernels, on real data: what of each is taken over.

    taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/bench_checkpoints.py --data FOLDER --workspace FOLDER

Each pair trains a first network for some steps, starts a second from its checkpoint, and trains that too.
What is reported is the load report of the second: tensors and weights that were loaded as they are, adapted,
and left random, with the reasons. The steps are for showing that it trains, not for a score; a small memory
target keeps the patches, and so the steps, small.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine, write_results

from autoseg.nnunet import read_checkpoint
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.single_stages import train_one
from autoseg.planner.plan import Plan
from autoseg.run import Run
from autoseg.system.files import read_json
from autoseg.workspace import Workspace

HIPPOCAMPUS, LESION, ORGANS = "Dataset004_Hippocampus", "Dataset030_MSLesion", "Dataset040_CTOrgans"
NAME = "checkpoints"
SHORT = "steps_per_epoch=10"


@dataclass(frozen=True)
class Pair:
    """A first training and a second that starts from it, each a data set and a trainer with options."""

    what: str
    first: tuple[str, str]
    second: tuple[str, str]


PAIRS = (
    Pair("4 channels on 1", (LESION, "brainunet:width=8"), (HIPPOCAMPUS, "brainunet:width=8")),
    Pair("1 channel on 4", (HIPPOCAMPUS, "brainunet:width=8"), (LESION, "brainunet:width=8")),
    Pair("3 classes on 7", (HIPPOCAMPUS, "brainunet:width=8"), (ORGANS, "brainunet:width=8")),
    Pair("other patch and strides", (HIPPOCAMPUS, "nnunet:width=8"), (ORGANS, "nnunet:width=8")),
    Pair("the other way round", (ORGANS, "nnunet:width=8"), (HIPPOCAMPUS, "nnunet:width=8")),
    Pair("UpKern, kernels 3 to 5", (HIPPOCAMPUS, "mednext_s"), (HIPPOCAMPUS, "mednext_s_k5")),
)


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "SimpleITK"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", default="checkpoints_workspace", help="run again, it goes on there")
    parser.add_argument("--epochs", type=int, default=2, help="of each training, ten steps each")
    parser.add_argument("--memory", type=float, default=2.0, help="target of the planner, GB")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-results", dest="results", action="store_false", help="print, write nothing")
    options = parser.parse_args()
    workspace = Workspace.locate(options.workspace)
    settings = Settings(epochs=options.epochs, memory_gb=options.memory, device=options.device, workers=1)
    rows = [_row(pair, Path(options.data), workspace, settings) for pair in PAIRS]
    text = _report(rows, options)
    print(text)
    if options.results:
        write_results(NAME, where, rows, text)


def _row(pair: Pair, data: Path, workspace: Workspace, settings: Settings) -> dict[str, Any]:
    dataset, trainer = pair.first
    first = train_one(data / dataset, f"{trainer}:{SHORT}", "all", workspace, settings).run
    dataset, trainer = pair.second
    # On all cases: one of the data sets has a single one.
    row = f"{trainer}:{SHORT}:init={first.model_folder}"
    second = train_one(data / dataset, row, "all", workspace, settings).run
    report = read_json(second.folder / "initialisation.json")
    print(f"{pair.what}: {report['loaded']['tensors']} tensors loaded", flush=True)
    return {
        "what": pair.what,
        "first": {"dataset": pair.first[0], "trainer": pair.first[1], **_facts(first)},
        "second": {"dataset": dataset, "trainer": trainer, **_facts(second)},
        **{key: _counted(report[key]) for key in ("loaded", "adapted", "random")},
        "unused": len(report["unused"]),
        "random_parts": report["random_parts"],
    }


def _facts(run: Run) -> dict[str, Any]:
    configuration = Plan.load(run.model_folder / "plans.json").configuration(run.configuration)
    about = read_json(run.model_folder / "dataset.json")
    cost = read_json(run.cost)
    losses = read_checkpoint(run.final_checkpoint)["logging"]["train_losses"]
    return {
        "channels": len(about["channel_names"]),
        "outputs": len(about["labels"]),
        "patch": list(configuration.patch_size),
        "strides": [list(row) for row in configuration.architecture.kwargs["strides"]],
        "parameters": cost["parameters"],
        "steps": cost["steps"],
        "losses": [round(float(np.mean(part)), 3) for part in (losses[:1], losses[-1:])],
    }


def _counted(entry: dict[str, Any]) -> dict[str, Any]:
    """Numbers, and each reason with how many tensors it holds for."""
    reasons: dict[str, int] = {}
    for reason in entry["reasons"].values():
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
    return {"tensors": entry["tensors"], "weights": entry["parameters"], "reasons": reasons}


def _report(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        "# Checkpoints of other channels, classes, patches and kernels, on real data",
        "",
        f"Each training had {options.epochs} epochs of ten steps, and a plan for {options.memory:g} GB.",
        "Numbers are tensors, and in brackets the weights in them; what is adapted or left random, and why,",
        "stands below. The loss is the mean of the first and of the last epoch.",
        "",
        "| | from | to | loaded | adapted | random | steps | loss |",
        "|---|---|---|---|---|---|---|---|",
        *(_line(row) for row in rows),
        "",
    ]
    for row in rows:
        for kind in ("adapted", "random"):
            lines += [
                f"- {row['what']}, {kind}: {reason} ({count})"
                for reason, count in row[kind]["reasons"].items()
            ]
        if row["unused"]:
            lines.append(f"- {row['what']}: {row['unused']} tensors of the file unused")
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    counts = [f"{row[key]['tensors']} ({row[key]['weights']:,})" for key in ("loaded", "adapted", "random")]
    before, after = row["second"]["losses"]
    return (
        f"| {row['what']} | {_told(row['first'])} | {_told(row['second'])} | {' | '.join(counts)} "
        f"| {row['second']['steps']} | {before} -> {after} |"
    )


def _told(facts: dict[str, Any]) -> str:
    patch = "x".join(map(str, facts["patch"]))
    channels = "1 channel" if facts["channels"] == 1 else f"{facts['channels']} channels"
    return (
        f"{facts['trainer']} on {facts['dataset'].partition('_')[2]}: {channels}, "
        f"{facts['outputs']} outputs, {patch}, {len(facts['strides'])} stages"
    )


if __name__ == "__main__":
    main()
