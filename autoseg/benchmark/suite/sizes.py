"""How many voxels a data set's cases have, from the heads of its files: nothing is read that takes time."""

from __future__ import annotations

import contextlib
import gzip
import math
import struct
from pathlib import Path

from autoseg.data.dataset import Dataset
from autoseg.errors import AutosegError
from autoseg.system.files import read_json

# Of a case of an unknown data set: a small volume.
TYPICAL_VOXELS = 4_000_000
# Compressed images of a byte or two a voxel come to about this.
BYTES_PER_VOXEL = 0.7
NIFTI_HEAD = 348


def voxels_of(dataset: Dataset, fingerprint: Path) -> float:
    """Voxels of a typical case: the median where there is a fingerprint, else those of the first case."""
    with contextlib.suppress(AutosegError, KeyError, TypeError):
        shapes = sorted(math.prod(shape) for shape in read_json(fingerprint)["shapes_after_crop"])
        return float(shapes[len(shapes) // 2])
    images = [path for case in dataset.cases[:1] for path in case.images[:1]]
    return _voxels_of_file(images[0]) if images else float(TYPICAL_VOXELS)


def _voxels_of_file(path: Path) -> float:
    with contextlib.suppress(OSError, EOFError, struct.error):
        if path.name.endswith((".nii", ".nii.gz")) and (found := _of_nifti(path)):
            return found
        if path.suffix == ".png" and (found := _of_png(path)):
            return found
    size = path.stat().st_size if path.is_file() else 0
    return size / BYTES_PER_VOXEL if size else float(TYPICAL_VOXELS)


def _of_nifti(path: Path) -> float:
    """NIfTI-1: the number of axes and their lengths are 16-bit numbers from byte 40 on."""
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        head = file.read(NIFTI_HEAD)
    for order in "<>":
        axes, *lengths = struct.unpack(f"{order}8h", head[40:56])
        if 1 <= axes <= 7:
            return float(math.prod(lengths[:axes]))
    return 0.0


def _of_png(path: Path) -> float:
    """PNG: width and height are 32-bit numbers from byte 16 on."""
    with open(path, "rb") as file:
        width, height = struct.unpack(">2I", file.read(24)[16:24])
    return float(width * height)
