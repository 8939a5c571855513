"""What a plan decides for a network: patch, strides and kernels, and the options a person may set.

Nothing here imports torch, so that a plan can be made without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoseg.errors import PlanError
from autoseg.system.option_values import Anything, Count, Counts, Kind, Number, OneOf, Text, Truth


@dataclass(frozen=True)
class Topology:
    """The shape of a network as nnU-Net's rules derive it from a configuration.

    Attributes:
        patch_size: voxels per axis, in array order.
        spacing: millimetres per axis, in array order; as many axes as the patch.
        strides: per stage and axis; the first stage keeps the resolution, so its strides are all 1.
        kernel_sizes: per stage and axis.

    Raises:
        PlanError: if the lengths do not fit each other or a number makes no sense.
    """

    patch_size: tuple[int, ...]
    spacing: tuple[float, ...]
    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        for name in ("patch_size", "spacing"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("strides", "kernel_sizes"):
            object.__setattr__(self, name, tuple(tuple(int(n) for n in row) for row in getattr(self, name)))
        self._check()

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.patch_size)

    @property
    def stages(self) -> int:
        """How many resolutions the plan has, the full one included."""
        return len(self.strides)

    def level_strides(self, levels: int) -> tuple[tuple[int, ...], ...]:
        """Strides of the first `levels` downsampling steps of a network with a fixed number of them.

        The plan's strides come first. Beyond the plan's last stage an axis is halved as long as more than
        one voxel is left of it.
        """
        planned = self.strides[1 : levels + 1]
        size = list(self.patch_size)
        for step in planned:
            size = [-(-n // s) for n, s in zip(size, step, strict=True)]
        rows = list(planned)
        while len(rows) < levels:
            rows.append(tuple(2 if n > 1 else 1 for n in size))
            size = [-(-n // s) for n, s in zip(size, rows[-1], strict=True)]
        return tuple(rows)

    def _check(self) -> None:
        dimensions = len(self.patch_size)
        if dimensions not in (2, 3):
            raise PlanError(f"The patch size {self.patch_size} has {dimensions} axes; expected 2 or 3.")
        if len(self.spacing) != dimensions:
            raise PlanError(f"The spacing {self.spacing} does not fit the patch size {self.patch_size}.")
        if not self.strides or len(self.strides) != len(self.kernel_sizes):
            raise PlanError(
                f"The plan has strides for {len(self.strides)} stages and kernel sizes for "
                f"{len(self.kernel_sizes)}; expected one of each per stage."
            )
        if any(len(row) != dimensions or min(row) < 1 for row in (*self.strides, *self.kernel_sizes)):
            raise PlanError(
                f"Every stride and kernel size needs {dimensions} positive numbers, found strides "
                f"{self.strides} and kernel sizes {self.kernel_sizes}."
            )
        if any(n != 1 for n in self.strides[0]):
            raise PlanError(f"The first stage has strides {self.strides[0]}; expected 1 on every axis.")


def as_lists(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Rows of numbers as JSON holds them."""
    return [[int(n) for n in row] for row in rows]


def cumulative(strides: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Per-axis products of the strides up to and including each stage."""
    totals: list[tuple[int, ...]] = []
    for row in strides:
        before = totals[-1] if totals else (1,) * len(row)
        totals.append(tuple(b * int(s) for b, s in zip(before, row, strict=True)))
    return totals


@dataclass(frozen=True)
class Option:
    """One thing that a person may choose about a network.

    Attributes:
        default: the value of the documented system.
        meaning: one line for people.
        choices: the values allowed; empty: any of the default's type.
    """

    default: Any
    meaning: str
    choices: tuple[Any, ...] = ()

    @property
    def kind(self) -> Kind:
        """How a text is read as a value of it."""
        if self.choices:
            return OneOf(self.choices)
        kinds: dict[type, Kind] = {bool: Truth(), int: Count(), float: Number(), tuple: Counts(), str: Text()}
        return kinds.get(type(self.default), Anything())


def choose(architecture: str, options: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the defaults.

    Raises:
        PlanError: for a name that the architecture does not have or a value that it does not take.
    """
    unknown = sorted(set(given) - set(options))
    if unknown:
        raise PlanError(
            f"{architecture} has no option {', '.join(map(repr, unknown))}. "
            f"Options: {', '.join(sorted(options)) or 'none'}."
        )
    chosen = {name: option.default for name, option in options.items()}
    chosen |= {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    for name, option in options.items():
        _check_value(architecture, name, option, chosen[name])
    return chosen


def _check_value(architecture: str, name: str, option: Option, value: Any) -> None:
    if option.choices:
        if value not in option.choices:
            allowed = ", ".join(repr(choice) for choice in option.choices)
            raise PlanError(f"{architecture}: {name} is {value!r}; expected one of {allowed}.")
        return
    kind = type(option.default)
    if type(value) is not kind:
        raise PlanError(f"{architecture}: {name} is {value!r}; expected a value of type {kind.__name__}.")
    if kind is int and value < 0:
        raise PlanError(f"{architecture}: {name} is {value}; expected a number that is not negative.")


def require_dimensions(architecture: str, topology: Topology, supported: Sequence[int]) -> None:
    """Refuse a configuration that a network cannot work on.

    Raises:
        PlanError: names what the network supports and what to do.
    """
    if topology.dimensions not in supported:
        names = " and ".join(f"{n}D" for n in supported)
        raise PlanError(
            f"{architecture} is a {names} network and this configuration is {topology.dimensions}D. "
            f"Choose the 2d configuration, or an architecture for {topology.dimensions}D."
            if topology.dimensions == 3
            else f"{architecture} is a {names} network and this configuration is 2D. Choose another."
        )


def level_kwargs(architecture: str, topology: Topology, chosen: dict[str, Any]) -> dict[str, Any]:
    """Strides, features and kernels of a U-Net; takes width, max_features and max_levels out of `chosen`.

    Raises:
        PlanError: if there is nothing left to build, or there are more auxiliary heads than levels.
    """
    levels = min(topology.stages, chosen.pop("max_levels"))
    width, most = chosen.pop("width"), chosen.pop("max_features")
    if min(levels, width, most) < 1:
        raise PlanError(
            f"{architecture} needs a level and a feature at least, found {levels}, {width} and {most}."
        )
    if chosen["auxiliary_heads"] >= levels:
        raise PlanError(
            f"{architecture}: {chosen['auxiliary_heads']} auxiliary heads are requested, and there are "
            f"{levels - 1} lower resolutions. Request fewer."
        )
    return {
        "strides": as_lists(topology.strides[:levels]),
        "features": [min(width * 2**level, most) for level in range(levels)],
        "kernel_sizes": as_lists(topology.kernel_sizes[:levels]),
    }
