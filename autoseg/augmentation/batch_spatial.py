"""The geometry of a whole batch at once, on the device that it lies on.

Each function gives what its transform of single samples gives for the same draws. Nothing here waits for a
GPU: what is drawn is known on the host, and shapes do not depend on values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from batchgeneratorsv2.transforms.utils.cropping import center_crop
from torch import Tensor

from autoseg.augmentation.sampling import TIE, Matrix

# The map of a sample: matrix and shift in voxels, as `locate` takes them; None: the patch is only cut out.
Map = tuple[Matrix, Matrix] | None


def affine(
    image: Tensor, segmentation: Tensor, maps: Sequence[Map], patch_size: Sequence[int], outside: int
) -> tuple[Tensor, Tensor]:
    """Read a patch out of each sample at the points of its map.

    Args:
        image: (b, c, *shape), float.
        segmentation: (b, s, *shape), whole numbers.
        maps: one a sample.
        patch_size: shape of the patches.
        outside: the label of what lies outside the input; images are 0 there.

    Returns:
        Image and segmentation, (b, ., *patch_size).
    """
    images = _cut(image, patch_size, 0)
    labels = _cut(segmentation, patch_size, outside)
    for number, mapped in enumerate(maps):
        if mapped is not None:
            images[number] = linear(image[number], mapped, patch_size)
            labels[number] = _vote(segmentation[number], mapped, patch_size, outside)
    return images, labels


def _cut(array: Tensor, patch_size: Sequence[int], outside: int) -> Tensor:
    patch: Tensor = center_crop(array.flatten(0, 1), patch_size, pad_kwargs={"value": outside})
    return patch.reshape(*array.shape[:2], *patch_size).contiguous()


def linear(image: Tensor, mapped: tuple[Matrix, Matrix], patch_size: Sequence[int]) -> Tensor:
    """Linear interpolation of (c, *shape) at the points of a map, 0 outside; (c, *patch_size)."""
    matrix, shift = mapped
    half_in = np.maximum((np.array(image.shape[1:]) - 1) / 2, 1e-9)
    half_out = (np.array(patch_size) - 1) / 2
    theta = np.concatenate([matrix * half_out, shift[:, None]], axis=1) / half_in[:, None]
    # torch counts coordinates from the last axis on.
    turned = np.concatenate([theta[::-1, -2::-1], theta[::-1, -1:]], axis=1)[None]
    on_device = torch.from_numpy(turned.astype(np.float32)).to(image.device, non_blocking=True)
    grid = F.affine_grid(on_device, [1, 1, *patch_size], align_corners=True)
    return F.grid_sample(image[None], grid, padding_mode="zeros", align_corners=True)[0]


def _vote(
    segmentation: Tensor, mapped: tuple[Matrix, Matrix], patch_size: Sequence[int], outside: int
) -> Tensor:
    """The label with the largest linearly interpolated indicator, ties to the nearest neighbour."""
    low, fractions = _corners(mapped, segmentation.shape[1:], patch_size, segmentation.device)
    padded = F.pad(segmentation, (1, 1) * len(patch_size), value=outside)
    flat, shape = padded.flatten(1), padded.shape[1:]
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    base = sum(position * stride for position, stride in zip(low, strides, strict=True))
    labels, weights = [], []
    for corner in itertools.product((0, 1), repeat=len(shape)):
        offset = sum(step * stride for step, stride in zip(corner, strides, strict=True))
        labels.append(flat[:, base + offset])
        parts = [part if step else 1 - part for step, part in zip(corner, fractions, strict=True)]
        weights.append(math.prod(parts[1:], start=parts[0]))
    weight = torch.stack(weights)
    weight += TIE * (weight == weight.amax(0))
    best, winner = torch.full_like(labels[0], -1, dtype=weight.dtype), labels[0].clone()
    for label in labels:
        score = sum(w * (other == label) for w, other in zip(weight, labels, strict=True))
        better = score > best
        best, winner = torch.where(better, score, best), torch.where(better, label, winner)
    return winner.reshape(len(segmentation), *patch_size)


def _corners(
    mapped: tuple[Matrix, Matrix], shape: Sequence[int], patch_size: Sequence[int], device: torch.device
) -> tuple[list[Tensor], list[Tensor]]:
    """Of each point, along each axis, its lower corner in the input with a rim of one, and its distance."""
    matrix, shift = mapped
    low, fractions = [], []
    for axis, length in enumerate(shape):
        position = torch.full((1,) * len(patch_size), (length - 1) / 2 + shift[axis] + 1, device=device)
        for other, size in enumerate(patch_size):
            steps = torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2
            position = position + (steps * float(matrix[axis, other])).reshape(
                [-1 if each == other else 1 for each in range(len(patch_size))]
            )
        position = position.expand(*patch_size).reshape(-1).clamp(0, length + 1)
        corner = position.floor().clamp(max=length)
        low.append(corner.long())
        fractions.append(position - corner)
    return low, fractions


def mirror(image: Tensor, segmentation: Tensor, axes: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Mirror each sample along its axes, counted from the first spatial one."""
    for number, each in enumerate(axes):
        if each:
            turned = [axis + 1 for axis in each]
            image[number] = image[number].flip(turned)
            segmentation[number] = segmentation[number].flip(turned)
    return image, segmentation


def fold_slices(array: Tensor) -> Tensor:
    """(b, c, z, y, x) to (b, c z, y, x): all slices move alike."""
    return array.flatten(1, 2)


def unfold_slices(array: Tensor, channels: Any) -> Tensor:
    """The way back from `fold_slices`."""
    return array.reshape(len(array), channels, -1, *array.shape[2:])
