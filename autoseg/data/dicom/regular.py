"""From the slices of a source onto its upright, evenly spaced grid, and back.

Slices of a tilted gantry lie in parallel planes, each further aside than the one before. Moving each within
its own plane makes an upright volume; nothing is interpolated across planes. Where distances are uneven and
mended, values are interpolated linearly between the two slices around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.image import Array

if TYPE_CHECKING:
    from autoseg.data.dicom.placing import Placing


def onto_grid(array: Array, placing: Placing, outside: float = 0.0, labels: bool = False) -> Array:
    """Slices as they are stored, on the upright grid.

    Args:
        array: (slices, rows, columns) of the source, in the order of the stack.
        placing: where they lie.
        outside: the value where no slice reaches.
        labels: whether values are labels: each new voxel takes its nearest one's.

    Returns:
        (z, y, x); the input itself if the source's slices are the grid's.
    """
    if placing.plain:
        return array
    if placing.sideways:
        moved = np.full((len(array), *placing.shape[1:]), outside, array.dtype if labels else np.float64)
        for number, (x, y) in enumerate(placing.sideways):
            moved[number] = _moved(array[number], (y, x), placing, outside, labels)
        array = moved
    return array if placing.even else _even(array, placing, labels)


def onto_source(labels: Array, placing: Placing, rows: int, columns: int) -> Array:
    """Labels on the upright grid, brought back onto the source's slices; each voxel takes its nearest one's.

    Args:
        labels: (z, y, x) on the grid of `placing`.
        placing: where the slices lie.
        rows, columns: of a source slice.

    Returns:
        (slices, rows, columns) in the order of the stack.
    """
    if placing.plain:
        return labels
    step = placing.spacing[0]
    numbers = np.clip(np.rint(np.array(placing.along) / step).astype(int), 0, len(labels) - 1)
    found: Array = labels[numbers]
    if not placing.sideways:
        return found
    whole: Array = np.zeros((len(found), rows, columns), labels.dtype)
    for number, (x, y) in enumerate(placing.sideways):
        down, right = _whole_pixels((y, x), placing)
        part = found[number, max(down, 0) : down + rows, max(right, 0) : right + columns]
        whole[number, : part.shape[0], : part.shape[1]] = part
    return whole


def _whole_pixels(by: tuple[float, float], placing: Placing) -> tuple[int, int]:
    """How far labels are moved: the same way there and back, so that halves come back where they were."""
    down, right = np.floor(np.divide(by, placing.spacing[1:]) + 0.5 + 1e-6)
    return int(down), int(right)


def _moved(plane: Array, by: tuple[float, float], placing: Placing, outside: float, labels: bool) -> Array:
    """A slice moved along rows and columns onto a larger canvas."""
    from scipy.ndimage import affine_transform

    if labels:
        whole: Array = np.full(placing.shape[1:], outside, plane.dtype)
        (down, right), (rows, columns) = _whole_pixels(by, placing), plane.shape
        part = whole[down : down + rows, right : right + columns]
        part[...] = plane[: part.shape[0], : part.shape[1]]
        return whole
    # Without the noise of rounding, by which the outermost rows and columns would lie outside.
    shift = np.round(-np.divide(by, placing.spacing[1:]), 6)
    result: Array = affine_transform(
        plane.astype(np.float64),
        np.ones(2),
        shift,
        output_shape=placing.shape[1:],
        order=1,
        mode="constant",
        cval=outside,
    )
    return result


def _even(array: Array, placing: Placing, labels: bool) -> Array:
    along = np.array(placing.along)
    wanted = np.arange(placing.shape[0]) * placing.spacing[0]
    after = np.clip(np.searchsorted(along, wanted), 1, len(along) - 1)
    weight = np.clip((wanted - along[after - 1]) / (along[after] - along[after - 1]), 0, 1)
    if labels:
        nearest: Array = array[np.where(weight < 0.5, after - 1, after)]
        return nearest
    weight = weight[:, None, None]
    between: Array = array[after - 1] * (1 - weight) + array[after] * weight
    return between
