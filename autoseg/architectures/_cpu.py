"""Layers that compute what torch's compute, faster on a CPU in channels-last memory.

Measured on one core (AVX-512 bf16, torch 2.15), forward and backward: instance normalisation of
2x32x40x56x40 in bf16 takes 21 ms in torch and 7 ms here, because torch folds the batch into the channels
and so leaves channels-last; a transposed convolution 64 -> 32 onto the same size takes 29 ms in torch and
10 ms here as one matrix product. On other devices, in other layouts and in inference torch's own kernels
run. Parameters and state dicts are torch's.
"""

from __future__ import annotations

from math import prod

import torch
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from torch import Tensor, nn
from torch.nn import functional

from autoseg.architectures._cases import is_channels_last, normalise_each
from autoseg.architectures._convolution import Conv2d, Conv3d
from autoseg.architectures._decoder import Decoder
from autoseg.architectures._depthwise import DepthwiseConv2d, DepthwiseConv3d, stuff
from autoseg.system.process_memory import SMALLER, USUAL


def normalise_cases(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Instance normalisation of (b, c, *s); a channel with a single voxel becomes its bias."""
    if x.device.type == "cpu" and is_channels_last(x) and not torch.compiler.is_compiling():
        return normalise_each(x, weight, bias, eps)
    return torch.instance_norm(x, weight, bias, None, None, True, 0.0, eps, torch.backends.cudnn.enabled)


class _FastInstanceNorm:
    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self, nn.InstanceNorm2d | nn.InstanceNorm3d)
        return normalise_cases(x, self.weight, self.bias, self.eps)


class InstanceNorm2d(_FastInstanceNorm, nn.InstanceNorm2d):
    """torch's layer without running statistics."""


class InstanceNorm3d(_FastInstanceNorm, nn.InstanceNorm3d):
    """torch's layer without running statistics."""


class _FastTransposed:
    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert isinstance(self, nn.ConvTranspose2d | nn.ConvTranspose3d)
        if output_size is None and _is_bf16_training(x):
            if self.kernel_size == self.stride:
                return _as_matrix_product(x, self.weight, self.bias, self.stride)
            if all(k == 1 for k in self.kernel_size):
                return _on_a_lattice(x, self.weight, self.bias, self.stride)
        result: Tensor = super().forward(x, output_size)  # type: ignore[misc]
        return result


def _is_bf16_training(x: Tensor) -> bool:
    if x.device.type != "cpu" or not is_channels_last(x):
        return False
    reduced = x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
    return reduced and torch.is_grad_enabled() and x.requires_grad


class TransposedConv2d(_FastTransposed, nn.ConvTranspose2d):
    """torch's layer without padding; the kernel equal to the stride, or 1."""


class TransposedConv3d(_FastTransposed, nn.ConvTranspose3d):
    """torch's layer without padding; the kernel equal to the stride, or 1."""


def _as_matrix_product(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...]) -> Tensor:
    """A transposed convolution whose windows do not overlap: one product, then a permutation."""
    batch, _, *size = x.shape
    axes = len(size)
    matrix = weight.permute(*range(2, 2 + axes), 1, 0).flatten(0, axes)
    shift = None if bias is None else bias.repeat(prod(stride))
    y = functional.linear(x.movedim(1, -1), matrix, shift).view(batch, *size, *stride, -1)
    pairs = [axis for k in range(axes) for axis in (1 + k, 1 + axes + k)]
    y = y.permute(0, *pairs, 1 + 2 * axes)
    return y.reshape(batch, *(n * s for n, s in zip(size, stride, strict=True)), -1).movedim(-1, 1)


def _on_a_lattice(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...]) -> Tensor:
    """A transposed 1x1 convolution: its products lie `stride` apart, the bias everywhere."""
    products = functional.linear(x.movedim(1, -1), weight.flatten(1).T).movedim(-1, 1)
    size = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
    spread = stuff(products, stride, size)
    if bias is None:
        return spread
    return spread + bias.to(spread.dtype).view(-1, *(1,) * len(size))


class Dropout(nn.Dropout):
    """torch's layer; on a CPU a random number of 64 bits decides over eight activations.

    That is exact for rates that are multiples of 1/256, and five times faster.
    """

    def forward(self, x: Tensor) -> Tensor:
        threshold = self.p * 256
        usual = not self.training or x.device.type != "cpu" or torch.compiler.is_compiling()
        if usual or threshold % 1 or not _is_dense(x):
            return super().forward(x)
        numbers = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = numbers.view(torch.uint8)[: x.numel()] >= int(threshold)
        factors = kept.to(x.dtype).mul_(1 / (1 - self.p))
        return x * factors.as_strided(x.shape, x.stride())


def _is_dense(x: Tensor) -> bool:
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim, torch.contiguous_format)
    return x.is_contiguous() or x.is_contiguous(memory_format=last)


_NORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.InstanceNorm2d: InstanceNorm2d,
    nn.InstanceNorm3d: InstanceNorm3d,
}
_TRANSPOSED: dict[type[nn.Module], type[nn.Module]] = {
    nn.ConvTranspose2d: TransposedConv2d,
    nn.ConvTranspose3d: TransposedConv3d,
}
_CONVOLUTIONS: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: Conv2d, nn.Conv3d: Conv3d}
_DEPTHWISE: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: DepthwiseConv2d,
    nn.Conv3d: DepthwiseConv3d,
}

_DECODERS: dict[type[nn.Module], type[nn.Module]] = {UNetDecoder: Decoder}


def channels_last(dimensions: int) -> torch.memory_format:
    """The layout in which a CPU computes fastest, for 2D or 3D."""
    return torch.channels_last if dimensions == 2 else torch.channels_last_3d


def prepare_for_cpu(network: nn.Module) -> int:
    """Give the layers of any network the forms that are fast, and right in bf16, on a CPU; in place.

    Instance normalisation, transposed and depthwise convolutions take the faster forms of this package
    where they are equal; convolutions whose bf16 gradients are wrong in torch 2.15 work in float32. Use it
    with channels-last memory.

    Returns:
        The number of layers changed. Their parameters, names and results stay what they were.
    """
    changed = 0
    for module in network.modules():
        better = _better(module)
        if better is not None:
            module.__class__ = better
            changed += 1
    return changed


def plain_layers(network: nn.Module) -> nn.Module:
    """Undo `prepare_for_cpu`, in place: torch's own layers, which other programs know."""
    kinds = (_NORMS, _TRANSPOSED, _CONVOLUTIONS, _DEPTHWISE, _DECODERS)
    usual = {better: kind for table in kinds for kind, better in table.items()}
    for module in network.modules():
        module.__class__ = usual.get(type(module), type(module))
    return network


def system_blocks(network: nn.Module) -> int:
    """Bytes from which on blocks come from the system; see `autoseg.system.process_memory`."""
    recomputes = any(getattr(module, "checkpointing", False) for module in network.modules())
    return SMALLER if recomputes else USUAL


def _better(module: nn.Module) -> type[nn.Module] | None:
    kind = type(module)
    if kind in _DECODERS:
        return _DECODERS[kind]
    if isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d):
        return None if module.track_running_stats else _NORMS.get(kind)
    if isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d):
        return _TRANSPOSED.get(kind) if _is_plain_transposed(module) else None
    if isinstance(module, nn.Conv2d | nn.Conv3d) and module.padding_mode == "zeros":
        return (_DEPTHWISE if _is_centred_depthwise(module) else _CONVOLUTIONS).get(kind)
    return None


def _is_plain_transposed(module: nn.ConvTranspose2d | nn.ConvTranspose3d) -> bool:
    plain = module.groups == 1 and not any(module.padding) and not any(module.output_padding)
    apart = module.kernel_size in (module.stride, (1,) * len(module.stride))
    return plain and apart and max(module.dilation) == 1


def _is_centred_depthwise(module: nn.Conv2d | nn.Conv3d) -> bool:
    depthwise = 1 < module.groups == module.in_channels == module.out_channels
    centred = module.padding == tuple(k // 2 for k in module.kernel_size)
    return depthwise and centred and all(k % 2 for k in module.kernel_size) and max(module.dilation) == 1
