"""A network from its architecture's name: its arguments in a plan, its class path, and itself."""

from __future__ import annotations

import json
import pydoc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoseg.architectures._registry import module_of, name_of
from autoseg.architectures._topology import Topology, choose, require_dimensions
from autoseg.errors import PlanError

if TYPE_CHECKING:
    from torch import nn


def network_kwargs(architecture: str, topology: Topology, **options: Any) -> dict[str, Any]:
    """The JSON-able arguments of a network for one configuration.

    Raises:
        PlanError: for an unknown option, a dimension that the network does not support, or arguments that a
            plan cannot hold.
        UsageError: for an unknown architecture, or a file that lacks what one needs.
    """
    module, name = module_of(architecture), name_of(architecture)
    require_dimensions(name, topology, module.DIMENSIONS)
    if hasattr(module, "OPTIONS"):
        options = choose(name, module.OPTIONS, options)
    kwargs: dict[str, Any] = module.kwargs_for(topology, **options)
    try:
        json.dumps(kwargs, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise PlanError(
            f"{name}: kwargs_for gives {kwargs!r}, which a plan cannot hold ({problem}). Give numbers, "
            f"texts, truth values and lists."
        ) from None
    return kwargs


def class_path(architecture: str) -> str:
    """The dotted path under which a plan names the class."""
    network = module_of(architecture).NETWORK
    return f"{network.__module__}.{network.__qualname__}"


def requires_import(architecture: str) -> tuple[str, ...]:
    """The arguments that name a class, which the builder imports first (nnU-Net's own networks)."""
    return tuple(getattr(module_of(architecture), "REQUIRES_IMPORT", ()))


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
    network = module_of(architecture).NETWORK(
        input_channels=input_channels,
        num_classes=num_classes,
        deep_supervision=bool(deep_supervision),
        **with_imports(kwargs, requires_import(architecture)),
    )
    if hasattr(network, "initialize"):
        network.apply(network.initialize)
    # Networks of others that take certain sizes only; within a plan the patch is of such a size.
    accept_any_size = getattr(module_of(architecture), "accept_any_size", None)
    built: nn.Module = network if accept_any_size is None else accept_any_size(network)
    return built


def with_imports(kwargs: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The arguments with the classes they name in place of the names."""
    return {
        name: pydoc.locate(value) if name in names and value is not None else value
        for name, value in kwargs.items()
    }
