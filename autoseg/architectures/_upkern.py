"""UpKern: weights of a network with large depthwise kernels from one with small ones.

Roy et al. 2023 (arXiv 2303.09975) resize the kernels trilinearly, which starts the large network near the
small one and not at it; padding them with zeros starts it exactly there.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.errors import PlanError


def upkern(source: Mapping[str, Tensor], network: nn.Module, how: str = "trilinear") -> dict[str, Tensor]:
    """Weights for a network with larger depthwise kernels, from one trained with smaller ones.

    Args:
        source: state dict of the same network with smaller kernels.
        network: the network to initialise; it is loaded in place.
        how: "trilinear" resizes the kernels (published; bilinear in 2D), which changes the function;
            "zero" pads them with zeros, which keeps it.

    Returns:
        The state dict that was loaded.

    Raises:
        PlanError: if the two networks differ in more than the size of their kernels.
    """
    if how not in ("trilinear", "zero"):
        raise PlanError(f"upkern: how is {how!r}; expected 'trilinear' or 'zero'.")
    target = network.state_dict()
    if set(source) != set(target):
        odd = sorted(set(source) ^ set(target))[0]
        raise PlanError(f"upkern: {odd} is in one of the two networks only. Use the same variant and plan.")
    grown = {name: grow_kernel(name, value, target[name].shape, how) for name, value in source.items()}
    network.load_state_dict(grown)
    return grown


def grow_kernel(name: str, value: Tensor, shape: torch.Size, how: str) -> Tensor:
    """One tensor for a network with larger kernels.

    Args:
        name: the tensor's name, for the message.
        value: (o, i, *kernel).
        shape: the same with a larger kernel; an equal shape returns the tensor itself.
        how: "trilinear" or "zero", see `upkern`.

    Raises:
        PlanError: if more than the kernel differs, or it would have to shrink.
    """
    if value.shape == shape:
        return value
    size = shape[2:]
    if value.shape[:2] != shape[:2] or any(n < m for n, m in zip(size, value.shape[2:], strict=True)):
        raise PlanError(
            f"upkern: {name} has shape {tuple(value.shape)} and the network needs {tuple(shape)}. "
            "Only larger kernels can be filled."
        )
    if how == "trilinear":
        return functional.interpolate(value, size=size, mode={4: "bilinear", 5: "trilinear"}[value.ndim])
    margins = [(n - m) // 2 for n, m in zip(size, value.shape[2:], strict=True)]
    return functional.pad(value, [side for n in reversed(margins) for side in (n, n)])
