"""Intervals that hold for new cases, from what was off on cases that no model had seen.

Cross-validation+ of Barber, Candes, Ramdas and Tibshirani (Predictive inference with the jackknife+, Annals
of Statistics 49, 2021): each calibration case brings the regression that was fitted without it and how far it
was off. Cases of one group are no independent draws, so each group counts once, whatever number of cases it
has, and no group helps to fit the regression that it is measured by. For exchangeable groups an interval at
level 1 - alpha then holds for at least 1 - 2 alpha of new cases, and in practice for about 1 - alpha.

Packages for conformal regression (mapie, crepes) calibrate by case, and what they fit is a Python object;
here groups count, and what is fitted is a table of numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
LEVEL = 0.9


def groups_needed(level: float = LEVEL) -> int:
    """How many calibration groups an interval needs: with fewer, no finite one can hold that often."""
    return math.ceil(1 / (1 - level) - 1e-9) - 1


def interval(
    predictions: Floats, misses: Floats, weights: Floats, level: float = LEVEL
) -> tuple[float, float]:
    """Cross-validation+ of one new case.

    Args:
        predictions: for each calibration case, what the regression says of the new case that was fitted
            without it.
        misses: for each calibration case, how far its own regression was off.
        weights: of the cases; those of a group sum to 1.
        level: share of new cases that is to be in the interval.

    Returns:
        The two ends; infinite where there are too few groups.
    """
    low = -upper_quantile(misses_against(-predictions, misses), weights, level)
    return low, upper_quantile(misses_against(predictions, misses), weights, level)


def misses_against(predictions: Floats, misses: Floats) -> Floats:
    """Where the new case ends up if it is as far off as each calibration case was."""
    return np.asarray(predictions + np.abs(misses))


def upper_quantile(values: Floats, weights: Floats, level: float) -> float:
    """The least value with at least `level` of the weight at or below it; one more group is at infinity."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    needed = level * (reached[-1] + 1) if len(reached) else math.inf
    index = int(np.searchsorted(reached, needed - 1e-9))
    return float(values[order][index]) if index < len(values) else math.inf


def rate_interval(hits: int, number: int, level: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share of so many hits."""
    from scipy.stats import binomtest

    if not number:
        return 0.0, 1.0
    found = binomtest(hits, number).proportion_ci(level)
    return float(found.low), float(found.high)
