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
    usual = _range(spread, lambda each: _input(name, each))
    return f"{name} is {_input(name, value)}{unit}; in training {usual}{unit}"


def _input(name: str, value: float) -> str:
    if name.startswith(("spacing", "extent")):
        return f"{math.exp(value):.3g}"
    if "intensity" in name:
        return f"{math.sinh(min(value, 700)):.3g}"
    if name.endswith("noise"):
        return f"{math.exp(value):.2g} of the range"
    return f"{value:.2f}"


def far_shape(structure: str, name: str, value: float, spread: Spread, unit: str) -> str:
    """What is far about a segmented structure."""
    what = {"size": "volume" if unit == "mm^3" else "area", "components": "number of parts"}.get(name, name)
    shown, end = SIZES[unit]

    def words(each: float) -> str:
        if name == "size":
            return f"{math.exp(each) / shown:.3g}"
        return f"{math.exp(each):.3g}" if name in ("components", "roughness") else f"{each:.2f}"

    end = f" {end}" if name == "size" else ""
    return f"{what} of {structure} is {words(value)}{end}; in training {_range(spread, words)}{end}"


def _range(spread: Spread, words: Callable[[float], str]) -> str:
    low, high = spread.middle - _USUAL * spread.below, spread.middle + _USUAL * spread.above
    return f"{words(low)} to {words(high)}"


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
