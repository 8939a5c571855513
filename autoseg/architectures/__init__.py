"""Networks by name. Each file is one architecture; the file name is its name.

A file defines `NETWORK`, the class; `DIMENSIONS`, what it supports; and `kwargs_for(topology, **options)`,
the JSON-able arguments of that class for one configuration of a plan.
"""

from __future__ import annotations

import functools
import pydoc
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from autoseg import plugins
from autoseg.architectures._topology import Option, Topology

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "channels_last",
    "Option",
    "Topology",
    "build_network",
    "class_path",
    "network_kwargs",
    "parts_of",
    "prepare_for_cpu",
    "requires_import",
    "system_blocks",
]


@functools.cache
def _module(architecture: str) -> ModuleType:
    return plugins.find("architectures", architecture)


def network_kwargs(architecture: str, topology: Topology, **options: Any) -> dict[str, Any]:
    """The JSON-able arguments of a network for one configuration.

    Raises:
        PlanError: for an unknown option or a dimension that the network does not support.
        UsageError: for an unknown architecture.
    """
    kwargs: dict[str, Any] = _module(architecture).kwargs_for(topology, **options)
    return kwargs


def class_path(architecture: str) -> str:
    """The dotted path under which a plan names the class."""
    network = _module(architecture).NETWORK
    return f"{network.__module__}.{network.__qualname__}"


def requires_import(architecture: str) -> tuple[str, ...]:
    """The arguments that name a class, which the builder imports first (nnU-Net's own networks)."""
    return tuple(getattr(_module(architecture), "REQUIRES_IMPORT", ()))


def build_network(
    architecture: str,
    input_channels: int,
    num_classes: int,
    topology: Topology,
    deep_supervision: bool | None = None,
    **options: Any,
) -> nn.Module:
    """Build a network as nnU-Net builds it from a plan, freshly initialised; it takes any input size.

    Args:
        architecture: a name of `plugins.available("architectures")`, or the path of a file.
        input_channels: channels of the image.
        num_classes: logits per voxel.
        topology: the configuration.
        deep_supervision: whether `forward` gives a list; None: no.
        options: see the file's `OPTIONS`.

    Raises:
        PlanError: for an unknown option or a dimension that the network does not support.
        UsageError: for an unknown architecture.
    """
    kwargs = network_kwargs(architecture, topology, **options)
    network = _module(architecture).NETWORK(
        input_channels=input_channels,
        num_classes=num_classes,
        deep_supervision=bool(deep_supervision),
        **with_imports(kwargs, requires_import(architecture)),
    )
    if hasattr(network, "initialize"):
        network.apply(network.initialize)
    # Networks of others that take certain sizes only; within a plan the patch is of such a size.
    accept_any_size = getattr(_module(architecture), "accept_any_size", None)
    built: nn.Module = network if accept_any_size is None else accept_any_size(network)
    return built


def with_imports(kwargs: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The arguments with the classes they name in place of the names."""
    return {
        name: pydoc.locate(value) if name in names and value is not None else value
        for name, value in kwargs.items()
    }


def channels_last(dimensions: int) -> torch.memory_format:
    """The layout in which a CPU computes fastest, for 2D or 3D."""
    import torch

    return torch.channels_last if dimensions == 2 else torch.channels_last_3d


def prepare_for_cpu(network: nn.Module) -> int:
    """Make a network of any origin fast, and right in bf16, on a CPU; in place and with equal results.

    Instance normalisation, transposed and depthwise convolutions take the faster forms of this package
    where they are equal; convolutions whose bf16 gradients are wrong in torch 2.15 work in float32. Names
    and parameters stay. Use it with channels-last memory.

    Returns:
        The number of layers changed.
    """
    from autoseg.architectures._cpu import prepare_for_cpu as prepare

    return prepare(network)


def system_blocks(network: nn.Module) -> int:
    """Bytes from which on blocks come from the system while a network trains on a CPU."""
    from autoseg.architectures._cpu import system_blocks as found

    return found(network)


def parts_of(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """Names of all parameters, by part: "encoder", "decoder1" (next to the bottleneck) and on, "head".

    Raises:
        PlanError: for a network whose parts are not known.
    """
    from autoseg.architectures._parts import parts_of as find

    return find(network)
