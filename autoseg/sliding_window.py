"""Prediction of an image of any size, tile by tile.

Tiles, weights and mirroring are nnU-Net's (Isensee et al., 2021; nnunetv2 2.8), so the logits are too; tiles
and mirrored copies go through the network in batches where that is faster.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoseg.architectures import channels_last
from autoseg.errors import RunError, UsageError

log = logging.getLogger(__name__)

# Voxels that go through the network at once if no batch size is given. On a CPU more than this leaves the
# cache and slows down (measured for U-Nets in 2D and 3D); a GPU wants enough work.
VOXELS_AT_ONCE = {"cpu": 2**16, "cuda": 2**22}

Index = tuple[int | slice, ...]
Item = TypeVar("Item")


@torch.no_grad()
def predict_logits(
    network: nn.Module,
    image: Tensor,
    patch_size: Sequence[int],
    *,
    step_size: float = 0.5,
    mirror_axes: Sequence[int] = (),
    gaussian: bool = True,
    batch_size: int | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    result_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Predict one preprocessed case.

    Args:
        network: in evaluation mode, on `device`. Of several outputs the first counts.
        image: (c, z, y, x).
        patch_size: of the network's input; two axes predict slice by slice.
        step_size: distance between tiles as a fraction of the patch, above 0, at most 1.
        mirror_axes: spatial axes of the patch; all combinations are averaged.
        gaussian: whether the centre of a tile weighs more than its rim.
        batch_size: tiles and mirrored copies in one pass; None lets the patch and the device decide.
        device: where to compute; None for where the network is.
        dtype: of the computation (autocast). None is nnU-Net's choice: float16 on CUDA, the network's own
            elsewhere.
        result_dtype: of the sum over tiles. float16, as in nnU-Net, halves the memory.

    Returns:
        Logits (heads, z, y, x), in main memory.

    Raises:
        UsageError: for arguments out of range.
        RunError: if the logits are not finite.
    """
    check_arguments(image, patch_size, step_size, mirror_axes)
    device = device or next(network.parameters()).device
    window = Window(
        network, tuple(patch_size), step_size, mirrorings(mirror_axes), gaussian, batch_size, device
    )
    padded, inner = pad_to_patch(image, patch_size)
    # One context around all tiles: within it, autocast converts the weights once (not in inference mode).
    with _autocast(device, dtype):
        try:
            logits = window.slide(padded, device, result_dtype)
        except torch.cuda.OutOfMemoryError:
            log.warning("The logits do not fit on %s; they stay in main memory, which is slower.", device)
            torch.cuda.empty_cache()
            logits = window.slide(padded, torch.device("cpu"), result_dtype)
    if not torch.isfinite(logits).all():
        raise RunError(
            "The network's output is not finite (NaN or infinite). Look into the training's log for a loss "
            "that went astray; if the sum is float16, predict with float32."
        )
    return logits[(slice(None), *inner)].cpu()


@dataclass(frozen=True)
class Window:
    """A network that slides over images; the fields are the arguments of `predict_logits`."""

    network: nn.Module
    patch_size: tuple[int, ...]
    step_size: float
    mirrorings: tuple[tuple[int, ...], ...]
    gaussian: bool
    batch_size: int | None
    device: torch.device

    def slide(self, image: Tensor, home: torch.device, result_dtype: torch.dtype) -> Tensor:
        """Weighted mean over all tiles of an image at least as large as the patch; kept at `home`."""
        image, weights, weight_sum = image.to(home), *(w.to(home) for w in self._weights(image.shape))
        total: Tensor | None = None
        for places in batched(tiles(image.shape[1:], self.patch_size, self.step_size), self.tiles_at_once):
            batch = torch.stack([image[(slice(None), *place)] for place in places])
            predictions = self._predict(batch.to(self.device)).to(home)
            if total is None:
                shape = (predictions.shape[1], *image.shape[1:])
                total = torch.zeros(shape, dtype=result_dtype, device=home)
            for place, prediction in zip(places, predictions, strict=True):
                share = weights / weight_sum[place[-weights.ndim :]]
                total[(slice(None), *place)] += prediction.mul_(share)
        assert total is not None  # there is always a tile
        return total

    def _weights(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Weights of a tile, and their sum over all tiles of an image or, for a 2D patch, of a slice.

        With the sum known beforehand, what is added up are shares of 1. nnU-Net divides in the end, and its
        half-precision sums lose the voxels in the corners of an image, whose weight is 6e-8.
        """
        spatial = shape[-len(self.patch_size) :]
        weights = importance(self.patch_size) if self.gaussian else torch.ones(self.patch_size)
        total = torch.zeros(spatial)
        for place in tiles(spatial, self.patch_size, self.step_size):
            total[place] += weights
        return weights, total

    @property
    def inputs_at_once(self) -> int:
        """Network inputs in one pass."""
        voxels = VOXELS_AT_ONCE.get(self.device.type, VOXELS_AT_ONCE["cpu"])
        return self.batch_size or max(1, voxels // math.prod(self.patch_size))

    @property
    def tiles_at_once(self) -> int:
        """Tiles whose mirrored copies make up one pass."""
        return max(1, self.inputs_at_once // len(self.mirrorings))

    def _predict(self, batch: Tensor) -> Tensor:
        """Mean over mirrorings, float32, (tiles, heads, *patch)."""
        total: Tensor | None = None
        for group in batched(self.mirrorings, max(1, self.inputs_at_once // len(batch))):
            copies = torch.cat([batch.flip(axes) for axes in group])
            if copies.device.type == "cpu":
                copies = copies.contiguous(memory_format=channels_last(len(self.patch_size)))
            output = self.network(copies)
            logits = (output[0] if isinstance(output, (list, tuple)) else output).float()
            for part, axes in zip(logits.split(len(batch)), group, strict=True):
                total = part.flip(axes) if total is None else total.add_(part.flip(axes))
        assert total is not None  # the empty mirroring is always there
        return total.div_(len(self.mirrorings))


def tile_starts(
    shape: Sequence[int], patch_size: Sequence[int], step_size: float
) -> tuple[tuple[int, ...], ...]:
    """Where tiles start along each axis: evenly spread, at most `step_size` patches apart, both ends covered.

    Args:
        shape: of the image along the patch's axes, at least the patch.
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
def importance(patch_size: tuple[int, ...]) -> Tensor:
    """Weight of each voxel of a tile: a Gaussian of 1/8 of the patch, 10 at its centre.

    Rounded to half precision and never 0, as nnU-Net's: the rounding decides the weights of the corners.
    """
    from scipy.ndimage import gaussian_filter1d

    product = np.ones(())
    for size in patch_size:
        line = np.zeros(size)
        line[size // 2] = 1
        product = product[..., None] * gaussian_filter1d(line, size / 8, mode="constant")
    weights = torch.from_numpy(product / product.max() * 10).half()
    weights[weights == 0] = weights[weights > 0].min()
    return weights.float()


def mirrorings(axes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """All combinations of spatial axes, as axes of a batch (b, c, ...); the first is none."""
    chosen = sorted(axis + 2 for axis in axes)
    return tuple(c for count in range(len(chosen) + 1) for c in itertools.combinations(chosen, count))


def pad_to_patch(image: Tensor, patch_size: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """Pad with zeros to at least the patch, the odd voxel behind.

    Returns:
        The padded image, and where the image lies in it (spatial axes).
    """
    spatial = image.shape[1:]
    wanted = (0,) * (len(spatial) - len(patch_size)) + tuple(patch_size)
    missing = [max(0, size - length) for length, size in zip(spatial, wanted, strict=True)]
    inner = tuple(slice(m // 2, m // 2 + length) for m, length in zip(missing, spatial, strict=True))
    padding = [side for m in reversed(missing) for side in (m // 2, m - m // 2)]
    return (F.pad(image, padding) if any(missing) else image), inner


def batched(items: Iterable[Item], count: int) -> Iterator[tuple[Item, ...]]:
    """Consecutive groups of at most `count` items."""
    rest = iter(items)
    while group := tuple(itertools.islice(rest, count)):
        yield group


def check_arguments(
    image: Tensor, patch_size: Sequence[int], step_size: float, mirror_axes: Sequence[int]
) -> None:
    """Refuse what `predict_logits` cannot work with.

    Raises:
        UsageError: with the value and what was expected.
    """
    if image.ndim != 4:
        raise UsageError(f"The image has shape {tuple(image.shape)}; expected (c, z, y, x). Add an axis.")
    if len(patch_size) not in (2, 3):
        raise UsageError(f"The patch size is {tuple(patch_size)}; expected 2 or 3 axes. Correct the plan.")
    if not 0 < step_size <= 1:
        raise UsageError(f"The step size is {step_size}; choose one above 0 and at most 1, such as 0.5.")
    if not set(mirror_axes) <= set(range(len(patch_size))):
        raise UsageError(
            f"Mirror axes are {tuple(mirror_axes)}; choose among {tuple(range(len(patch_size)))}."
        )


def _autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    if dtype is None and device.type == "cuda":
        dtype = torch.float16
    return torch.autocast(device.type, dtype=dtype, enabled=dtype not in (None, torch.float32))
