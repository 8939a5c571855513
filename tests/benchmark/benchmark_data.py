"""Tiny raw data sets and a suite of them."""

from __future__ import annotations

import json
from pathlib import Path

SUITE = """
datasets: [Dataset001_A, Dataset002_B]
trainers: [nnunet, brainunet, resnet34_mlp]
folds: [0, 1]
budget: {per_run: 60s}
device: cpu
resources: {run: {gpus: 0}, prepare: {cpus: 1}}
"""


def make_raw(raw: Path, name: str, cases: int = 6) -> Path:
    """A raw data set whose images nobody reads."""
    root = raw / name
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(cases):
        (root / "imagesTr" / f"c{index:02d}_0000.nii.gz").touch()
        (root / "labelsTr" / f"c{index:02d}.nii.gz").touch()
    about = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "a": 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(about))
    return root
