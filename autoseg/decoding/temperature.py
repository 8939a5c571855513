"""Probabilities that hold what they say: a temperature, fitted on voxels of cases that no network had seen.

Networks are surer than they are right. Dividing all logits by one number, the temperature, mends most of it
and changes no order of labels in a voxel (Guo, Pleiss, Sun and Weinberger, On calibration of modern neural
networks, ICML 2017). Of probabilities that is a power: softmax(z / T) is softmax(z)^(1/T), scaled to a sum
of 1, so that a mean over networks can be tempered as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]

# Nothing outside of this is believed.
COLDEST, HOTTEST = 0.1, 10.0
# Smaller probabilities are rounding.
_LEAST = 1e-12


@dataclass(frozen=True)
class Sample:
    """Voxels of one case, in and around its structures.

    Attributes:
        case: its identifier.
        probabilities: (voxels, heads), each of a network that had not seen the case.
        truth: (voxels, heads), whether each is of the head.
    """

    case: str
    probabilities: Floats
    truth: NDArray[np.bool_]


def tempered(probabilities: Floats, temperature: float, has_regions: bool) -> Floats:
    """Probabilities (heads, ...) at another temperature; of a voxel without any, background has all.

    Args:
        probabilities: of heads that exclude each other, or of regions, each by itself; left as they are.
        temperature: above 1 they become less sure, below surer.
        has_regions: which of the two.
    """
    found = np.empty(probabilities.shape, dtype=np.float32)
    power = 1 / temperature
    # Slice by slice: the powers of a whole volume are not held.
    for index in range(probabilities.shape[1]):
        p = np.clip(probabilities[:, index].astype(np.float32), 0, 1)
        if has_regions:
            yes, no = p**power, (1 - p) ** power
            found[:, index] = yes / (yes + no)
            continue
        scaled = p**power
        total = scaled.sum(axis=0)
        outside = total <= 0
        scaled[0][outside] = 1
        found[:, index] = scaled / np.where(outside, 1, total)
    return found


def surprise(sample: Sample, temperature: float, has_regions: bool) -> float:
    """Mean negative log-likelihood of a sample's voxels, nats; of regions the mean over them."""
    logs = np.log(np.maximum(sample.probabilities, _LEAST)) / temperature
    if has_regions:
        others = np.log(np.maximum(1 - sample.probabilities, _LEAST)) / temperature
        chosen = np.where(sample.truth, logs, others)
        return float((np.logaddexp(logs, others) - chosen).mean())
    top = logs.max(axis=1, keepdims=True)
    total = np.log(np.exp(logs - top).sum(axis=1)) + top[:, 0]
    return float((total - logs[sample.truth]).mean())


def fit_temperature(samples: Sequence[Sample], has_regions: bool) -> float:
    """The temperature with the least mean surprise; each case counts as much as any other."""
    from scipy.optimize import minimize_scalar

    def mean(logarithm: float) -> float:
        return float(np.mean([surprise(each, float(np.exp(logarithm)), has_regions) for each in samples]))

    found = minimize_scalar(
        mean, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-3}
    )
    return float(np.exp(found.x))
