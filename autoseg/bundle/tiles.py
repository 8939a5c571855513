"""The geometry of a sliding window: where tiles lie, what their voxels weigh, how they are mirrored.

All as in nnU-Net (Isensee et al., 2021; nnunetv2 2.8).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Index = tuple[int | slice, ...]
Item = TypeVar("Item")


def tile_starts(
    shape: Sequence[int], patch_size: Sequence[int], step_size: float
) -> tuple[tuple[int, ...], ...]:
    """Where tiles start along each axis: evenly spread, at most `step_size` patches apart, both ends covered.

    Args:
        shape: shape of the image along the patch's axes, at least the patch.
        patch_size: in voxels.
        step_size: fraction of the patch.
    """
    starts = []
    for length, size in zip(shape, patch_size, strict=True):
        count = math.ceil((length - size) / (size * step_size)) + 1
        distance = (length - size) / max(count - 1, 1)
        # Steps below one voxel would visit a place twice; nnU-Net does.
        starts.append(tuple(dict.fromkeys(int(np.round(distance * number)) for number in range(count))))
    return tuple(starts)


def tiles(shape: Sequence[int], patch_size: Sequence[int], step_size: float) -> Iterator[Index]:
    """Index of every tile, last axis fastest; over slices first if the image has an axis more."""
    spatial = shape[len(shape) - len(patch_size) :]
    slices = [range(length) for length in shape[: len(shape) - len(patch_size)]]
    starts = tile_starts(spatial, patch_size, step_size)
    for number in itertools.product(*slices):
        for corner in itertools.product(*starts):
            yield (*number, *(slice(a, a + size) for a, size in zip(corner, patch_size, strict=True)))


@functools.lru_cache(maxsize=4)
def importance(patch_size: tuple[int, ...]) -> NDArray[np.float32]:
    """Weight of each voxel of a tile: a Gaussian of 1/8 of the patch, 10 at its centre.

    Rounded to half precision and never 0, as nnU-Net's: the rounding decides the weights of the corners.
    """
    from scipy.ndimage import gaussian_filter1d

    product = np.ones(())
    for size in patch_size:
        line = np.zeros(size)
        line[size // 2] = 1
        product = product[..., None] * gaussian_filter1d(line, size / 8, mode="constant")
    # By way of float32, as torch rounds.
    weights = (product / product.max() * 10).astype(np.float32).astype(np.float16)
    weights[weights == 0] = weights[weights > 0].min()
    full: NDArray[np.float32] = weights.astype(np.float32)
    return full


def mirrorings(axes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """All combinations of spatial axes, as axes of a batch (b, c, ...); the first is none."""
    chosen = sorted(axis + 2 for axis in axes)
    return tuple(c for count in range(len(chosen) + 1) for c in itertools.combinations(chosen, count))


def padding(
    shape: Sequence[int], patch_size: Sequence[int]
) -> tuple[tuple[tuple[int, int], ...], tuple[slice, ...]]:
    """What an image lacks to be as large as the patch, the odd voxel behind.

    Args:
        shape: shape of the image, spatial axes.
        patch_size: size of the network's input; two axes are the last two.

    Returns:
        Voxels before and behind along each axis, and where the image lies in the padded one.
    """
    wanted = (0,) * (len(shape) - len(patch_size)) + tuple(patch_size)
    missing = [max(0, size - length) for length, size in zip(shape, wanted, strict=True)]
    inner = tuple(slice(m // 2, m // 2 + length) for m, length in zip(missing, shape, strict=True))
    return tuple((m // 2, m - m // 2) for m in missing), inner


def batched(items: Iterable[Item], count: int) -> Iterator[tuple[Item, ...]]:
    """Consecutive groups of at most `count` items."""
    rest = iter(items)
    while group := tuple(itertools.islice(rest, count)):
        yield group
