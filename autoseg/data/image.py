"""An image on its grid: the array, the spacing, and where it lies in the world."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.errors import DataError

log = logging.getLogger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Image:
    """An image or a segmentation with its geometry.

    Attributes:
        array: (channels, z, y, x). Stacked channels are float32; one file alone keeps its data type.
        spacing: in mm, in the order (z, y, x). A 2D image has one slice and a first entry that is larger
            than the others.
        properties: what nnU-Net's reader of the format gives; needed to write on the same geometry.
        world: what places the grid in the world beside its spacing, by name (origin and direction, or
            affine). Empty for formats without it.
        replaced: how many voxels of the file were NaN or infinite and have been read as 0.
        rounded: how far a label's values were from the whole numbers that they have been rounded to, at most.
        unit_mm: how many mm the unit of `spacing` has by the file; nnU-Net, and what is planned and
            preprocessed, take the numbers as they stand there. See `autoseg.data.length_units`.
    """

    array: Array
    spacing: tuple[float, float, float]
    properties: dict[str, Any]
    world: Mapping[str, Array] = field(default_factory=dict)
    replaced: int = 0
    rounded: float = 0.0
    unit_mm: float = 1.0


class ImageError(DataError):
    """One file cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it, as the rest of a sentence that begins with the file.
        remedy: what to do.
    """

    def __init__(self, path: Path, reason: str, remedy: str = "Restore it from its source.") -> None:
        super().__init__(path, reason, remedy)
        self.path, self.reason, self.remedy = path, reason, remedy

    def __str__(self) -> str:
        return f"{self.path} {self.reason}. {self.remedy}"


def require_file(path: Path) -> None:
    """Refuse what is no file before it is opened: reading a pipe may never end.

    Raises:
        ImageError: for a folder, a pipe, a socket, a device, or nothing at all.
    """
    if not path.is_file():
        raise ImageError(path, "is not a file", "Restore it, or take its case out of the data set.")


def placed_differently(first: Image, second: Image) -> dict[str, str]:
    """What of origin and direction differs between two grids, in words.

    The tolerance of each number is nnU-Net's (numpy's allclose). A difference that moves no voxel by more
    than a hundredth of its size, as rounding in a header does, counts as none.
    """
    found = {}
    for name in sorted(first.world.keys() & second.world.keys()):
        one, other = first.world[name], second.world[name]
        if not np.array_equal(one, other) and (one.shape != other.shape or not np.allclose(one, other)):
            found[name] = f"{np.round(one, 4).tolist()} and {np.round(other, 4).tolist()}"
    return found if found and _shift_in_voxels(first, second) > 0.01 else {}


def _shift_in_voxels(first: Image, second: Image) -> float:
    """How far apart two grids place the same voxel at most, in sizes of a voxel; an upper bound."""
    one, other = _voxel_to_world(first), _voxel_to_world(second)
    if one.shape != other.shape:
        return float("inf")
    corners = max(first.array.shape[1:]) * np.indices((2,) * len(one)).reshape(len(one), -1)
    apart = (one - other) @ np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(apart, axis=0).max() / np.linalg.norm(one[:, :-1], axis=0).min())


def _voxel_to_world(image: Image) -> Array:
    if "affine" in image.world:
        return image.world["affine"][:3]
    origin = image.world["origin"]
    axes = image.world["direction"].reshape(len(origin), -1) * image.properties["sitk_stuff"]["spacing"]
    return np.column_stack([axes, origin])


def finite(raw: Image, paths: Sequence[Path]) -> Image:
    """An image without NaN and infinite voxels, which would spread over all that a network sees of it.

    They become 0, as in what nnU-Net's reader makes of NIfTI, and a warning names the files.
    """
    array, count = raw.array, raw.replaced
    bad = ~np.isfinite(array)
    if bad.any():
        count += int(np.count_nonzero(bad))
        array = np.where(bad, array.dtype.type(0), array)
    if count:
        log.warning(
            "%s: %d voxels are NaN or infinite and are read as 0. Write what they stand for.",
            ", ".join(map(str, paths)),
            count,
        )
    return replace(raw, array=array, replaced=count)


def voxel_size(image: Image) -> tuple[float, str]:
    """Size of a voxel with its unit: nnU-Net's third spacing of a 2D image means nothing."""
    if "sitk_stuff" not in image.properties and image.spacing == (999.0, 1.0, 1.0):
        return 1.0, "pixels"
    if image.array.shape[1] == 1 and image.spacing[0] >= 999 * max(image.spacing[1:]):
        return float(np.prod(image.spacing[1:])), "mm^2"
    return float(np.prod(image.spacing)) * image.unit_mm**3, "mm^3"


def describe_grid(image: Image) -> str:
    """Shape and spacing in words."""
    shape = " x ".join(str(n) for n in image.array.shape[1:])
    spacing = " x ".join(f"{s:.6g}" for s in image.spacing)
    return f"{shape} voxels of {spacing} mm (z, y, x)"
