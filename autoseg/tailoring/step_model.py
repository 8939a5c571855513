"""Seconds of a step and of a forward pass of any network, from what it consists of and what a machine can do.

The network runs once on torch's meta device, where there are shapes and no numbers. Each convolution counts
with the speed of its kind; narrow ones are slower for what they compute, as measured for U-Nets of width 8
to 32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from autoseg.system.machine_model import MachineModel
from autoseg.tailoring.machine.layers import PASSES_PER_STEP
from autoseg.tailoring.step_time import StepTime

# The width that speeds were measured at, and how work falls with the width: by 2^1.55 and not by 2^2.
FULL_WIDTH, WIDTH_EXPONENT = 32, 1.55
# The loss reads and writes logits and target about so often.
PASSES_OF_THE_LOSS = 20
BYTES = 4
# What a forward pass of one layer takes, of what a step takes.
FORWARD_SHARE = 1 / 3


def modelled(network: nn.Module, shape: Sequence[int], machine: MachineModel) -> tuple[StepTime, StepTime]:
    """Seconds of a training step and of a forward pass, by voxels of a batch.

    Args:
        network: on the meta device.
        shape: shape of a batch: samples, channels, spatial axes.
        machine: what it runs on.
    """
    convolutions, layers, logits = _passed(network, shape)
    voxels = shape[0] * math.prod(shape[2:])
    training = sum(macs / machine.speed(kind) for kind, macs in convolutions)
    forward = sum(macs / machine.forward[kind] for kind, macs in convolutions) / machine.gain
    weights = sum(parameter.numel() for parameter in network.parameters())
    loss = PASSES_OF_THE_LOSS * BYTES * logits / machine.bytes_per_second
    fixed = layers * machine.seconds_per_layer
    step = StepTime(
        fixed + weights * machine.seconds_per_weight, (PASSES_PER_STEP * training + loss) / voxels
    )
    return step, StepTime(FORWARD_SHARE * fixed, forward / voxels)


def _passed(network: nn.Module, shape: Sequence[int]) -> tuple[list[tuple[str, float]], int, int]:
    """Kind and effective work of each convolution, the number of layers, and of logits."""
    convolutions: list[tuple[str, float]] = []
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)

    def hook(module: Any, inputs: Any, output: torch.Tensor) -> None:
        convolutions.append(_work(module, inputs[0], output))

    handles = [each.register_forward_hook(hook) for each in network.modules() if isinstance(each, kinds)]
    try:
        with torch.no_grad():
            outputs = network(torch.empty(tuple(shape), device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return convolutions, len(convolutions), sum(output.numel() for output in outputs)


def _work(module: Any, data: torch.Tensor, output: torch.Tensor) -> tuple[str, float]:
    """A convolution's kind, and the multiply-accumulates that it is as slow as."""
    weight = module.weight
    transposed = isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d)
    # Each place of the smaller of the two maps meets every weight once.
    places = math.prod(data.shape[2:]) if transposed else math.prod(output.shape[2:])
    macs = data.shape[0] * places * weight.numel()
    if module.groups > 1:
        return "depthwise", float(macs)
    width = math.sqrt(min(module.in_channels, FULL_WIDTH) * min(module.out_channels, FULL_WIDTH))
    slower = (FULL_WIDTH / width) ** (2 - WIDTH_EXPONENT)
    kind = "1x1" if weight[0, 0].numel() == 1 else f"{weight.ndim - 2}d"
    return kind, float(macs * slower)
