"""Seeded phantoms: multi-channel volumes with a brain-like region on a zero background."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

PHANTOMS = "Dataset901_Phantoms"
CHANNELS = 4


def write_phantoms(
    root: Path, cases: int = 6, shape: tuple[int, int, int] = (160, 256, 256), seed: int = 7
) -> None:
    """Write a raw data set of phantoms; what is there with the same parameters stays.

    Each case has a spacing of 1.0 to 1.25 x 0.6 x 0.6 mm, about the given shape, int16 voxels: smooth
    texture, structures and noise inside an ellipsoid that fills most of the field of view, zero outside;
    labels 1 to 3 nest inside it.
    """
    about = {"cases": cases, "shape": list(shape), "seed": seed, "version": 1}
    stamp = root / "phantoms.txt"
    if stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8")) == about:
        return
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(cases):
        random = np.random.default_rng((seed, number))
        spacing = (0.6, 0.6, float(np.round(random.uniform(1.0, 1.25), 3)))
        size = tuple(int(n + random.integers(-8, 9)) for n in shape)
        images, labels = phantom(random, size)
        for channel, image in enumerate(images):
            _write(image, spacing, root / "imagesTr" / f"phantom_{number:03d}_{channel:04d}.nii.gz")
        _write(labels, spacing, root / "labelsTr" / f"phantom_{number:03d}.nii.gz")
    description = {
        "channel_names": {str(channel): f"MR{channel}" for channel in range(CHANNELS)},
        "labels": {"background": 0, "edema": 1, "core": 2, "enhancing": 3},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(description, indent=2), encoding="utf-8")
    stamp.write_text(json.dumps(about), encoding="utf-8")


def phantom(random: np.random.Generator, shape: tuple[int, ...]) -> tuple[list[Any], Any]:
    """Channels (z, y, x), int16, and labels (z, y, x), uint8."""
    axes = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    brain = _ball(axes, (0.0, 0.0, 0.0), (0.93, 0.94, 0.82), power=2.6)
    centre = tuple(random.uniform(-0.3, 0.3, 3))
    radius = random.uniform(0.18, 0.3)
    labels = np.zeros(shape, dtype=np.uint8)
    for label, part in ((1, 1.0), (2, 0.7), (3, 0.4)):
        labels[_ball(axes, centre, (radius * part * 1.4, radius * part, radius * part))] = label
    labels *= brain
    ventricles = _ball(axes, (0.0, 0.05, 0.12), (0.3, 0.3, 0.1)) | _ball(
        axes, (0.0, 0.05, -0.12), (0.3, 0.3, 0.1)
    )
    images = []
    for _ in range(CHANNELS):
        tissue = 500 + 120 * _texture(random, shape, 6) + 40 * _texture(random, shape, 24)
        tissue += ventricles * random.uniform(-250, 250) + labels * random.uniform(30, 90)
        tissue += random.normal(0, 20, shape).astype(np.float32)
        images.append((np.maximum(tissue, 1) * brain).astype(np.int16))
    return images, labels


def _ball(axes: Any, centre: tuple[float, ...], radii: tuple[float, ...], power: float = 2.0) -> Any:
    terms = (np.abs((axis - c) / r) ** power for axis, c, r in zip(axes, centre, radii, strict=True))
    return sum(terms) < 1


def _texture(random: np.random.Generator, shape: tuple[int, ...], coarseness: int) -> Any:
    """Smooth noise of unit variance: coarse noise, linearly interpolated."""
    field = random.normal(size=(coarseness,) * 3).astype(np.float32)
    for axis, length in enumerate(shape):
        where = np.linspace(0, coarseness - 1, length)
        lower = np.minimum(where.astype(int), coarseness - 2)
        part = (where - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        field = field.take(lower, axis) * (1 - part) + field.take(lower + 1, axis) * part
    return field / field.std()


def _write(array: Any, spacing: tuple[float, ...], path: Path) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path), True)
