"""What the tests of all networks measure: sizes, work, receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from autoseg.architectures import Topology, build_network

NORMS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.InstanceNorm3d)
POINTWISE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.Dropout)


def topology(
    patch: Sequence[int], stages: int = 6, strides: Sequence[Sequence[int]] | None = None
) -> Topology:
    """A plan that halves every axis in each of its further stages, or one of given strides."""
    axes = len(patch)
    rows = [tuple(row) for row in strides or [(1,) * axes, *[(2,) * axes] * (stages - 1)]]
    # As nnU-Net: an axis that is not pooled at first has kernels of 1 until it is.
    pooled = [any(row[axis] > 1 for row in rows[1:2]) for axis in range(axes)]
    kernels = []
    for row in rows:
        pooled = [before or step > 1 for before, step in zip(pooled, row, strict=True)]
        kernels.append(tuple(3 if done else 1 for done in pooled))
    return Topology(tuple(patch), (1.0,) * axes, tuple(rows), tuple(kernels))


def build(
    name: str, channels: int, classes: int, patch: Sequence[int], stages: int = 6, **options: Any
) -> Any:
    """A network on the isotropic plan of a patch."""
    return build_network(name, channels, classes, topology(patch, stages), **options)


class _Numberless(TorchFunctionMode):
    """Skip the drawing of random numbers, which torch plays through in Python on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if args and getattr(func, "__name__", "") in ("normal_", "uniform_"):
            return args[0]
        return func(*args, **(kwargs or {}))


def on_meta(name: str, channels: int, classes: int, patch: Sequence[int], **options: Any) -> Any:
    """The same without its numbers."""
    with torch.device("meta"), _Numberless():
        return build(name, channels, classes, patch, **options)


def numberless(name: str, channels: int, classes: int, plan: Topology, **options: Any) -> Any:
    """A network without its numbers, on a plan."""
    with torch.device("meta"), _Numberless():
        return build_network(name, channels, classes, plan, **options)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def children(module: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    """All modules within `module` that are of one of the kinds."""
    return [child for child in module.modules() if isinstance(child, kinds)]


def giga_macs(network: nn.Module, channels: int, patch: Sequence[int]) -> tuple[float, float]:
    """Multiply-accumulates of one patch in 1e9: of convolutions and products, and of normalisations.

    A normalisation counts twice its elements, as the counters behind published tables count it.
    """
    elements = 0

    def count(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
        nonlocal elements
        elements += inputs[0].numel()

    hooks = [norm.register_forward_hook(count) for norm in children(network, *NORMS)]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, channels, *patch, device="meta"))
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() / 2e9, 2 * elements / 1e9


class _Through(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def linearise(network: nn.Module) -> nn.Module:
    """Make every path of a network count: positive weights, no activations, mean instead of max-pooling."""
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, (*NORMS, *POINTWISE)):
                setattr(parent, name, _Through())
            elif isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
            elif isinstance(child, nn.MaxPool3d):
                setattr(parent, name, nn.AvgPool3d(child.kernel_size, child.stride, child.padding))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1 / max(parameter[0].numel(), 1))
    return network.double().eval()


def receptive_field(network: nn.Module, patch: Sequence[int]) -> int:
    """Voxels along the last axis that a central output voxel sees, where it sees fewest.

    Positions differ by up to the total stride; the figure that formulas give is the smallest.
    """
    linearise(network)
    x = torch.zeros(1, 1, *patch, dtype=torch.float64, requires_grad=True)
    line = network(x)[(0, 0, *(n // 2 for n in patch[:-1]))]
    extents = []
    for position in range(patch[-1] // 2, patch[-1] // 2 + 32):
        (gradient,) = torch.autograd.grad(line[position], x, retain_graph=True)
        seen = (gradient != 0).flatten(0, -2).any(0).nonzero()
        assert seen.min() > 0 and seen.max() < patch[-1] - 1, "the patch is too small to tell"
        extents.append(int(seen.max() - seen.min()) + 1)
    return min(extents)


def receptive_field_of_encoder(network: nn.Module, patch: Sequence[int]) -> int:
    """Voxels along the last axis that a central voxel of the encoder's coarsest map sees."""
    encoder: Any = linearise(network).get_submodule("encoder")
    x = torch.zeros(1, 1, *patch, dtype=torch.float64, requires_grad=True)
    coarsest = encoder(x)[-1]
    (gradient,) = torch.autograd.grad(coarsest[(0, 0, *(n // 2 for n in coarsest.shape[2:]))], x)
    seen = (gradient != 0).flatten(0, -2).any(0).nonzero()
    assert seen.min() > 0 and seen.max() < patch[-1] - 1, "the patch is too small to tell"
    return int(seen.max() - seen.min()) + 1
