"""The shape of a segmented structure in a few numbers, the same for references and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.image import Image, voxel_size

Array = NDArray[Any]


@dataclass(frozen=True)
class Shape:
    """One structure of one case.

    Attributes:
        size: volume in mm^3, area in mm^2, or pixels; 0 where there is none of it.
        surface: area of its voxels' outer faces, mm^2; of a picture the length of the outline.
        components: number of connected parts; voxels that touch at a corner are one.
        largest: share of the largest of them.
        border: share of the surface that lies on the border of the image.
        centre: middle of its voxels, z, y, x, as a share of the image's extent.
    """

    size: float
    surface: float = 0.0
    components: int = 0
    largest: float = 0.0
    border: float = 0.0
    centre: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "centre": list(self.centre)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Shape:
        """Read what `to_json` wrote."""
        return cls(**{**content, "centre": tuple(content["centre"])})

    def quantities(self, flat: bool) -> dict[str, float]:
        """What is compared between cases; nothing of an empty one.

        Args:
            flat: whether the images are pictures, of one slice.

        Returns:
            ``size``, ``roughness`` (surface to volume, free of scale: surface / size^(2/3), in pictures
            outline / area^(1/2)) and ``components`` as natural logarithms; ``border``; ``centre z`` ...
        """
        if not self.size:
            return {}
        axes = ("y", "x") if flat else ("z", "y", "x")
        centre = self.centre[-len(axes) :]
        return {
            "size": float(np.log(self.size)),
            "roughness": float(np.log(self.surface / self.size ** (1 / 2 if flat else 2 / 3))),
            "components": float(np.log(self.components)),
            "border": self.border,
            **{f"centre {axis}": value for axis, value in zip(axes, centre, strict=True)},
        }


def steps_of(image: Image) -> tuple[tuple[float, ...], str]:
    """The size of a voxel along z, y, x, such that their product is in the unit of sizes; and that unit."""
    unit = voxel_size(image)[1]
    if unit == "pixels":
        return (1.0, 1.0, 1.0), unit
    z, y, x = (step * image.unit_mm for step in image.spacing)
    return (1.0 if unit == "mm^2" else z, y, x), unit


def shapes_of(
    segmentation: Array, steps: Sequence[float], structures: Mapping[str, Sequence[int]]
) -> dict[str, Shape]:
    """The shape of each structure.

    Args:
        segmentation: (z, y, x), whole numbers.
        steps: see `steps_of`.
        structures: the values of each by name; they may share values.
    """
    whole = segmentation if segmentation.dtype.kind in "ui" else segmentation.astype(np.int32)
    boxes = _boxes(whole)
    found = {}
    for name, values in structures.items():
        there = [box for value in values if (box := boxes.get(value)) is not None]
        found[name] = _shape(whole, there, values, steps) if there else Shape(0.0)
    return found


def _boxes(whole: Array) -> dict[int, tuple[slice, ...]]:
    """The bounding box of each value that is there, sought in that of all: most of an image is background."""
    from scipy import ndimage

    around: list[slice] = []
    inner = whole
    for axis in range(3):
        there = np.flatnonzero(inner.max(axis=tuple(other for other in range(3) if other != axis), initial=0))
        if not there.size:
            return {}
        around.append(slice(int(there[0]), int(there[-1]) + 1))
        inner = inner[(slice(None),) * axis + (around[-1],)]
    boxes = enumerate(ndimage.find_objects(inner), 1)
    return {
        value: tuple(slice(s.start + a.start, s.stop + a.start) for s, a in zip(box, around, strict=True))
        for value, box in boxes
        if box is not None
    }


def _shape(whole: Array, boxes: Sequence[Any], values: Sequence[int], steps: Sequence[float]) -> Shape:
    from scipy import ndimage

    box = tuple(
        slice(min(each[axis].start for each in boxes), max(each[axis].stop for each in boxes))
        for axis in range(3)
    )
    part = whole[box]
    mask = part == values[0] if len(values) == 1 else np.isin(part, list(values))
    voxels = int(np.count_nonzero(mask))
    marks, number = ndimage.label(mask, np.ones((3, 3, 3)))
    largest = voxels if number == 1 else int(np.bincount(marks.ravel())[1:].max())
    inner, border = _faces(mask, box, whole.shape, steps)
    return Shape(
        size=voxels * float(np.prod(steps)),
        surface=inner + border,
        components=int(number),
        largest=largest / voxels,
        border=border / (inner + border),
        centre=_centre(mask, box, whole.shape),
    )


def _faces(
    mask: Array, box: Sequence[slice], shape: Sequence[int], steps: Sequence[float]
) -> tuple[float, float]:
    """Area of the faces within the image, and of those on its border; along an axis of one slice none."""
    inner = border = 0.0
    for axis in range(3):
        if shape[axis] == 1:
            continue
        area = float(np.prod([step for other, step in enumerate(steps) if other != axis]))
        inner += area * int(np.count_nonzero(np.diff(mask, axis=axis)))
        for index, end, edge in ((0, box[axis].start, 0), (-1, box[axis].stop, shape[axis])):
            faces = area * int(np.count_nonzero(mask.take(index, axis)))
            inner, border = (inner, border + faces) if end == edge else (inner + faces, border)
    return inner, border


def _centre(mask: Array, box: Sequence[slice], shape: Sequence[int]) -> tuple[float, ...]:
    found = []
    for axis, (side, length) in enumerate(zip(box, shape, strict=True)):
        along = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
        middle = float(along @ np.arange(len(along)) / along.sum()) + side.start
        found.append((middle + 0.5) / length)
    return tuple(found)
