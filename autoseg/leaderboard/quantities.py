"""Metrics as readers meet them: a label, how many digits, what counts as equal, one plain sentence.

What a metric means (definition, unit, direction, worst value) is its own business: `autoseg.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoseg.errors import UsageError
from autoseg.metrics import ALL_STRUCTURES, COUNTS, METRICS, known

__all__ = [
    "ALL_STRUCTURES",
    "HEADLINE",
    "SHOWN",
    "SPECIAL",
    "Quantity",
    "columns",
    "is_score",
    "quantity",
    "ranked_quantity",
]

# The columns of the table; and what a page can switch to.
HEADLINE = ("dice", "nsd", "hd95", "iou")
SHOWN = (*HEADLINE, "assd", "sensitivity", "precision", "lesion_f1", "hc_absolute_error")
# Columns too, where a data set has them: they are measured for few, or on request.
SPECIAL = ("hc_absolute_error", "hc_error")


@dataclass(frozen=True)
class Quantity:
    """A metric as the leaderboard shows it.

    Attributes:
        name: as in an evaluation.
        label: the name that readers see.
        unit: empty for fractions.
        higher_is_better: None where neither direction is better.
        best: the value of a case in which nothing was there and nothing was predicted.
        worst: the value of a missing case; None: as bad as the worst value seen.
        decimals: shown in tables.
        margin: two models whose difference lies within it are called equivalent, in the metric's unit.
        explanation: one plain sentence.
        ranked: whether models may be ranked by it.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool | None
    best: float
    worst: float | None
    decimals: int
    margin: float
    explanation: str
    ranked: bool

    def text(self, value: float | None) -> str:
        """The value as tables show it, without the unit."""
        return "\N{EN DASH}" if value is None else f"{value:.{self.decimals}f}"

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


_LABELS = {
    "dice": "Dice",
    "iou": "IoU",
    "nsd": "NSD",
    "nsd_voxel": "NSD (voxels)",
    "hd95": "HD95",
    "hd": "Hausdorff distance",
    "assd": "ASSD",
    "masd": "MASD",
    "lesion_f1": "Lesion F1",
    "lesion_sq": "Lesion SQ",
    "lesion_pq": "Lesion PQ",
    "hc_absolute_error": "Head circumference error",
    "hc_error": "Head circumference error, signed",
}
_PLAIN = {
    "dice": "overlap of prediction and reference; 0 is none, 1 is perfect.",
    "iou": "shared volume over joint volume; 0 is none, 1 is perfect, always stricter than Dice.",
    "nsd": "share of the two surfaces that lie within the tolerance of each other; 1 is perfect.",
    "hd95": "distance that 95 % of the surface points stay within; 0 is perfect.",
    "hd": "distance of the surface point that is furthest off; 0 is perfect.",
    "assd": "average distance between the two surfaces; 0 is perfect.",
    "sensitivity": "share of the reference that the prediction finds; 1 is all of it.",
    "precision": "share of the prediction that is right; 1 is all of it.",
    "lesion_f1": "balance of lesions found and lesions made up; 1 is perfect.",
    "hc_absolute_error": "how far the measured head circumference is off; 0 is perfect.",
}
_ALIASES = {"hd95_mm": "hd95"}


def quantity(name: str) -> Quantity:
    """What is known about a metric; an unknown one is shown, but has no direction."""
    name = _ALIASES.get(name, name)
    label = _LABELS.get(name, name.replace("_", " ").capitalize())
    metric = known(name)
    if metric is None:
        return Quantity(name, label, "", None, 0.0, None, 3, 0.0, "", False)
    fraction = metric.unit == "1"
    return Quantity(
        name=name,
        label=label,
        unit="" if fraction else metric.unit,
        higher_is_better={"higher": True, "lower": False}.get(metric.direction),
        best=metric.best or 0.0,
        worst=metric.worst if isinstance(metric.worst, float) else None,
        decimals=3 if fraction else 2,
        margin=0.01 if fraction else 0.5,
        explanation=_PLAIN.get(name, metric.description),
        ranked=metric.ranked,
    )


def columns(names: Iterable[str]) -> tuple[str, ...]:
    """Of the metrics that were measured, those with a column of their own: headlines, then special ones."""
    there = list(names)
    own = (name for name in there if (metric := known(name)) and metric.group == "own")
    return (*(name for name in (*HEADLINE, *SPECIAL) if name in there), *own)


def ranked_quantity(name: str) -> Quantity:
    """A metric that models may be ranked by.

    Raises:
        UsageError: for any other; the message lists what there is.
    """
    found = quantity(name)
    if not found.ranked:
        choices = ", ".join(metric.name for metric in METRICS.values() if metric.ranked)
        why = "is shown, but never ranked by" if known(name) else "is not a metric"
        raise UsageError(f"{name!r} {why}. Rank by one of {choices}.")
    return found


def is_score(name: str) -> bool:
    """Whether a column of this name holds scores: a metric with a direction, or a voxel count."""
    return quantity(name).higher_is_better is not None or name in COUNTS
