"""A raw data set without a fault, and what spoils it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from autoseg.intake.verification.findings import Finding, VerifyReport

SharedData = Callable[[str], Path]


SHAPE = (6, 8, 10)


def write(
    path: Path,
    array: np.ndarray,
    spacing: tuple[float, ...] = (1.0, 1.0, 2.0),
    origin: tuple[float, ...] = (5.0, 6.0, 7.0),
    turn: float = 0.0,
) -> Path:
    """A volume (z, y, x) on a grid that can be spoilt."""
    itk = sitk.GetImageFromArray(array)
    itk.SetSpacing(spacing)
    itk.SetOrigin(origin)
    itk.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0, 0, turn).GetMatrix())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(itk, str(path), True)
    return path


def volume(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, SHAPE).astype(np.float32)


def label_volume(seed: int = 99) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)


def declare(root: Path, **changes: Any) -> None:
    content = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "core": 1, "rim": 2},
        "numTraining": 4,
        "file_ending": ".nii.gz",
        **changes,
    }
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content))


def image(root: Path, channel: int = 0) -> Path:
    return root / "imagesTr" / f"c1_{channel:04d}.nii.gz"


def label(root: Path) -> Path:
    return root / "labelsTr" / "c1.nii.gz"


def only(report: VerifyReport) -> Finding:
    assert len(report.findings) == 1, [str(finding) for finding in report.findings]
    return report.findings[0]


def with_values(array: np.ndarray, *values: float) -> np.ndarray:
    array = array.astype(np.float64) if max(values) > 1e38 else array.copy()
    array.flat[: len(values)] = values
    return array


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])
