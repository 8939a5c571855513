"""What reading and augmenting a batch takes of a core, by its samples and voxels.

    python benchmarks/bench_loading.py --data FOLDER --workspace PLACE

Seconds that the thread had, the mean of 40 batches; no network is trained. Beside them what a plan counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _machine import machine, write_results

from autoseg import nnunet
from autoseg.pipeline.prepare import prepare
from autoseg.pipeline.settings import Settings
from autoseg.planner.training_spec import TrainingSpec
from autoseg.preprocessing.dataset import preprocess_dataset
from autoseg.run import Run
from autoseg.tailoring.probe import BATCH_S, SAMPLE_S, VOXEL_S
from autoseg.training.training_run import _build
from autoseg.workspace import Workspace

SIZES = {
    "Dataset018_FetalHead": ("2d", [(2, 64, 64), (2, 112, 160), (8, 112, 160), (2, 224, 320), (2, 448, 640)]),
    "Dataset021_NucleiColor": ("2d", [(2, 64, 64), (2, 160, 224), (8, 160, 224)]),
    "Dataset004_Hippocampus": (
        "3d_fullres",
        [(2, 16, 16, 16), (2, 24, 32, 24), (2, 40, 56, 40), (5, 40, 56, 40), (2, 64, 96, 64)],
    ),
}
BATCHES, FIRST = 40, 6
Row = dict[str, Any]


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    where, rows = machine(), []
    for name, (configuration, sizes) in SIZES.items():
        rows += _rows(options.data / name, options.workspace, configuration, sizes)
        write_results("loading", where, rows, _report(rows))
    print(_report(rows))


def _rows(source: Path, place: Path, name: str, sizes: list[tuple[int, ...]]) -> list[Row]:
    workspace = Workspace.locate(place)
    nnunet.activate(workspace)
    prepared = prepare(source, workspace, Settings(workers=1))
    dataset, planned = prepared.dataset, prepared.plan.configuration(name)
    folder = workspace.cases_of(dataset.name, planned.data_identifier)
    preprocess_dataset(dataset, prepared.plan, planned, folder, 1)
    found = []
    for batch, *patch in sizes:
        size = dataclasses.replace(planned, batch_size=batch, patch_size=tuple(patch))
        training = TrainingSpec(trainer="nnunet", configuration=name)
        plan = dataclasses.replace(prepared.plan, configurations={name: size}, training=training)
        run = Run(dataset.name, plan.name, name, "nnunet", 0, 0, place / "loading")
        run.folder.mkdir(parents=True, exist_ok=True)
        trainer = _build(run, workspace, torch.device("cpu"), plan)
        batches, _ = trainer.get_dataloaders()
        times = []
        for _ in range(FIRST + BATCHES):
            began = time.thread_time()
            next(batches)
            times.append(time.thread_time() - began)
        voxels, arrays = batch * math.prod(patch), len(dataset.channels) + 1
        found.append(
            {
                "dataset": dataset.name,
                "batch": batch,
                "patch": patch,
                "voxels": voxels,
                "seconds": float(np.mean(times[FIRST:])),
                "counted": BATCH_S + SAMPLE_S * batch + VOXEL_S * arrays / 2 * voxels,
            }
        )
    return found


def _report(rows: list[Row]) -> str:
    lines = [
        "# What reading and augmenting a batch takes",
        "",
        "Of one core: nnunet's augmentation, cases in memory, the mean of 40 batches; and what plans count.",
        "",
        "| data set | samples | patch | voxels of the batch | ms | counted |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['dataset']} | {row['batch']} | {'x'.join(map(str, row['patch']))} | {row['voxels']:,} | "
        f"{1e3 * row['seconds']:.1f} | {1e3 * row['counted']:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
