"""Convolutions that stay right in bf16 on a CPU.

The library behind torch 2.15 (oneDNN 3.13.3) computes a wrong kernel gradient in bf16, uninitialised
memory at times, in two cases, both met at the bottom of small patches: a 3D convolution of fewer slices
than its kernel has (2 slices, 3x3x3), and a strided convolution of a map one voxel wide. There the layer
works in float32; such maps are tiny, so that costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def is_misjudged(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether the kernel gradient of a convolution of a map of `size` would be wrong in bf16 on a CPU."""
    shallow = len(size) == 3 and size[0] < kernel[0]
    narrow = size[-1] == 1 and stride[-1] > 1
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
        if is_bf16_on_cpu(x) and is_misjudged(x.shape[2:], self.kernel_size, self.stride):
            return _in_float32(x, self)
        result: Tensor = super().forward(x)  # type: ignore[misc]
        return result


class Conv2d(_SafeConvolution, nn.Conv2d):
    """torch's layer."""


class Conv3d(_SafeConvolution, nn.Conv3d):
    """torch's layer."""


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
