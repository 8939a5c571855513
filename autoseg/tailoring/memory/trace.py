"""How many bytes a training step of a network allocates, found without allocating or computing any of them.

The step (forward, loss, backward) runs on fake tensors: shapes, dtypes and devices without data. Every
operation passes through a counter that adds the storages it makes and takes them off when they are let go,
so that what is retained for the backward pass, gradients and short-lived results are all in the peak, at the
real patch size, under autocast and with the layers of the device. On a CPU the count equals that of the
same step on real tensors, byte for byte; memory that a library takes inside an operation is not in it.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from autoseg.architectures import channels_last, prepare_for_cpu, system_blocks
from autoseg.system.process_memory import USUAL


@dataclass(frozen=True)
class Traced:
    """Memory of one training step, bytes.

    Attributes:
        parameters: weights, with the buffers of normalisation layers.
        kept: what the backward pass needs, at the end of the forward pass.
        step_bytes: largest sum of everything alive during the step, but for weights and optimiser; the
            gradients of the weights are in it as far as they are there by then.
        gradients: gradients of all weights.
        heap_bytes: part of `step_bytes` in blocks of the heap, see `autoseg.system.process_memory`.
        largest_bytes: largest block in `step_bytes`.
    """

    parameters: int
    kept: int
    step_bytes: int
    gradients: int
    heap_bytes: int
    largest_bytes: int

    def peak(self, moments: int) -> int:
        """The peak of a step that is not the first: weights, optimiser, activations, gradients.

        Args:
            moments: values that the optimiser keeps for each weight.
        """
        return self.parameters + moments * self.gradients + max(self.step_bytes, self.gradients)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up storages that operations make, until they are let go."""

    def __init__(self, heap_below: int = USUAL) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._heap_below = heap_below
        self.now = self.peak = 0
        self.heap_at_peak = self.largest_at_peak = 0
        self._heap = 0
        self._sizes: Counter[int] = Counter()
        self._alive: set[int] = set()

    def _freed(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self._add(size, -1)

    def _add(self, size: int, blocks: int) -> None:
        self.now += blocks * size
        if size < self._heap_below:
            self._heap += blocks * size
        self._sizes[size] += blocks

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        if self.now > self.peak:
            self.peak, self.heap_at_peak = self.now, self._heap
            self.largest_at_peak = max(size for size, blocks in self._sizes.items() if blocks)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._alive:
            self._alive.add(key)
            self._add(storage.nbytes(), 1)
            weakref.finalize(storage, self._freed, key, storage.nbytes())

    def ignore(self, tensors: Iterator[Tensor]) -> None:
        """Leave out what is there before the step."""
        self._alive |= {tensor.untyped_storage()._cdata for tensor in tensors}


class _AutocastOfGpu(TorchFunctionMode):  # type: ignore[no-untyped-call]
    """What a GPU's autocast computes in another type than a CPU's, of what networks are made of.

    The two lists are torch's own (aten/src/ATen/autocast_mode.h): a GPU interpolates and normalises groups in
    float32, a CPU pools volumes in it.
    """

    IN_FLOAT32 = (F.interpolate, F.group_norm, F.layer_norm)
    AS_IT_COMES = (F.max_pool3d, F.avg_pool3d, F.adaptive_avg_pool3d)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self.IN_FLOAT32 and torch.is_autocast_enabled("cpu"):
            return func(args[0].float(), *args[1:], **kwargs)
        if func in self.AS_IT_COMES:
            with torch.autocast("cpu", enabled=False):
                return func(*args, **kwargs)
        return func(*args, **kwargs)


def trace_network(
    build: Callable[[], nn.Module],
    shape: Sequence[int],
    classes: int,
    device: torch.device,
    dtype: torch.dtype | None,
) -> Traced:
    """Count the memory of a training step of a network.

    Args:
        build: makes the network.
        shape: shape of a batch: samples, channels, spatial axes.
        classes: logits per voxel.
        device: where it will train; need not be there. Of a GPU the fakes are CPU tensors in the layout
            that a GPU takes: what an operation keeps does not depend on where it runs.
        dtype: data type of autocast; None: float32.
    """
    on_cpu = device.type == "cpu"
    with _without_swaps(), FakeTensorMode():
        network = build().train()
        if on_cpu:
            prepare_for_cpu(network)
            _to_channels_last(network, len(shape))
        layout = channels_last(len(shape) - 2) if on_cpu else torch.contiguous_format
        data = torch.empty(tuple(shape)).to(memory_format=layout)
        counter = _Counter(system_blocks(network))
        # Their own tensors must stay alive while they are ignored: a freed address is used again.
        there = [data, *network.parameters(), *network.buffers()]
        counter.ignore(iter(there))
        with counter, contextlib.nullcontext() if on_cpu else _AutocastOfGpu():
            kept = _step(network, data, classes, dtype, counter)
        weights = sum(p.nbytes for p in network.parameters())
        return Traced(
            parameters=weights + sum(b.nbytes for b in network.buffers()),
            kept=kept,
            step_bytes=counter.peak + data.nbytes,
            gradients=sum(p.nbytes for p in network.parameters() if p.requires_grad),
            heap_bytes=counter.heap_at_peak,
            largest_bytes=counter.largest_at_peak,
        )


def _step(
    network: nn.Module, data: Tensor, classes: int, dtype: torch.dtype | None, counter: _Counter
) -> int:
    """Forward, loss, backward; gives what was alive after the forward pass."""
    # The CPU's autocast knows bfloat16 alone, which is as wide as float16.
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is not None):
        outputs = network(data)
    outputs = [out.float() for out in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]
    kept = counter.now
    loss = torch.stack([_loss(out, classes) for out in outputs]).sum()
    del outputs
    loss.backward()  # type: ignore[no-untyped-call]
    return kept


def _loss(logits: Tensor, classes: int) -> Tensor:
    """Soft Dice and cross-entropy, as nnU-Net takes them: what a loss needs beside the logits."""
    target = torch.zeros((len(logits), 1, *logits.shape[2:]), device=logits.device)
    probabilities = logits.softmax(1)
    with torch.no_grad():
        wanted = torch.zeros(logits.shape, device=logits.device, dtype=torch.bool)
        wanted.scatter_(1, target.long(), 1)
    axes = tuple(range(2, logits.ndim))
    overlap, total = (probabilities * wanted).sum(axes), probabilities.sum(axes) + wanted.sum(axes)
    entropy = nn.functional.cross_entropy(logits, target[:, 0].long())
    return entropy - (2 * overlap / total.clip(1e-8)).mean()


def _to_channels_last(network: nn.Module, axes: int) -> None:
    for parameter in network.parameters():
        if parameter.ndim == axes:
            parameter.data = parameter.data.contiguous(memory_format=channels_last(axes - 2))


@contextlib.contextmanager
def _without_swaps() -> Iterator[None]:
    """Fake parameters cannot be swapped in place, which is how torch moves a module that has them."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(False)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
