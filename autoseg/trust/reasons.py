"""Why a prediction is flagged, in words with the number that is far."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from autoseg.trust.features import USUAL, Facts
from autoseg.trust.spread import Spread

if TYPE_CHECKING:
    from autoseg.trust.structure_model import Estimate, StructureModel

# From the middle to the 5th or 95th percentile, in the scale of a spread.
_USUAL = 1.645
# Of a unit of sizes, how many make one of the unit that is shown, and its name.
SIZES = {"mm^3": (1000.0, "ml"), "mm^2": (100.0, "cm^2"), "pixels": (1.0, "pixels")}
# Names of quantities that say too little.
_INPUTS = {
    "zero": "share of zeros",
    "saturated": "share of the largest value",
    "middle": "place of the median between the outer intensities",
}
_SHAPES = {
    "components": "number of parts of {}",
    "border": "share of the surface of {} on the image's border",
}
_WORDS = {
    "expected_dice": "its probabilities expect a low Dice",
    "uncertainty": "it is undecided around the outline",
    "agreement": "its mirrored copies disagree",
    "size": "its size is unusual",
    "roughness": "its surface is unusual for its size",
    "components": "its number of parts is unusual",
    "position": "it lies at an unusual place",
    "border": "it touches the border of the image in an unusual way",
}


def far_input(name: str, value: float, spread: Spread) -> str:
    """What is far about an image: `spacing z is 5 mm; in training 0.9 to 1.1 mm`."""
    unit = " mm" if name.startswith(("spacing", "extent")) else ""
    channel, _, what = name.rpartition(": ")
    shown = f"{channel}: {_INPUTS[what]}" if channel and what in _INPUTS else name
    usual = _range(spread, lambda each: _input(name, each))
    return f"{shown} is {_input(name, value)}{unit}; in training {usual}{unit}"


def _input(name: str, value: float) -> str:
    if name.startswith(("spacing", "extent")):
        return f"{math.exp(value):.3g}"
    if "intensity" in name:
        return f"{math.sinh(min(value, 700)):.3g}"
    if name.endswith("noise"):
        return f"{math.exp(value):.2g} of the range"
    return _share(value)


def _share(value: float) -> str:
    """Scales have a least width, so that the ends of a usual range may lie where no share can."""
    return f"{min(max(value, 0.0), 1.0):.2f}"


def far_shape(structure: str, name: str, value: float, spread: Spread, unit: str) -> str:
    """What is far about a segmented structure."""
    size = "volume of {}" if unit == "mm^3" else "area of {}"
    what = (size if name == "size" else _SHAPES.get(name, name + " of {}")).format(structure)
    shown, end = SIZES[unit]

    def words(each: float) -> str:
        if name == "size":
            return f"{math.exp(each) / shown:.3g}"
        if name == "components":
            return str(max(1, round(math.exp(each))))
        return f"{math.exp(each):.3g}" if name == "roughness" else _share(each)

    end = f" {end}" if name == "size" else ""
    return f"{what} is {words(value)}{end}; in training {_range(spread, words)}{end}"


def _range(spread: Spread, words: Callable[[float], str]) -> str:
    low, high = (
        words(end) for end in (spread.middle - _USUAL * spread.below, spread.middle + _USUAL * spread.above)
    )
    return low if low == high else f"{low} to {high}"


def undecided(name: str, estimate: Estimate, model: StructureModel, facts: Facts) -> str:
    """What is expected of a doubtful structure, and what speaks most against it."""
    features = facts.features(model.known, model.usual)
    weights = [sum(line.weights[i] for line in model.lines) for i in range(len(model.names))]
    against = {
        feature: weight * (features[feature] - neutral)
        for feature, weight, neutral in zip(model.names, weights, model.neutral, strict=True)
        if feature in features
    }
    worst = min(against, key=lambda feature: against[feature], default="")
    why = f": {_WORDS[worst.removeprefix(USUAL)]}" if worst and against[worst] < 0 else ""
    return (
        f"{name} is expected to have a Dice of {estimate.dice:.2f}, below {model.threshold:.2f} with a "
        f"chance of {estimate.failure:.0%}{why}"
    )
