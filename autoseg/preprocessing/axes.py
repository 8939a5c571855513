"""What the ways from a raw image to the network's grid and back need of a plan, and no more.

A bundle has this much of a plan; what else a plan holds grows with the planner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class PlannedAxes(Protocol):
    """A plan, or the part of one that a bundle has."""

    @property
    def transpose(self) -> tuple[int, ...]:
        """Order in which the axes of a raw array are taken."""

    @property
    def transpose_backward(self) -> tuple[int, ...]:
        """The order that undoes `transpose`."""

    @property
    def intensities(self) -> Mapping[str, Mapping[str, float]]:
        """Foreground intensities for each channel (key ``"0"``, ``"1"``, ...)."""


@dataclass(frozen=True)
class Axes:
    """The part by itself, see `PlannedAxes`."""

    transpose: tuple[int, ...]
    intensities: Mapping[str, Mapping[str, float]]

    @property
    def transpose_backward(self) -> tuple[int, ...]:
        """The order that undoes `transpose`."""
        return tuple(self.transpose.index(axis) for axis in range(len(self.transpose)))
