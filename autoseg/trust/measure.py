"""How well the expected quality works: each held-out case is assessed by a fit without its group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.trust.conformal import LEVEL, rate_interval
from autoseg.trust.regression import group_parts
from autoseg.trust.risk import aurc, risk_coverage
from autoseg.trust.structure_model import Estimate, fit_structure

if TYPE_CHECKING:
    from autoseg.trust.held_out import HeldOut

# Fits that each leave out a part of the groups.
PARTS = 10
_POINTS = 20


def measured(held_out: Sequence[HeldOut], structures: Sequence[str]) -> dict[str, Any]:
    """What stands in the record and on the leaderboard.

    Args:
        held_out: cases of all folds.
        structures: names.

    Returns:
        ``cases``, ``groups``; ``level``; ``coverage``: share of structures of cases whose Dice is in its
        interval, with its ``coverage_interval`` (Clopper-Pearson by case: the structures of one are taken
        together); ``width``: mean of the intervals; ``aurc``: of the expected Dice, of the mean entropy, of
        no score, and the best possible; ``curve``: the risk at `_POINTS` coverages. Empty for fewer than two
        groups.
    """
    groups = [each.group for each in held_out]
    if len(set(groups)) < 2:
        return {}
    estimates = cross_fitted(held_out, structures)
    risks = 1 - np.array([each.dice for each in held_out])
    expected = np.array([np.mean([row[name].dice for name in structures]) for row in estimates])
    entropy = np.array([each.entropy for each in held_out])
    scores = {"expected": expected, "entropy": -entropy, "none": np.zeros(len(risks)), "best": -risks}
    curve = risk_coverage(risks, expected)
    at = np.unique(np.linspace(0, len(curve) - 1, min(_POINTS, len(curve))).round().astype(int))
    return {
        "cases": len(held_out),
        "groups": len(set(groups)),
        **_coverage(held_out, structures, estimates),
        "aurc": {name: round(aurc(risks, score), 6) for name, score in scores.items()},
        "curve": [[round((i + 1) / len(curve), 4), round(float(curve[i]), 5)] for i in at.tolist()],
    }


def cross_fitted(held_out: Sequence[HeldOut], structures: Sequence[str]) -> list[Mapping[str, Estimate]]:
    """What would have been expected of each case, had its group not been known."""
    parts = group_parts([each.group for each in held_out], PARTS)
    found: list[dict[str, Estimate]] = [{} for _ in held_out]
    for name in structures:
        cases = [each.structures[name] for each in held_out]
        for part in sorted(set(parts)):
            rest = [case for case, other in zip(cases, parts, strict=True) if other != part]
            model = fit_structure(rest, ())
            for index, other in enumerate(parts):
                if other == part:
                    found[index][name] = model.estimate(cases[index].facts, cases[index].known)
    return list(found)


def _coverage(
    held_out: Sequence[HeldOut], structures: Sequence[str], estimates: Sequence[Mapping[str, Estimate]]
) -> dict[str, Any]:
    """Coverage of the intervals, where there are any."""
    inside, widths = [], []
    for each, row in zip(held_out, estimates, strict=True):
        ends = [(row[name].dice_interval, each.structures[name].dice) for name in structures]
        known = [(interval, dice) for interval, dice in ends if interval is not None]
        if known:
            inside.append(np.mean([low <= dice <= high for (low, high), dice in known]))
            widths.append(np.mean([high - low for (low, high), _ in known]))
    if not inside:
        return {"level": LEVEL, "coverage": None, "coverage_interval": None, "width": None}
    low, high = rate_interval(round(float(np.sum(inside))), len(inside))
    return {
        "level": LEVEL,
        "coverage": round(float(np.mean(inside)), 4),
        "coverage_interval": [round(low, 4), round(high, 4)],
        "width": round(float(np.mean(widths)), 4),
    }
