"""The regression of Dice on the features as a table of numbers: scipy fits it, numpy applies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.trust.features import Floats

# Of the ridge, on standardised features: 20 cases and 8 features are enough for nothing sharper.
RIDGE = 1.0


@dataclass(frozen=True)
class Line:
    """A linear function of the features, none of whose weights is negative.

    Attributes:
        intercept: value at features of 0.
        weights: one for each feature.
    """

    intercept: float
    weights: tuple[float, ...]

    def __call__(self, features: Floats) -> Floats:
        """(cases, features) to one value for each case."""
        return np.asarray(self.intercept + features @ np.array(self.weights, dtype=np.float64))


def fit_line(features: Floats, targets: Floats, weights: Floats) -> Line:
    """A ridge regression with weights of at least 0; a feature that is the same in all cases gets none.

    Args:
        features: (cases, features).
        targets: one for each case.
        weights: how much each case counts.
    """
    from scipy.optimize import nnls

    middle = np.average(features, axis=0, weights=weights)
    scale = np.sqrt(np.average((features - middle) ** 2, axis=0, weights=weights))
    usable = scale > 1e-9
    mean = float(np.average(targets, weights=weights))
    found = np.zeros(features.shape[1])
    if usable.any() and len(targets) > 2:
        standard = (features[:, usable] - middle[usable]) / scale[usable]
        # Ridge as least squares: one more row for each weight, which wants it to be 0.
        root, penalty = np.sqrt(weights), np.sqrt(RIDGE) * np.eye(standard.shape[1])
        rows = np.concatenate([standard * root[:, None], penalty])
        wanted = np.concatenate([(targets - mean) * root, np.zeros(len(penalty))])
        found[usable] = nnls(rows, wanted)[0] / scale[usable]
    return Line(float(mean - found @ middle), tuple(float(value) for value in found))


def group_parts(groups: Sequence[str], number: int) -> list[int]:
    """A part of each case, such that no group is in two, dealt out by the order of first appearance."""
    order = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    return [order[group] % number for group in groups]


def group_weights(groups: Sequence[str]) -> Floats:
    """How much each case counts so that each group counts 1."""
    count = {group: groups.count(group) for group in set(groups)}
    return np.array([1.0 / count[group] for group in groups])
