"""Drawing one slice: the image in grey or colour, outlines of structures over it, as a small data URI."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# Okabe and Ito 2008, the ones that stand out on grey.
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2")
_LONGER_SIDE = 300
_FILL = 0.16


@dataclass(frozen=True)
class Picture:
    """An image file as a data URI.

    Attributes:
        source: the data URI.
        width, height: in pixels.
    """

    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Frame:
    """The part of a slice that is shown, already scaled.

    Attributes:
        box: rows and columns of the slice.
        background: RGB, shape (height, width, 3), 0 to 1.
    """

    box: tuple[slice, slice]
    background: Array

    def legend(self, structures: Mapping[str, Sequence[int]]) -> tuple[tuple[str, str], ...]:
        """Structure and colour."""
        return tuple((name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(structures))

    def enlarge(self, plane: Array) -> Array:
        """Cut and scale a label plane: the nearest voxel of each pixel."""
        part = plane[self.box]
        rows, columns = (
            (np.arange(size) * source) // size
            for size, source in zip(self.background.shape[:2], part.shape, strict=True)
        )
        return np.asarray(part[np.ix_(rows, columns)])


def frame_around(labels: Sequence[Array], image: Array, spacing: Sequence[float]) -> Frame:
    """Choose the part of a slice around all labels and scale it.

    Args:
        labels: planes of shape (rows, columns): the reference and all predictions.
        image: shape (channels, rows, columns).
        spacing: in mm, of rows and columns.
    """
    box = _box(np.any([plane > 0 for plane in labels], axis=0))
    part = image[(slice(None), *box)].astype(np.float64)
    height, width = part.shape[1] * spacing[0], part.shape[2] * spacing[1]
    scale = _LONGER_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    coloured = part.shape[0] == 3 and image.min() >= 0 and image.max() <= 255 and image.max() > 1
    if coloured:
        return Frame(box, np.stack([_scaled(plane / 255, size) for plane in part], axis=-1))
    grey = _scaled(_window(part[0], image[0]), size)
    return Frame(box, np.stack([grey] * 3, axis=-1))


def _box(there: Array) -> tuple[slice, slice]:
    """The labels with a margin, never a narrow strip; all of the slice where there is none."""
    if not there.any():
        return slice(0, there.shape[0]), slice(0, there.shape[1])
    sides = []
    for axis in (0, 1):
        found = np.flatnonzero(there.any(axis=1 - axis))
        sides.append((int(found[0]), int(found[-1]) + 1))
    longest = max(stop - start for start, stop in sides)
    half = max(12.0, 0.7 * longest)
    ends = []
    for (start, stop), size in zip(sides, there.shape, strict=True):
        middle = (start + stop) / 2
        ends.append(slice(max(0, round(middle - half)), min(size, round(middle + half))))
    return ends[0], ends[1]


def _window(plane: Array, whole: Array) -> Array:
    """Grey values between the 1st and the 99.5th percentile of the slice."""
    low, high = np.percentile(whole, [1, 99.5])
    return np.asarray(np.clip((plane - low) / max(high - low, 1e-9), 0, 1))


def _scaled(plane: Array, size: tuple[int, int]) -> Array:
    from PIL import Image

    scaled = Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(np.clip(np.asarray(scaled), 0, 1))


def draw(
    frame: Frame, segmentation: Array | None, reference: Array | None, structures: Mapping[str, Sequence[int]]
) -> Picture:
    """Draw the outlines of a segmentation in colour and those of the reference dotted in white."""
    canvas = frame.background.copy()
    if segmentation is not None:
        labels = frame.enlarge(segmentation)
        for i, values in enumerate(structures.values()):
            inside = np.isin(labels, values)
            colour = _rgb(COLOURS[i % len(COLOURS)])
            canvas[inside] = (1 - _FILL) * canvas[inside] + _FILL * colour
            canvas[_outline(inside, 2)] = colour
    if reference is not None:
        labels = frame.enlarge(reference)
        rows, columns = np.indices(labels.shape)
        dots = (rows // 2 + columns // 2) % 3 != 0
        for values in structures.values():
            canvas[_outline(np.isin(labels, values), 1) & dots] = 1.0
    return _encoded(canvas)


def _rgb(colour: str) -> Array:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def _outline(inside: Array, width: int) -> Array:
    """The outermost pixels of an area, `width` deep; the picture's edge is not an outline."""
    eroded = inside.copy()
    for _ in range(width):
        padded = np.pad(eroded, 1, constant_values=True)
        eroded = eroded & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(inside & ~eroded)


def _encoded(canvas: Array) -> Picture:
    from PIL import Image, features

    image = Image.fromarray((canvas * 255 + 0.5).astype(np.uint8))
    buffer = io.BytesIO()
    kind = "webp" if features.check("webp") else "png"
    # Method 4 takes twice as long as 2, for files 5 % smaller.
    image.save(buffer, kind, **({"quality": 82, "method": 2} if kind == "webp" else {"optimize": True}))
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(f"data:image/{kind};base64,{text}", image.width, image.height)
