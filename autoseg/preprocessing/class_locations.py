"""Where each class lies in a preprocessed case: the voxels that training draws foreground patches around."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.dataset import Labels, Region

Array = NDArray[Any]

_SEED = 1234
_LEAST = 10_000  # voxels that are retained of a class, if it has as many
_SHARE = 0.01  # and at least this part of a large one


def classes_to_locate(labels: Labels) -> tuple[Region, ...]:
    """The foreground labels or regions; with an ignore label also the annotated voxels as a whole."""
    annotated = (((-1, *labels.all_values)),) if labels.ignore is not None else ()
    return (*labels.foreground, *annotated)


def class_locations(segmentation: Array, classes: Sequence[Region]) -> dict[Region, Any]:
    """Draw voxels of each class without replacement, the same ones as nnU-Net's preprocessor.

    At least 1 % of a class and 10,000 voxels of it, all from one generator with a fixed seed. The voxels of
    a region are numbered label by label in the region's order, within a label in array order.

    Args:
        segmentation: (1, z, y, x), int8 or int16.
        classes: labels or regions.

    Returns:
        By class the (n, 4) indices (int64, the first is 0), or an empty list for a class that is not there.
    """
    random = np.random.RandomState(_SEED)
    voxels_of = _index(segmentation.reshape(-1))
    located: dict[Region, Any] = {}
    for each in classes:
        members = each if isinstance(each, tuple) else (each,)
        voxels = [voxels_of(label) for label in members]
        total = sum(v.size for v in voxels)
        if not total:
            located[each] = []
            continue
        wanted = max(min(_LEAST, total), int(np.ceil(total * _SHARE)))
        drawn = np.concatenate(voxels)[random.choice(total, wanted, replace=False)]
        located[each] = np.stack(np.unravel_index(drawn, segmentation.shape), axis=1)
    return located


def _index(labels: Array) -> Callable[[int], NDArray[np.intp]]:
    """Looks up the voxels of a label: the foreground is found once, the rest on demand."""
    foreground = np.flatnonzero(labels > 0)
    values = labels[foreground]

    def voxels_of(label: int) -> NDArray[np.intp]:
        return foreground[values == label] if label > 0 else np.flatnonzero(labels == label)

    return voxels_of
