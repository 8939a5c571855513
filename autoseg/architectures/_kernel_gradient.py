"""The gradient of a convolution's kernel on a CPU with AVX2 alone, where the library behind torch is slow.

In float32 and channels-last memory, oneDNN 3.12 (torch 2.14) computes the forward pass and the gradient of
the input with AVX2 at some 40 billion multiplications a second of one core, the gradient of the kernel at 7
to 30. Two ways are faster:

- 3D, up to 16 output channels: oneDNN unfolds the input and multiplies matrices that are too narrow. As one
  2D gradient for each slice of the kernel, over all slices of a case at once, it takes 0.8 down to 0.35 of
  the time (2 cases of 24x36x24 with 8 channels: 14 to 24 billion a second, of 8x128x128: 9 to 16). A step
  of nnunet with 8 channels on Hippocampus, 5 patches of 40x56x40: 1.34 to 1.06 s.
- 2D, large maps: oneDNN's kernel steps over all channels from pixel to pixel, out of the cache. Some rows at
  a time, copied to where pixels of one channel lie side by side, take down to 0.42 of the time (3 cases of
  160x224, 64 to 32 channels: 8 to 19 billion a second).

Small maps and other widths were no faster so, and stay as they are. Sums are taken in another order:
gradients differ by rounding. On processors with AVX-512 oneDNN has other kernels, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Output channels up to which slices were faster; below so many input channels, the kernels cannot fill their
# registers.
MOST_BY_SLICES, FEWEST = 16, 8
# Channels of input and output together, and bytes of one case's wider map, from which on rows were faster.
FEWEST_BY_ROWS, LARGE = 48, 2**19
# Bytes of the rows that are copied at a time: they stay in the cache.
ROWS_AT_ONCE = 2**22


def has_fast_way(x: Tensor, layer: nn.Conv2d | nn.Conv3d) -> bool:
    """Whether this layer's kernel gets its gradient faster by `convolve`, for this input.

    Not where the network is being written for another program, or no gradient is asked for.
    """
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and layer.weight.requires_grad):
        return False
    floats = x.dtype == layer.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if x.device.type != "cpu" or not floats or x.stride(1) != 1 or not _has_avx2_alone():
        return False
    return _is_centred(layer) and _pays(x, layer)


def convolve(x: Tensor, layer: nn.Conv2d | nn.Conv3d) -> Tensor:
    """The layer's result for x (b, c, *s), whose backward pass takes the fast way."""
    result: Tensor = _Convolution.apply(x, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return result


@cache
def _has_avx2_alone() -> bool:
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and torch.backends.cpu.get_cpu_capability() == "AVX2"


def _is_centred(layer: nn.Conv2d | nn.Conv3d) -> bool:
    """Whether it keeps the size of a map, with a kernel of 3 in the plane and an odd one across."""
    plain = layer.groups == 1 and {*layer.stride, *layer.dilation} == {1} and layer.padding_mode == "zeros"
    centred = layer.padding == tuple(k // 2 for k in layer.kernel_size) and layer.kernel_size[0] % 2 == 1
    return plain and centred and layer.kernel_size[-2:] == (3, 3)


def _pays(x: Tensor, layer: nn.Conv2d | nn.Conv3d) -> bool:
    inputs, outputs = layer.in_channels, layer.out_channels
    if x.ndim == 5:
        return inputs >= FEWEST and FEWEST <= outputs <= MOST_BY_SLICES
    largest = 4 * max(inputs, outputs) * x.shape[2] * x.shape[3]
    return inputs >= FEWEST and inputs + outputs >= FEWEST_BY_ROWS and largest >= LARGE


class _Convolution(torch.autograd.Function):
    """A convolution of stride 1 that keeps the size of a map."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        convolve = functional.conv2d if x.ndim == 4 else functional.conv3d
        return convolve(x, weight, bias, padding=[k // 2 for k in weight.shape[2:]])

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        gradient = gradient.contiguous(memory_format=last)
        of_input = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_input = _gradient(gradient, x, weight, (True, False), padding=True)
        if ctx.needs_input_grad[1]:
            of_kernel = _by_rows(gradient, x, weight) if x.ndim == 4 else _by_slices(gradient, x, weight)
        of_bias = gradient.sum((0, *range(2, x.ndim))) if ctx.has_bias and ctx.needs_input_grad[2] else None
        return of_input, of_kernel, of_bias


def _gradient(gradient: Tensor, x: Tensor, weight: Tensor, of: tuple[bool, bool], padding: bool) -> Tensor:
    """Torch's gradient of the input, or of the kernel; padded along the last axis in any case."""
    axes = x.ndim - 2
    halves = [k // 2 for k in weight.shape[2:]]
    halves = halves if padding else [0, *halves[1:]]
    one = [1] * axes
    found = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, one, halves, one, False, [0] * axes, 1, [*of, False]
    )
    result: Tensor = found[0] if of[0] else found[1]
    return result


def _by_slices(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Of a 3D kernel: each of its slices as the gradient of a 2D one, over the slices of a case."""
    across, depth = weight.shape[2], x.shape[2]
    found = torch.zeros_like(weight)
    for k in range(across):
        shift = k - across // 2
        first, last = max(0, shift), min(depth, depth + shift)
        if first >= last:
            continue
        # (slices, channels, rows, columns), as they lie in memory.
        pairs = [
            (g.transpose(0, 1)[first - shift : last - shift], case.transpose(0, 1)[first:last])
            for g, case in zip(gradient, x, strict=True)
        ]
        kernel = weight[:, :, k].contiguous(memory_format=torch.channels_last)
        for g, slices in pairs:
            found[:, :, k] += _gradient(g, slices, kernel, (False, True), padding=True)
    return found


def _by_rows(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Of a 2D kernel, from some rows of each case at a time."""
    kernel = weight.contiguous()
    found = torch.zeros_like(kernel)
    for g, rows in _pieces(gradient, x):
        found += _gradient(g, rows, kernel, (False, True), padding=False)
    return found


def _pieces(gradient: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the gradient, and of the input one more on each side: zeros beyond its border."""
    channels, height, width = x.shape[1:]
    step = max(8, ROWS_AT_ONCE // (4 * width * max(channels, gradient.shape[1])))
    for case in range(len(x)):
        for first in range(0, height, step):
            last = min(first + step, height)
            above, below = max(0, first - 1), min(height, last + 1)
            rows = x.new_empty(1, channels, last - first + 2, width)
            rows[:, :, 0] = 0
            rows[:, :, -1] = 0
            rows[:, :, above - first + 1 : below - first + 1] = x[case, :, above:below]
            yield gradient[case : case + 1, :, first:last].contiguous(), rows
