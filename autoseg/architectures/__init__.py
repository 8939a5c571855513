"""Networks by name. Each file is one architecture; the file name is its name.

A file defines `NETWORK`, the class, as a rule derived from `SegmentationNetwork`; `DIMENSIONS`, what it
supports; `OPTIONS`, what a user may choose, each an `Option`; and `kwargs_for(topology, **options)`, the
JSON-able arguments of that class for one configuration of a plan. Options come checked, defaults filled in.
`check_architecture` tries out everything that a network has to keep. A file of your own lies anywhere, or
in a package under the entry point group ``autoseg.architectures``.
"""

from __future__ import annotations

import inspect
import json
import pydoc
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from autoseg import plugins
from autoseg.architectures._topology import Option, Topology, choose, require_dimensions
from autoseg.errors import PlanError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from autoseg.architectures._blocks import SegmentationNetwork, crop_to, pad_to_multiple

# What needs torch is imported when it is first used: plans are made without it.
_WITH_TORCH = ("SegmentationNetwork", "crop_to", "pad_to_multiple")

__all__ = [
    "channels_last",
    "Option",
    "SegmentationNetwork",
    "Topology",
    "check_architecture",
    "crop_to",
    "dimensions_of",
    "pad_to_multiple",
    "build_network",
    "class_path",
    "network_kwargs",
    "parts_of",
    "prepare_for_cpu",
    "requires_import",
    "system_blocks",
]


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        from autoseg.architectures import _blocks

        return getattr(_blocks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _module(architecture: str) -> ModuleType:
    module = plugins.find("architectures", architecture)
    if module.__name__ not in _CHECKED or architecture.endswith(".py"):
        _check_module(module, name_of(architecture))
        _CHECKED.add(module.__name__)
    return module


_CHECKED: set[str] = set()
_NEEDED = {
    "NETWORK": "the class of the network, derived from autoseg.architectures.SegmentationNetwork",
    "DIMENSIONS": "what it supports, (2,), (3,) or (2, 3)",
    "kwargs_for": "a function of a topology and options that gives the arguments of NETWORK",
}
_ARGUMENTS = ("input_channels", "num_classes", "deep_supervision")


def _check_module(module: ModuleType, name: str) -> None:
    """Say what a file lacks to be an architecture.

    Raises:
        UsageError: with what is missing or wrong, and how to mend it.
    """
    # A file may give NETWORK when it is needed, so that plans are made without torch.
    given = {*vars(module), *(("NETWORK",) if hasattr(module, "__getattr__") else ())}
    if lacking := [f"{key}, {meaning}" for key, meaning in _NEEDED.items() if key not in given]:
        raise UsageError(f"The architecture {name} lacks {'; '.join(lacking)}. Define it in its file.")
    dimensions = tuple(module.DIMENSIONS)
    if not dimensions or set(dimensions) - {2, 3}:
        raise UsageError(f"The architecture {name} has DIMENSIONS {module.DIMENSIONS!r}; expected (2, 3).")
    options = getattr(module, "OPTIONS", {})
    if wrong := [key for key, option in options.items() if not isinstance(option, Option)]:
        raise UsageError(
            f"The architecture {name}: its option {wrong[0]!r} is {options[wrong[0]]!r}. "
            f"Write OPTIONS = {{{wrong[0]!r}: Option(default, 'what it means')}}."
        )
    network = vars(module).get("NETWORK")
    if network is None:
        return
    taken = inspect.signature(network).parameters
    lacking = [key for key in _ARGUMENTS if key not in taken]
    if lacking and not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        raise UsageError(
            f"The network {network.__name__} of the architecture {name} takes no {', '.join(lacking)}. "
            f"Its __init__ takes {', '.join(_ARGUMENTS)} and what kwargs_for gives."
        )


def name_of(architecture: str) -> str:
    """The name of an architecture; of a file the file's."""
    return Path(architecture).stem if architecture.endswith(".py") else architecture


def dimensions_of(architecture: str) -> tuple[int, ...]:
    """The dimensions that an architecture supports.

    Raises:
        UsageError: for an unknown architecture, or a file that lacks what one needs.
    """
    return tuple(_module(architecture).DIMENSIONS)


def check_architecture(architecture: str) -> list[str]:
    """Try out what every architecture has to keep, without weights: a moment, on any machine.

    Args:
        architecture: a name of `plugins.available("architectures")`, or the path of a file.

    Returns:
        What is wrong and how to mend it, one sentence or two each; empty if all is well.
    """
    from autoseg.architectures._contract import problems_of

    return problems_of(architecture)


def network_kwargs(architecture: str, topology: Topology, **options: Any) -> dict[str, Any]:
    """The JSON-able arguments of a network for one configuration.

    Raises:
        PlanError: for an unknown option, a dimension that the network does not support, or arguments that a
            plan cannot hold.
        UsageError: for an unknown architecture, or a file that lacks what one needs.
    """
    module, name = _module(architecture), name_of(architecture)
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
