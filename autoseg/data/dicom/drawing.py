"""Labels of SEG and RTSTRUCT objects as one array on the grid of their image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from autoseg.data.dicom import contours, segments
from autoseg.data.dicom.label_objects import LabelObject
from autoseg.data.dicom.mask import Mask
from autoseg.data.dicom.stack import Stack
from autoseg.data.image import Array, ImageError


@dataclass(frozen=True)
class Part:
    """Structures of one object, each with the label that its voxels get: pairs of number and label."""

    label: LabelObject
    values: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Drawing:
    """The labels of one volume.

    Attributes:
        stack: the volume.
        parts: what is drawn upon it.
        threshold: of FRACTIONAL segments: the share from which a voxel belongs.
        layered: whether a higher label lies on top where two overlap; else that is an error.
    """

    stack: Stack
    parts: tuple[Part, ...]
    threshold: float = 0.5
    layered: bool = False


@dataclass(frozen=True)
class Drawn:
    """What a drawing came to.

    Attributes:
        array: labels (z, y, x), uint8 or uint16, 0 where there is none.
        moved_mm: how far voxels were moved at most, mm, where the labels lie on another grid.
        covered: label to the number of its voxels that lie below another one.
        outside: how many voxels or contours lie outside the volume and are lost.
    """

    array: Array
    moved_mm: float
    covered: Mapping[int, int] = field(default_factory=dict)
    outside: int = 0


def draw(drawing: Drawing) -> Drawn:
    """Draw labels onto the grid of their volume.

    Raises:
        ImageError: if an object cannot be read or lies beside its volume, or if two structures overlap
            and none is to lie on top.
    """
    layers: list[tuple[int, str, Array]] = []
    moved, outside = 0.0, 0
    for part in drawing.parts:
        names = {structure.number: structure.name for structure in part.label.structures}
        for number, mask in _masks(part, drawing).items():
            layers.append((dict(part.values)[number], names[number], mask.array))
            moved, outside = max(moved, mask.moved_mm), outside + mask.outside
    highest = max((value for value, _, _ in layers), default=0)
    array = np.zeros(drawing.stack.placing.shape, np.uint8 if highest < 255 else np.uint16)
    covered: dict[int, int] = {}
    for value, name, here in sorted(layers, key=lambda layer: layer[0]):
        below = array[here & (array != 0) & (array != value)]
        if len(below) and not drawing.layered:
            other = next(n for v, n, _ in layers if v == below[0])
            raise _overlap(drawing, name, other, len(below))
        for old, count in zip(*np.unique(below, return_counts=True), strict=True):
            covered[int(old)] = covered.get(int(old), 0) + int(count)
        array[here] = value
    return Drawn(array, moved, covered, outside)


def _masks(part: Part, drawing: Drawing) -> dict[int, Mask]:
    numbers = [number for number, _ in part.values]
    if part.label.kind == "RTSTRUCT":
        return contours.masks_of(part.label, drawing.stack, numbers)
    return segments.masks_of(part.label, drawing.stack, numbers, drawing.threshold)


def _overlap(drawing: Drawing, name: str, other: str, count: int) -> ImageError:
    return ImageError(
        drawing.parts[0].label.header.path,
        f"has {count} voxels in both {other!r} and {name!r}, and a voxel has one label",
        f"Say which structures are taken, the one on top last: --labels '{other}=1,{name}=2'.",
    )
