"""Weights of one network made to fit another: other channels, classes, kernels or dimensions.

What has the same name and shape is taken as it is; what differs in a way that has a meaning is adapted; the
rest is left random, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from autoseg.architectures import parts_of
from autoseg.architectures._upkern import grow_kernel
from autoseg.errors import PlanError

Channels = Literal["auto", "sum", "cycle", "mean"]
Kernels = Literal["trilinear", "zero"]
Head = Literal["auto", "replace"]

_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Fitted:
    """What one of a network's tensors gets.

    Attributes:
        name: the parameter's name.
        value: its weights; None where it stays random.
        how: what was adapted, or the reason for staying random; empty where it is taken as it is.
    """

    name: str
    value: Tensor | None
    how: str = ""


def fit(
    network: nn.Module, tensors: Mapping[str, Tensor], channels: Channels, kernels: Kernels, head: Head
) -> list[Fitted]:
    """Find the weights of every parameter of a network; nothing is changed yet.

    Args:
        network: what is to be initialised.
        tensors: by name.
        channels: how a first layer is fitted to other input channels; see `other_channels`.
        kernels: how depthwise kernels grow: "trilinear" (UpKern, published) or "zero" (the same function).
        head: "auto" takes it over where its shape fits, "replace" leaves it random in any case.
    """
    heads = set(known_parts(network).get("head", ()))
    change = _channel_change(network, tensors)
    found = []
    for name, parameter in network.named_parameters():
        if name not in tensors:
            found.append(Fitted(name, None, "not in the file"))
        elif name in heads and head == "replace":
            found.append(Fitted(name, None, "the head is replaced"))
        elif tensors[name].shape == parameter.shape:
            found.append(Fitted(name, tensors[name]))
        elif name in heads and tensors[name].shape[0] != parameter.shape[0]:
            outputs = f"a head of {tensors[name].shape[0]} outputs in the file, {parameter.shape[0]} here"
            found.append(Fitted(name, None, outputs))
        else:
            layer = network.get_submodule(name.rpartition(".")[0])
            found.append(_adapt(name, tensors[name], parameter.shape, layer, change, channels, kernels))
    return _with_their_weights(found)


def _with_their_weights(found: list[Fitted]) -> list[Fitted]:
    """Leave biases random where the weights they belong to are."""
    random = {each.name for each in found if each.value is None}
    return [
        Fitted(each.name, None, "its weights are random")
        if f"{stem}.weight" in random and each.value is not None
        else each
        for each in found
        for stem in [each.name.removesuffix(".bias") if each.name.endswith(".bias") else ""]
    ]


def known_parts(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """The parts of a network, or nothing for one that does not name them."""
    try:
        return parts_of(network)
    except PlanError:
        return {}


def _other_shape(there: torch.Size, here: torch.Size) -> str:
    return f"shape {_times(there)} in the file, {_times(here)} here"


def _times(shape: torch.Size | tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _channel_change(network: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Input channels there and here, where the first convolution of the encoder differs in them only."""
    named = dict(network.named_parameters())
    for name in known_parts(network).get("encoder", tuple(named)):
        if named[name].ndim < 4:
            continue
        there, here = tensors.get(name), named[name]
        if there is None or there.ndim < 4 or there.shape[0] != here.shape[0]:
            return None
        old, new = int(there.shape[1]), int(here.shape[1])
        return (old, new) if old != new else None
    return None


def _adapt(
    name: str,
    value: Tensor,
    shape: torch.Size,
    layer: nn.Module,
    change: tuple[int, int] | None,
    channels: Channels,
    kernels: Kernels,
) -> Fitted:
    """One tensor of another shape, fitted in dimensions, channels and kernel as far as each is needed."""
    there, here = value.ndim, len(shape)
    if min(there, here) < 4:
        return Fitted(name, None, _other_shape(value.shape, shape))
    transposed, depthwise = isinstance(layer, _TRANSPOSED), getattr(layer, "groups", 1) > 1
    fitted, steps = value.float(), []
    if there != here:
        depth = shape[2] if here == 5 else 1
        fitted = (
            inflate(fitted, depth, transposed) if here == 5 else flatten(fitted, 2, transposed).squeeze(2)
        )
        steps.append(f"{there - 2}D to {here - 2}D, the same where the third axis is constant")
    if change == (fitted.shape[1], shape[1]) and not transposed:
        fitted = other_channels(fitted, change[1], channels)
        steps.append(f"{change[0]} input channels to {change[1]}, {_rule(channels, change[1])}")
    if fitted.shape[:2] == shape[:2] and fitted.shape != shape:
        steps.append(f"kernel {_times(fitted.shape[2:])} to {_times(shape[2:])}")
        for axis in (axis for axis in range(2, here) if shape[axis] == 1):
            fitted = flatten(fitted, axis, transposed)
        if _can_grow(fitted.shape, shape) and (depthwise or not transposed):
            # Only depthwise kernels are what UpKern is about; others go on computing the same within zeros.
            steps[-1] += f", {kernels}" if depthwise else ", zeros around it"
            fitted = grow_kernel(name, fitted, shape, kernels if depthwise else "zero")
    if fitted.shape == shape:
        return Fitted(name, fitted, "; ".join(steps))
    return Fitted(name, None, _other_shape(value.shape, shape))


def _can_grow(old: torch.Size, new: torch.Size) -> bool:
    """Whether a kernel is smaller than another and can lie in its centre."""
    return all(n >= m and (n - m) % 2 == 0 for m, n in zip(old[2:], new[2:], strict=True))


def inflate(value: Tensor, depth: int, transposed: bool = False) -> Tensor:
    """A 2D kernel as a 3D one that gives the same on an image that is constant along the new axis.

    Carreira and Zisserman 2017 (arXiv 1705.07750). Of a transposed convolution with kernels as large as its
    strides, each output voxel sees one tap of the new axis, so there the taps are not divided.

    Args:
        value: (o, i, y, x).
        depth: size of the kernel along the new axis.
        transposed: whether the kernel is one of a transposed convolution.

    Returns:
        (o, i, depth, y, x).
    """
    repeated = value.unsqueeze(2).repeat(1, 1, depth, 1, 1)
    return repeated if transposed else repeated / depth


def flatten(value: Tensor, axis: int, transposed: bool = False) -> Tensor:
    """A kernel of size 1 along an axis that gives the same on an image that is constant along it."""
    return value.mean(axis, keepdim=True) if transposed else value.sum(axis, keepdim=True)


def _rule(channels: Channels, new: int) -> str:
    if channels == "auto":
        channels = "sum" if new == 1 else "cycle"
    return {"sum": "summed", "cycle": "repeated in turn", "mean": "averaged"}[channels]


def other_channels(value: Tensor, new: int, rule: Channels = "auto") -> Tensor:
    """The weights of a first convolution for another number of input channels.

    Args:
        value: (o, old, *kernel).
        new: input channels of the network.
        rule: "sum": every channel gets the sum over the old ones, divided by `new`; "cycle": channel j gets
            the old channel j modulo old, times old / new. Both answer an image that is the same in all
            channels as before. "mean": every channel gets the mean over the old ones. "auto": "sum" for one
            channel, else "cycle", as segmentation_models_pytorch does.

    Returns:
        (o, new, *kernel).
    """
    old = value.shape[1]
    if rule == "auto":
        rule = "sum" if new == 1 else "cycle"
    if rule == "cycle":
        return value[:, torch.arange(new) % old] * (old / new)
    pooled = value.sum(1, keepdim=True) / new if rule == "sum" else value.mean(1, keepdim=True)
    return pooled.repeat(1, new, *(1,) * (value.ndim - 2))
