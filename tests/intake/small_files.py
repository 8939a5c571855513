"""Images and labels of a few voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image


def volume(path: Path, seed: int = 0, shape: tuple[int, ...] = (4, 6, 5), kind: type = np.int16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 500, shape).astype(kind)
    parts = [sitk.GetImageFromArray(part) for part in (array if len(shape) == 4 else [array])]
    for part in parts:
        part.SetSpacing((1.0, 1.0, 3.0))
        part.SetOrigin((-7.0, 2.0, 11.0))
    sitk.WriteImage(sitk.JoinSeries(parts) if len(shape) == 4 else parts[0], str(path))
    return path


def label(path: Path, *values: int, shape: tuple[int, int, int] = (4, 6, 5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(shape, np.uint8)
    array.ravel()[: len(values)] = values
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 3.0))
    image.SetOrigin((-7.0, 2.0, 11.0))
    sitk.WriteImage(image, str(path))
    return path


def picture(path: Path, mode: str = "L", seed: int = 0, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], len(mode)) if mode in ("RGB", "RGBA") else (size[1], size[0])
    array = np.random.default_rng(seed).integers(0, 255, shape, np.uint8)
    if mode == "RGBA":
        array[..., 3] = 255
    Image.fromarray(array).convert(mode).save(path)
    return path


def mask(path: Path, *values: int, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((size[1], size[0]), np.uint8)
    array.ravel()[: len(values)] = values
    Image.fromarray(array).save(path)
    return path


def voxels(path: Path) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
