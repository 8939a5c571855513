"""An architecture's file by its name or path, with the check that it holds what one needs."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType

from autoseg import plugins
from autoseg.architectures._topology import Option
from autoseg.errors import UsageError


def module_of(architecture: str) -> ModuleType:
    """The file of an architecture, imported and checked.

    Raises:
        UsageError: for an unknown architecture, or a file that lacks what one needs.
    """
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
    return tuple(module_of(architecture).DIMENSIONS)
