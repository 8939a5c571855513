"""Reading a patch out of an image and a segmentation at the points of an affine map.

What comes out is what ``torch.nn.functional.grid_sample`` gives (images, linear) and what
``batchgeneratorsv2``'s SpatialTransform makes of it (segmentations: the label whose linearly interpolated
indicator is largest, ties to the nearest neighbour). It is computed otherwise, for machines with few cores:
only the window that the patch needs is read, the indices are made once for all channels, and labels are
interpolated only at points whose neighbours differ, so that the cost does not grow with their number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Matrix = npt.NDArray[np.float64]

# Points that are worked on at a time, so that indices and weights stay in the processor's cache.
BLOCK = 1 << 15
# Two labels whose scores differ by less tie: the resolution of batchgeneratorsv2's half-precision scores.
TIE = 4e-4
# Added to a label to mark a cell in which labels differ: labels are from -1 to 16000.
MIXED = -(2**14)


@dataclass(frozen=True)
class Sampling:
    """Where the points of a patch lie in a window of the input.

    Attributes:
        patch_size: shape of the patch.
        window: the part of the input that is read, one slice per axis.
        padding: voxels added around the window, in the order of torch.nn.functional.pad.
        shape: shape of the padded window.
        base: flat index in the padded window of each point's lower corner, int32.
        fractions: each point's distance from its lower corner in voxels, one tensor per axis.
    """

    patch_size: tuple[int, ...]
    window: tuple[slice, ...]
    padding: tuple[int, ...]
    shape: tuple[int, ...]
    base: Tensor
    fractions: tuple[Tensor, ...]

    @property
    def strides(self) -> tuple[int, ...]:
        """Distance between neighbours along each axis in the flat padded window."""
        return tuple(math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))

    @property
    def corners(self) -> list[int]:
        """Flat distance of a cell's corners from its lower one, first axis slowest."""
        choices = itertools.product(*((0, stride) for stride in self.strides))
        return [sum(choice) for choice in choices]

    def read(self, channels: Tensor, outside: float) -> Tensor:
        """The padded window of all channels, (c, *shape)."""
        part = channels[(slice(None), *self.window)]
        return F.pad(part, self.padding, value=outside) if any(self.padding) else part.contiguous()

    def block(self, channels: int, points: slice) -> Tensor:
        """Flat indices of some points' lower corners in all channels of what `read` gives."""
        starts = torch.arange(channels, dtype=torch.int32) * math.prod(self.shape)
        return (starts[:, None] + self.base[points]).reshape(-1)


def locate(matrix: Matrix, shift: Matrix, shape: Sequence[int], patch_size: Sequence[int]) -> Sampling:
    """Find where a patch reads its input.

    The patch point at distance p (voxels) from the patch's centre reads the input at ``matrix @ p + shift``
    from the input's centre.

    Args:
        matrix: (d, d), in axis order.
        shift: (d,), in voxels.
        shape: spatial shape of the input.
        patch_size: spatial shape of the patch.
    """
    centre = (np.array(shape) - 1) / 2 + shift
    reach = np.abs(matrix) @ ((np.array(patch_size) - 1) / 2)
    # One voxel around the input stands for all that lies outside.
    low = np.clip(np.floor(centre - reach), -1, np.array(shape) - 1).astype(int)
    high = np.clip(np.floor(centre + reach) + 1, 0, shape).astype(int)
    before, after = np.maximum(-low, 0), np.maximum(high - np.array(shape) + 1, 0)
    window = tuple(slice(int(a), int(b)) for a, b in zip(low + before, high + 1 - after, strict=True))
    padded = tuple(int(length) for length in high + 1 - low)
    base = torch.zeros((), dtype=torch.int32)
    fractions = []
    for axis, length in enumerate(padded):
        position = _positions(matrix[axis], centre[axis] - low[axis], patch_size).clamp_(0, length - 1)
        corner = position.int().clamp_(max=length - 2)
        fractions.append(position.sub_(corner).reshape(-1))
        base = base * length + corner
    padding = [int(count) for pair in zip(before, after, strict=True) for count in reversed(pair)][::-1]
    return Sampling(tuple(patch_size), window, tuple(padding), padded, base.reshape(-1), tuple(fractions))


def _positions(row: Matrix, centre: float, patch_size: Sequence[int]) -> Tensor:
    """Coordinate along one input axis of every point of the patch: a sum of one term per patch axis."""
    total = torch.full((1,) * len(patch_size), centre)
    for axis, (size, slope) in enumerate(zip(patch_size, row, strict=True)):
        steps = torch.from_numpy(slope * (np.arange(size) - (size - 1) / 2)).float()
        total = total + steps.reshape([-1 if other == axis else 1 for other in range(len(patch_size))])
    return total.expand(*patch_size).contiguous()


def sample_linear(image: Tensor, sampling: Sampling) -> Tensor:
    """Linear interpolation, 0 outside.

    Args:
        image: (c, *shape), float.

    Returns:
        (c, *patch_size).
    """
    channels, points = len(image), sampling.base.numel()
    flat = sampling.read(image, 0).reshape(-1)
    out = torch.empty((channels, points), dtype=image.dtype)
    for start in range(0, points, max(1, BLOCK // channels)):
        block = slice(start, start + max(1, BLOCK // channels))
        fractions = [fraction[block] for fraction in sampling.fractions]
        values = _interpolate(flat, sampling.block(channels, block), fractions, sampling.strides)
        out[:, block] = values.reshape(channels, -1)
    return out.reshape(channels, *sampling.patch_size)


def _interpolate(flat: Tensor, base: Tensor, fractions: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
    if not fractions:
        return flat.index_select(0, base)
    lower = _interpolate(flat, base, fractions[1:], strides[1:])
    upper = _interpolate(flat[strides[0] :], base, fractions[1:], strides[1:])
    shape = (-1, len(fractions[0]))
    return lower.view(shape).lerp_(upper.view(shape), fractions[0]).view(-1)


def sample_labels(segmentation: Tensor, sampling: Sampling, outside: int) -> Tensor:
    """The label with the largest linearly interpolated indicator at each point.

    Args:
        segmentation: (c, *shape), whole numbers.
        outside: the label of what lies outside the input.

    Returns:
        (c, *patch_size).
    """
    labels = sampling.read(
        segmentation.to(torch.int32 if segmentation.dtype == torch.int64 else torch.int16), outside
    )
    patch = (len(labels), *sampling.patch_size)
    low, high = torch.aminmax(labels)
    if low == high:
        return torch.full(patch, int(low), dtype=segmentation.dtype)
    base = sampling.block(len(labels), slice(None))
    result = _cells(labels).reshape(-1).index_select(0, base)
    # numpy finds the few true values among many faster than torch does
    mixed = torch.from_numpy(np.flatnonzero((result < MIXED // 2).numpy()))
    for points in torch.split(mixed, BLOCK // 8):
        result[points] = _vote(labels.reshape(-1), base, sampling, points)
    return result.reshape(patch).to(segmentation.dtype)


def _cells(labels: Tensor) -> Tensor:
    """At each cell's lower corner its one label, or far below zero (MIXED // 2) where its corners differ."""
    low = high = labels
    for axis in range(1, labels.ndim):
        length = labels.shape[axis] - 1
        low = torch.minimum(low.narrow(axis, 0, length), low.narrow(axis, 1, length))
        high = torch.maximum(high.narrow(axis, 0, length), high.narrow(axis, 1, length))
    cells = labels.clone()
    cells[(slice(None), *(slice(length - 1) for length in labels.shape[1:]))] = low.add_(
        high.sub_(low).clamp_(max=1), alpha=MIXED
    )
    return cells


def _vote(flat: Tensor, base: Tensor, sampling: Sampling, points: Tensor) -> Tensor:
    """The winning label at points of mixed cells."""
    corner = base.index_select(0, points)
    weights = torch.ones((1, len(points)))
    for fraction in sampling.fractions:
        part = fraction.index_select(0, points % len(fraction))
        weights = (weights[:, None] * torch.stack([1 - part, part])).flatten(0, 1)
    labels = torch.stack([flat.index_select(0, corner + offset) for offset in sampling.corners])
    # The nearest neighbour is the corner of the largest weight; the bonus lets its label win a tie.
    weights += TIE * (weights == weights.amax(0))
    values = labels.float()
    scores = torch.empty((len(labels), *labels.shape))
    torch.eq(values[:, None], values, out=scores)
    winner = scores.mul_(weights).sum(1).max(0, keepdim=True).indices
    return labels.gather(0, winner)[0]
