"""Convolutions that stay right in bf16 on a CPU, and fast at the bottom of small patches and alone.

The library behind torch 2.15 (oneDNN 3.13.3) computes a wrong kernel gradient in bf16, uninitialised
memory at times, in two cases, both met at the bottom of small patches: a 3D convolution of fewer slices
than its kernel has (2 slices, 3x3x3), and a strided convolution of a map one voxel wide. With AMX (torch
2.14.1), the result of a strided convolution onto a map one voxel wide is wrong as well, NaN at times. There
the layer works in float32; such maps are tiny, so that costs nothing.

Onto a map of very few voxels, the library is several times slower than one matrix product over the windows
of that map, whose gradients are right as well. On one core with AMX, 56x40 voxels: a step of resnet34_mlp
with 8 samples 235 -> 174 ms, of unetplusplus 310 -> 256, of resnet50_unet 334 -> 298; networks without such
maps stay as they are. Logits differ by 0.4 % or less, a tenth of what bf16 differs from float32.

In float32, torch leaves a 3D convolution of a single small sample to a kernel of its own that unfolds it,
and takes oneDNN from two samples on (``use_mkldnn`` in aten/src/ATen/native/Convolution.cpp, torch 2.14). One
tile of 32x40x32 took ten times as long as one of two there (8 features, one core with AVX2). Predictions go
tile by tile, so that they call oneDNN by its name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.architectures._kernel_gradient import convolve, has_fast_way

# Voxels of a map, by axes, up to which the product was faster, forwards and backwards (512 channels, 2 to 29
# samples; 320 channels in 3D). Two voxels more along each axis, and it was not.
FEW = {2: 4, 3: 8}
# Channels times slices times rows of a single sample up to which torch does not take oneDNN.
MOST_UNFOLDED = 20480


def is_misjudged(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether a convolution of a map of `size`, or its kernel gradient, would be wrong in bf16 on a CPU."""
    shallow = len(size) == 3 and size[0] < kernel[0]
    # Padded by half a kernel, as all are, it leads onto a map one voxel wide.
    narrow = size[-1] <= stride[-1] and stride[-1] > 1
    return shallow or narrow


def is_bf16_on_cpu(x: Tensor) -> bool:
    """Whether a convolution of this tensor works in bf16 on a CPU, by its own dtype or by autocast."""
    if x.device.type != "cpu":
        return False
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.dtype == torch.bfloat16


class _SafeConvolution:
    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self, nn.Conv2d | nn.Conv3d)
        if is_bf16_on_cpu(x):
            if _has_few_windows(x, self):
                return _over_windows(x, self)
            if is_misjudged(x.shape[2:], self.kernel_size, self.stride):
                return _in_float32(x, self)
        if _is_left_to_unfolding(x, self):
            return _by_onednn(x, self)
        if has_fast_way(x, self):
            return convolve(x, self)
        result: Tensor = super().forward(x)  # type: ignore[misc]
        return result


class Conv2d(_SafeConvolution, nn.Conv2d):
    """torch's layer."""


class Conv3d(_SafeConvolution, nn.Conv3d):
    """torch's layer."""


def _is_left_to_unfolding(x: Tensor, layer: nn.Conv2d | nn.Conv3d) -> bool:
    """Whether torch would unfold a 3D convolution of a single sample, without a gradient, in float32.

    Not where the network is being written for another program: a question for the batch would fix it there.
    """
    if torch.compiler.is_compiling():
        return False
    single = x.ndim == 5 and len(x) == 1 and math.prod(x.shape[:4]) <= MOST_UNFOLDED
    plain = layer.groups == 1 and not isinstance(layer.padding, str)
    if not single or not plain or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    floats = x.dtype == layer.weight.dtype == torch.float32
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return floats and x.device.type == "cpu" and has_onednn


def _by_onednn(x: Tensor, layer: nn.Conv2d | nn.Conv3d) -> Tensor:
    result: Tensor = torch.mkldnn_convolution(
        x, layer.weight, layer.bias, _padding(layer), layer.stride, layer.dilation, layer.groups
    )
    return result


def _in_float32(x: Tensor, layer: nn.Conv2d | nn.Conv3d) -> Tensor:
    convolve = functional.conv2d if x.ndim == 4 else functional.conv3d
    with torch.autocast("cpu", enabled=False):
        bias = None if layer.bias is None else layer.bias.float()
        result: Tensor = convolve(
            x.float(),
            layer.weight.float(),
            bias,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
        )
    return result.to(torch.bfloat16)


def _has_few_windows(x: Tensor, layer: nn.Conv2d | nn.Conv3d) -> bool:
    plain = layer.groups == 1 and not isinstance(layer.padding, str) and set(layer.dilation) == {1}
    if not plain or math.prod(layer.kernel_size) == 1:
        return False
    size = zip(x.shape[2:], layer.kernel_size, layer.stride, _padding(layer), strict=True)
    windows = math.prod((n + 2 * p - k) // s + 1 for n, k, s, p in size)
    return 0 < windows <= FEW[x.ndim - 2]


def _padding(layer: nn.Conv2d | nn.Conv3d) -> list[int]:
    """By axis; not for padding in words."""
    return [int(n) for n in layer.padding]


def _over_windows(x: Tensor, layer: nn.Conv2d | nn.Conv3d) -> Tensor:
    """One product of all windows with the kernel, channels innermost, as channels-last has them."""
    axes = x.ndim - 2
    padding = [side for p in reversed(_padding(layer)) for side in (p, p)]
    windows = functional.pad(x, padding)
    for axis, (kernel, stride) in enumerate(zip(layer.kernel_size, layer.stride, strict=True)):
        windows = windows.unfold(2 + axis, kernel, stride)
    size = windows.shape[2 : 2 + axes]
    order = (0, *range(2, 2 + axes), *range(2 + axes, 2 + 2 * axes), 1)
    rows = windows.permute(order).flatten(1 + axes).flatten(0, axes)
    matrix = layer.weight.permute(0, *range(2, 2 + axes), 1).flatten(1)
    products = functional.linear(rows, matrix, layer.bias)
    return products.view(len(x), *size, -1).movedim(-1, 1)
