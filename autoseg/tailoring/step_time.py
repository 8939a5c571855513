"""Short measurements of a network on the device at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from autoseg.architectures import channels_last, prepare_for_cpu, system_blocks
from autoseg.system.process_memory import take_from_system
from autoseg.tailoring.machine.layers import seconds_of, steady_seconds


def probe_patch(
    patch_size: Sequence[int], batch_size: int, strides: Sequence[int], most: int
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
    """Seconds of one training step (forward, backward, update) on random data; of one computing thread.

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

    def step() -> None:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            outputs = network(data)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        sum(output.float().square().mean() for output in outputs).backward()  # type: ignore[union-attr]
        optimizer.step()

    return steady_seconds(step, device)


def forward_seconds(
    network: nn.Module, shape: Sequence[int], device: torch.device, dtype: torch.dtype | None
) -> float:
    """Seconds of one forward pass without gradients, as prediction makes it; of one computing thread.

    Args:
        network: as `step_seconds` leaves it; it is in training mode again afterwards.
        shape: shape of a batch: samples, channels, spatial axes.
        device: the device to measure on.
        dtype: data type of autocast; None: float32.
    """
    data = torch.randn(tuple(shape), device=device)
    if device.type == "cpu":
        data = data.to(memory_format=channels_last(data.ndim - 2))
    network.eval()
    with torch.no_grad(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        found = seconds_of(lambda: network(data), device, rounds=1)
    network.train()
    return found


@dataclass(frozen=True)
class StepTime:
    """Time of a step by its size.

    Attributes:
        fixed: seconds that every step takes.
        per_voxel: seconds for each voxel of a batch.
    """

    fixed: float
    per_voxel: float

    def seconds(self, voxels: float) -> float:
        """Of a step with a batch of so many voxels."""
        return self.fixed + self.per_voxel * voxels
