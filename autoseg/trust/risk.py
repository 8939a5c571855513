"""How well a confidence orders cases by how bad they are: the risk-coverage curve and the area under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


def risk_coverage(risks: Sequence[float] | Floats, confidences: Sequence[float] | Floats) -> Floats:
    """Mean risk of the most confident 1, 2, ... n cases (El-Yaniv and Wiener, JMLR 2010).

    Cases of equal confidence come in no order: each of them has their mean risk.

    Args:
        risks: 1 - Dice of each case.
        confidences: of each case; a larger one is retained first.
    """
    risk, confidence = np.asarray(risks, dtype=np.float64), np.asarray(confidences, dtype=np.float64)
    _, tied = np.unique(-confidence, return_inverse=True)
    mean = np.bincount(tied, risk) / np.bincount(tied)
    ordered = mean[np.sort(tied)]
    return np.asarray(np.cumsum(ordered) / np.arange(1, len(risk) + 1))


def aurc(risks: Sequence[float] | Floats, confidences: Sequence[float] | Floats) -> float:
    """The area under the risk-coverage curve, its mean over coverages (Geifman et al., ICLR 2019)."""
    return float(risk_coverage(risks, confidences).mean())


def auroc(positive: Sequence[bool] | Floats, scores: Sequence[float] | Floats) -> float:
    """The chance that a positive case has a larger score than a negative one; NaN where all are of a kind."""
    from scipy.stats import rankdata

    flags = np.asarray(positive, dtype=bool)
    ones, zeros = int(flags.sum()), int((~flags).sum())
    if not ones or not zeros:
        return float("nan")
    ranks = rankdata(np.asarray(scores, dtype=np.float64))
    return float((ranks[flags].sum() - ones * (ones + 1) / 2) / (ones * zeros))
