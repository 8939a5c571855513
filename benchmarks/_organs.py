"""A seeded phantom of a large CT with many organs, and a small model in nnU-Net's format that finds them.

The network learns the phantom for some steps: foreground has a shape, so that rounding decides as few voxels
as in a trained model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from _phantoms import _ball, _texture, _write
from _taught import teach

from autoseg.data.fingerprint import Fingerprint
from autoseg.data.image import Image
from autoseg.data.readers import read_images
from autoseg.planner import plan_experiment

SHAPE, SPACING = (300, 512, 512), (1.5, 0.8, 0.8)
ORGANS = 14
# mm, of the plan: as TotalSegmentator's models have it.
GRID = (1.5, 1.5, 1.5)
PATCH, FEATURES = (64, 64, 64), (8, 16, 32, 64)
STEPS, CROP = 1000, (32, 32, 32)
ABOUT: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0} | {f"organ_{number}": number for number in range(1, ORGANS + 1)},
    "numTraining": 1,
    "file_ending": ".nii.gz",
}


def write_organs(folder: Path, shape: tuple[int, int, int] = SHAPE, seed: int = 3) -> tuple[Path, Any]:
    """Write a CT, (z, y, x), int16, and give its folder and labels.

    A body of soft tissue in air, with 14 ellipsoids that differ by some 60 HU each; noise of 15 HU.
    """
    random = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    body = _ball(axes, (0.0, 0.0, 0.0), (1.2, 0.75, 0.9), power=3.0)
    labels = np.zeros(shape, dtype=np.uint8)
    angles = np.linspace(0, 2 * np.pi, ORGANS, endpoint=False)
    for number, angle in enumerate(angles, start=1):
        centre = (random.uniform(-0.6, 0.6), 0.42 * np.sin(angle), 0.55 * np.cos(angle))
        labels[_ball(axes, centre, tuple(random.uniform(0.1, 0.2, 3)))] = number
    values = np.array([40, *(150 + 60 * number for number in range(ORGANS))], dtype=np.float32)
    tissue = values[labels] + 8 * _texture(random, shape, 12)
    tissue += random.normal(0, 15, shape).astype(np.float32)
    image = np.where(body | (labels > 0), tissue, -1000).astype(np.int16)
    folder.mkdir(parents=True, exist_ok=True)
    _write(image, SPACING[::-1], folder / "organs_0000.nii.gz")
    return folder, labels


def organ_model(parent: Path, images: Path, labels: Any) -> Path:
    """A model folder for the phantom that stock nnU-Net and autoseg both open.

    Args:
        parent: where it goes.
        images: the folder with the phantom.
        labels: (z, y, x) of the phantom.
    """
    numbers = {"mean": 300.0, "median": 200.0, "std": 250.0, "min": -1000.0, "max": 1100.0}
    quantiles = {"percentile_99_5": 1000.0, "percentile_00_5": -100.0}
    known = Fingerprint((SPACING,) * 4, (labels.shape,) * 4, {0: numbers | quantiles}, 1.0)
    plan = plan_experiment(ABOUT, known, spacing=GRID, dataset_name="Dataset902_Organs")
    document = {**plan.to_json(), "continue_training": False}
    chosen = document["configurations"]["3d_fullres"]
    chosen["patch_size"] = list(PATCH)
    chosen["architecture"]["arch_kwargs"] |= _architecture()
    folder = parent / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    for name, content in (("plans", document), ("dataset", ABOUT)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    raw = read_images([images / "organs_0000.nii.gz"], plan.image_reader_writer)
    reference = Image(labels[None], raw.spacing, raw.properties)
    teach(folder, document, ABOUT, [(raw, reference)], steps=STEPS, crop=CROP, anywhere=True)
    return folder


def _architecture() -> dict[str, Any]:
    stages = len(FEATURES)
    return {
        "n_stages": stages,
        "features_per_stage": list(FEATURES),
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        # Organs differ by their values alone, which instance normalisation takes from a patch.
        "norm_op": "torch.nn.modules.batchnorm.BatchNorm3d",
    }
