"""The layers whose speed stands for all networks, and what one step of each takes.

A block is a convolution with its normalisation and activation, in the forms that trainings use, since no
network has the one without the others.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from autoseg.architectures import channels_last, prepare_for_cpu

# A training step multiplies three times as often as a forward pass.
PASSES_PER_STEP = 3
ROUNDS = 3
# Rounds that are not counted, and that are, where they are short; and seconds after which they are enough.
UNSETTLED, STEADY = 4, 5
SETTLING_S, STEADY_S = 0.5, 0.3


@dataclass(frozen=True)
class Layer:
    """A kind of layer at a size that fills the vector units for some tens of milliseconds.

    Attributes:
        axes: 2 or 3.
        channels: features in and out.
        kernel: voxels along each axis.
        groups: groups of channels that do not see each other.
        shape: samples and spatial axes.
    """

    axes: int
    channels: int
    kernel: int
    groups: int
    shape: tuple[int, ...]

    def block(self) -> nn.Module:
        """Convolution, instance normalisation, activation."""
        convolution, norm = (
            (nn.Conv2d, nn.InstanceNorm2d) if self.axes == 2 else (nn.Conv3d, nn.InstanceNorm3d)
        )
        return nn.Sequential(
            convolution(
                self.channels, self.channels, self.kernel, padding=self.kernel // 2, groups=self.groups
            ),
            norm(self.channels, affine=True),
            nn.LeakyReLU(inplace=True),
        )

    @property
    def batch(self) -> tuple[int, ...]:
        """Shape of the input."""
        return (self.shape[0], self.channels, *self.shape[1:])

    @property
    def macs(self) -> float:
        """Multiply-accumulates of a forward pass."""
        weights = self.channels * self.channels // self.groups * self.kernel**self.axes
        return float(math.prod(self.shape) * weights)


LAYERS = {
    "3d": Layer(3, 32, 3, 1, (2, 16, 24, 24)),
    "2d": Layer(2, 32, 3, 1, (4, 64, 64)),
    "depthwise": Layer(3, 32, 5, 32, (2, 16, 24, 24)),
    "1x1": Layer(3, 64, 1, 1, (2, 16, 24, 24)),
}
TINY = Layer(3, 4, 3, 1, (1, 2, 2, 2))


def block_seconds(
    layer: Layer, device: torch.device, dtype: torch.dtype | None, last: bool, training: bool = True
) -> float:
    """Seconds of one pass of a block: forward, and backward where it is trained.

    Args:
        layer: what is measured.
        device: where.
        dtype: data type of autocast; None: float32.
        last: whether channels lie last in memory.
        training: whether gradients are computed.
    """
    layout = channels_last(layer.axes) if last else torch.contiguous_format
    block = layer.block()
    if device.type == "cpu":
        prepare_for_cpu(block)
    block = block.to(device).to(memory_format=layout)
    data = torch.randn(layer.batch, device=device).to(memory_format=layout).requires_grad_(training)

    def once() -> None:
        with (
            torch.set_grad_enabled(training),
            torch.autocast(device.type, dtype=dtype, enabled=dtype is not None),
        ):
            output = block(data)
        if training:
            output.float().mean().backward()

    return seconds_of(once, device)


def seconds_of(work: Callable[[], object], device: torch.device, rounds: int = ROUNDS) -> float:
    """The shortest of some rounds; on a processor, of one computing thread, in seconds that it really had.

    Threads that wait for each other spin, and so count what others have of the machine as work.
    """
    with one_thread(device):
        work()
        times = []
        for _ in range(rounds):
            began = now(device)
            work()
            times.append(now(device) - began)
    return max(min(times), 1e-9)


def steady_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of a round as they go on, of one computing thread: the median of some after the first ones.

    Steps of 0.09 s took 0.13 s the first four times in some processes, until caches and the allocator had
    settled; the shortest of all rounds is shorter than a training's mean.
    """
    with one_thread(device):
        _rounds(work, device, 1, UNSETTLED, SETTLING_S)
        times = _rounds(work, device, 2, STEADY, STEADY_S)
    return max(statistics.median(times), 1e-9)


def _rounds(
    work: Callable[[], object], device: torch.device, fewest: int, most: int, enough_s: float
) -> list[float]:
    """Seconds of each of some rounds, no more of them than are needed to pass a time."""
    times: list[float] = []
    while len(times) < fewest or (len(times) < most and sum(times) < enough_s):
        began = now(device)
        work()
        times.append(now(device) - began)
    return times


@contextlib.contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Compute with one thread, where a processor computes."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def now(device: torch.device) -> float:
    """A clock: on a processor, of the time that this thread had; on others, of the wall, when all is done."""
    if device.type == "cpu":
        return time.thread_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()
