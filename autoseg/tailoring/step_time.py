"""Short measurements of a network on the device at hand."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from autoseg.architectures import channels_last, prepare_for_cpu, system_blocks
from autoseg.system.process_memory import take_from_system

# A probe this large takes a second or two on two cores and fills their vector units.
LARGEST_PROBE_VOXELS = 200_000


def probe_batches(
    patch_size: Sequence[int], batch_size: int, strides: Sequence[int]
) -> list[tuple[int, tuple[int, ...]]]:
    """Two batches of different size that are small enough to measure; one where no other is possible.

    Args:
        patch_size: as planned.
        batch_size: as planned; the larger of the two has at most as many samples.
        strides: the network's strides, all stages multiplied.

    Returns:
        Samples and patch of each.
    """
    least = min(2, batch_size)
    patch = probe_patch(patch_size, least, strides)
    more = min(4 * least, batch_size, LARGEST_PROBE_VOXELS // math.prod(patch))
    if more >= 2 * least:  # closer sizes would measure noise
        return [(least, patch), (more, patch)]
    smaller = probe_patch(patch, least, strides, least * math.prod(patch) // 2)
    return [(least, patch)] if smaller == patch else [(least, smaller), (least, patch)]


def probe_patch(
    patch_size: Sequence[int], batch_size: int, strides: Sequence[int], most: int = LARGEST_PROBE_VOXELS
) -> tuple[int, ...]:
    """A patch small enough to measure, a multiple of the network's strides and not below twice them."""
    patch = list(patch_size)
    while math.prod(patch) * batch_size > most:
        halved = [n // 2 // s * s if n // 2 >= 2 * s else n for n, s in zip(patch, strides, strict=True)]
        axis = max(range(len(patch)), key=lambda i: patch[i] - halved[i])
        if halved[axis] == patch[axis]:
            break
        patch[axis] = halved[axis]
    return tuple(patch)


def step_seconds(
    network: nn.Module, shape: Sequence[int], device: torch.device, dtype: torch.dtype | None
) -> float:
    """Seconds of one training step (forward, backward, update) on random data.

    Args:
        network: the network on the device, in training mode; on a CPU it is made ready as a trainer makes it.
        shape: shape of a batch: samples, channels, spatial axes.
        device: the device to measure on.
        dtype: data type of autocast; None: float32.
    """
    data = torch.randn(tuple(shape), device=device)
    if device.type == "cpu":
        prepare_for_cpu(network)
        # As a training takes it, since that is part of what a step costs.
        take_from_system(system_blocks(network))
        layout = channels_last(data.ndim - 2)
        network, data = network.to(memory_format=layout), data.to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            outputs = network(data)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        sum(output.float().square().mean() for output in outputs).backward()  # type: ignore[union-attr]
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])


def forward_seconds(
    network: nn.Module, shape: Sequence[int], device: torch.device, dtype: torch.dtype | None
) -> float:
    """Seconds of one forward pass without gradients, as prediction makes it, on random data.

    Args:
        network: as `step_seconds` leaves it; it is in training mode again afterwards.
        shape: shape of a batch: samples, channels, spatial axes.
        device: the device to measure on.
        dtype: data type of autocast; None: float32.
    """
    data = torch.randn(tuple(shape), device=device)
    if device.type == "cpu":
        data = data.to(memory_format=channels_last(data.ndim - 2))
    times = []
    network.eval()
    with torch.no_grad(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        for _ in range(2):
            began = time.perf_counter()
            network(data)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
    network.train()
    return min(times)


# Two measured steps say no more than that: noise must not make voxels free.
MOST_FIXED = 0.9


@dataclass(frozen=True)
class StepTime:
    """Time of a step by its size.

    Attributes:
        fixed: seconds that every step takes.
        per_voxel: seconds for each voxel of a batch.
    """

    fixed: float
    per_voxel: float

    @classmethod
    def through(cls, measured: Mapping[int, float]) -> Self:
        """The line through measured seconds by voxels, one or two; through one, and 0.

        Neither part is negative, and the fixed one is at most `MOST_FIXED` of the shorter step.
        """
        (few, quick), (many, slow) = (pick(measured.items()) for pick in (min, max))
        per_voxel = (slow - quick) / (many - few) if many > few else slow / many
        fixed = min(max(0.0, quick - per_voxel * few), MOST_FIXED * min(quick, slow))
        return cls(fixed, (slow - fixed) / many)

    def seconds(self, voxels: float) -> float:
        """Of a step with a batch of so many voxels."""
        return self.fixed + self.per_voxel * voxels

    def follows_size(self, voxels: float) -> bool:
        """Whether the voxels take at least half of a step, so that half of them saves a quarter of it."""
        return self.per_voxel * voxels >= self.fixed
