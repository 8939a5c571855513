"""Crop and paste: arrays and boxes only.

A box is ``[[start, stop], ...]`` in array order, half open, as nnU-Net stores it in a case's properties.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Box = list[list[int]]

OUTSIDE = -1  # nnU-Net's label of background outside the nonzero region


def crop_to_nonzero(array: Array, segmentation: Array | None = None) -> tuple[Array, Array, Box]:
    """Crop a case to where any channel is nonzero, as nnU-Net does before everything else.

    The nonzero region is the union over channels with its holes filled. Background of the segmentation
    outside of that region becomes -1; without a segmentation one is made that is 0 inside and -1 outside.
    Nothing is done in place.

    Args:
        array: (c, z, y, x).
        segmentation: (1, z, y, x), whole numbers of any type.

    Returns:
        The cropped array (a view), the cropped segmentation (int8, or int16 where a label exceeds 127)
        and the box. A case that is zero everywhere keeps its full size.
    """
    mask = _nonzero(array)
    box = box_of(mask)
    mask = mask[slices(box)]
    outside = _reached_from_border(~mask) if not mask.all() else None
    inner = (slice(None), *slices(box))
    cropped = (
        _signed(segmentation[inner]) if segmentation is not None else np.zeros((1, *mask.shape), np.int8)
    )
    if outside is not None:
        cropped[0][outside & (cropped[0] == 0)] = OUTSIDE
    return array[inner], cropped, box


def nonzero_box(array: Array) -> Box:
    """The box that `crop_to_nonzero` crops to. `array` is (c, z, y, x)."""
    return box_of(_nonzero(array))


def box_of(mask: Array) -> Box:
    """The smallest box around the true voxels; the full box if there are none."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        box.append([int(hits[0]), int(hits[-1]) + 1] if hits.size else [0, mask.shape[axis]])
    return box


def slices(box: Sequence[Sequence[int]]) -> tuple[slice, ...]:
    """A box as an index."""
    return tuple(slice(start, stop) for start, stop in box)


def paste(crop: Array, box: Sequence[Sequence[int]], shape: Sequence[int], fill: float = 0) -> Array:
    """Undo a crop: an array of the full spatial `shape`, `fill` outside the box.

    Args:
        crop: (..., z, y, x); leading axes stay.
        box: where the crop was taken.
        shape: the spatial shape before the crop.
        fill: the value outside.
    """
    leading = crop.shape[: crop.ndim - len(box)]
    full = np.full((*leading, *shape), fill, dtype=crop.dtype)
    inner: tuple[Any, ...] = (..., *slices(box))
    full[inner] = crop
    return full


def holes_of(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What a mask encloses: voxels outside of it from which no face neighbours lead to the array's border."""
    return ~mask & ~_reached_from_border(~mask) if not mask.all() else np.zeros_like(mask)


def _nonzero(array: Array) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = array[0] != 0
    for channel in array[1:]:
        mask |= channel != 0
    return mask


def _signed(segmentation: Array) -> Array:
    """A copy as int8 if its labels fit, else int16: stock's types, with room for -1."""
    largest = segmentation.max(initial=0)
    return segmentation.astype(np.int8 if largest <= 127 else np.int16)


def _reached_from_border(background: Array) -> NDArray[np.bool_]:
    """The part of the background that reaches the array's border through face neighbours.

    The rest of it is holes. Labelling components costs a tenth of scipy's binary_fill_holes, which grows
    the outside voxel by voxel; and inside the crop the answer is the same as in the full array, because
    everything around the box is background.
    """
    components = _components(background)
    at_border = np.zeros(int(components.max()) + 1, dtype=np.bool_)
    for axis in range(background.ndim):
        for end in (0, -1):
            at_border[components.take(end, axis=axis)] = True
    at_border[0] = False
    reached: NDArray[np.bool_] = at_border[components]
    return reached


def _components(mask: Array) -> Array:
    """A number for each part of a mask that holds together through faces, from 1."""
    try:
        import cc3d
    except ImportError:  # a bundle makes do with scipy, which is slower
        from scipy.ndimage import label

        labelled: Array = label(mask)[0]
        return labelled
    components: Array = cc3d.connected_components(mask, connectivity=6)
    return components
