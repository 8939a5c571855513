"""What the leaderboard knows about each metric: its name for readers, its unit and which way is up."""

from __future__ import annotations

from dataclasses import dataclass

from autoseg.errors import UsageError


@dataclass(frozen=True)
class Quantity:
    """A metric as the leaderboard shows it.

    Attributes:
        name: as in an evaluation.
        label: for readers.
        unit: empty for fractions.
        higher_is_better: None for what is shown but never ranked on.
        worst: the value of a missing case; None: as bad as the worst value seen.
        decimals: shown in tables.
        margin: two models whose difference lies within it are called equivalent, in the metric's unit.
        explanation: one plain sentence.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool | None
    worst: float | None
    decimals: int
    margin: float
    explanation: str

    def text(self, value: float | None) -> str:
        """The value as tables show it, without the unit."""
        return "\N{EN DASH}" if value is None else f"{value:.{self.decimals}f}"

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def _overlap(name: str, label: str, explanation: str) -> Quantity:
    return Quantity(name, label, "", True, 0.0, 3, 0.01, explanation)


def _distance(name: str, label: str, explanation: str) -> Quantity:
    return Quantity(name, label, "mm", False, None, 2, 0.5, explanation)


_KNOWN = (
    _overlap("dice", "Dice", "Overlap of prediction and reference: 0 is none, 1 is perfect."),
    _overlap("iou", "IoU", "Shared volume over joint volume: 0 is none, 1 is perfect; stricter than Dice."),
    _overlap("nsd", "NSD", "Share of the two surfaces that lie within the tolerance of each other."),
    _distance("hd95", "HD95", "Distance that 95 % of the surface points stay within; 0 is perfect."),
    _distance("hd", "Hausdorff distance", "Distance of the surface point that is furthest off."),
    _distance("assd", "ASSD", "Average distance between the two surfaces; 0 is perfect."),
    _distance("masd", "MASD", "Mean of the two average surface distances; 0 is perfect."),
    _overlap("sensitivity", "Sensitivity", "Share of the reference that the prediction finds."),
    _overlap("precision", "Precision", "Share of the prediction that belongs to the reference."),
    _overlap("lesion_f1", "Lesion F1", "Balance of lesions found and lesions made up."),
    _overlap("pq", "PQ", "Panoptic quality: lesions found, times how well they are outlined."),
)
_BY_NAME = {quantity.name: quantity for quantity in _KNOWN} | {"hd95_mm": _KNOWN[3]}
HEADLINE = ("dice", "nsd", "hd95", "iou")


def quantity(name: str) -> Quantity:
    """What is known about a metric; an unknown one is shown, but has no direction."""
    known = _BY_NAME.get(name)
    return known or Quantity(name, name.replace("_", " "), "", None, None, 3, 0.0, "")


def ranked_quantity(name: str) -> Quantity:
    """A metric that can be ranked on.

    Raises:
        UsageError: if it is unknown or has no direction.
    """
    found = quantity(name)
    if found.higher_is_better is None:
        choices = ", ".join(item.name for item in _KNOWN)
        raise UsageError(f"The leaderboard cannot rank by {name!r}. Choose one of {choices}.")
    return found
