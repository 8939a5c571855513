"""How far a number lies from those of the training cases: a robust z-score with a scale for each side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# 5th and 95th percentile of a normal distribution, in standard deviations.
_NORMAL = 1.645
# The least scale, in the units of logarithms and shares: data that are all alike forgive a few per cent.
FLOOR = 0.02
# Of a few quantities another one: two parts instead of one are 3 standard deviations, not 35.
_FLOORS = {"components": 0.23, "size": 0.05}


@dataclass(frozen=True)
class Spread:
    """Middle and scale of a quantity over training cases.

    Attributes:
        middle: the median.
        below, above: from the median to the 5th and the 95th percentile, divided by 1.645: the standard
            deviation, if it were normal.
    """

    middle: float
    below: float
    above: float

    @classmethod
    def of(cls, values: Sequence[float], floor: float = FLOOR) -> Spread:
        """Of at least one value; scales are at least `floor`."""
        low, middle, high = (float(value) for value in np.percentile(values, [5, 50, 95]))
        return cls(middle, max(floor, (middle - low) / _NORMAL), max(floor, (high - middle) / _NORMAL))

    def distance(self, value: float) -> float:
        """Standard deviations from the middle, with a sign."""
        return (value - self.middle) / (self.above if value > self.middle else self.below)

    def to_json(self) -> list[float]:
        """Middle, below, above."""
        return [self.middle, self.below, self.above]


def spreads(cases: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """The spread of each quantity over the cases that have it."""
    names = dict.fromkeys(name for case in cases for name in case)
    return {
        name: Spread.of([case[name] for case in cases if name in case], _FLOORS.get(name, FLOOR))
        for name in names
    }


def distances(found: Mapping[str, float], known: Mapping[str, Spread]) -> dict[str, float]:
    """How far each quantity lies, for those that are known."""
    return {name: known[name].distance(value) for name, value in found.items() if name in known}


def spreads_from_json(content: Mapping[str, Any]) -> dict[str, Spread]:
    """Read by name what `Spread.to_json` wrote."""
    return {str(name): Spread(*map(float, values)) for name, values in content.items()}


def largest(found: Mapping[str, float]) -> float:
    """The largest distance to either side; 0 of none."""
    return max((abs(value) for value in found.values()), default=0.0)
