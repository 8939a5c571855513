"""Probabilities that hold what they say: fitted on voxels of cases that no network had seen.

Networks are surer than they are right. Dividing all logits by one number, the temperature, mends much of it
and changes no order of labels in a voxel (Guo, Pleiss, Sun and Weinberger, On calibration of modern neural
networks, ICML 2017). A loss that counts Dice also has them find too much of a structure, which a number for
each head mends that is added to its logit (their vector scaling, with one scale for all). Of probabilities
the temperature is a power: softmax(z / T) is softmax(z)^(1/T), scaled to a sum of 1, so that a mean over
networks can be calibrated too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]

# Nothing outside of this is believed.
COLDEST, HOTTEST, STRONGEST = 0.1, 10.0, 5.0
# Smaller probabilities are rounding.
_LEAST = 1e-12
_RIDGE = 1e-4


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


@dataclass(frozen=True)
class Calibration:
    """What is done to probabilities.

    Attributes:
        temperature: logits are divided by it: above 1 they become less sure, below surer.
        bias: then added to the logit of each head; empty: nothing.
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()


AS_THEY_ARE = Calibration()


def calibrated(probabilities: Floats, calibration: Calibration, has_regions: bool) -> Floats:
    """Probabilities (heads, ...) after calibration; of a voxel without any, background has all.

    Args:
        probabilities: of heads that exclude each other, or of regions, each by itself; left as they are.
        calibration: what is done.
        has_regions: which of the two.
    """
    found = np.empty(probabilities.shape, dtype=np.float32)
    power = 1 / calibration.temperature
    odds = np.exp(np.array(calibration.bias or [0.0] * len(probabilities), dtype=np.float32))
    odds = odds.reshape(-1, *([1] * (probabilities.ndim - 2)))
    # Slice by slice: the powers of a whole volume are not held.
    for index in range(probabilities.shape[1]):
        p = np.clip(probabilities[:, index].astype(np.float32), 0, 1)
        if has_regions:
            yes, no = p**power * odds, (1 - p) ** power
            found[:, index] = yes / (yes + no)
            continue
        scaled = p**power * odds
        total = scaled.sum(axis=0)
        outside = total <= 0
        scaled[0][outside] = 1
        found[:, index] = scaled / np.where(outside, 1, total)
    return found


def surprise(sample: Sample, calibration: Calibration, has_regions: bool) -> float:
    """Mean negative log-likelihood of a sample's voxels, nats; of regions the sum over them."""
    bias = np.array(calibration.bias or [0.0] * sample.probabilities.shape[1], dtype=np.float64)
    return _slope(sample, calibration.temperature, bias, has_regions)[0]


def fit_calibration(samples: Sequence[Sample], has_regions: bool, with_bias: bool) -> Calibration:
    """The calibration with the least mean surprise; each case counts as much as any other.

    Args:
        samples: at least one.
        has_regions: whether heads are regions; else the first one's bias is 0.
        with_bias: whether there is a bias, or the temperature alone.
    """
    from scipy.optimize import minimize

    heads = samples[0].probabilities.shape[1]
    first = 0 if has_regions else 1
    free = heads - first if with_bias else 0

    def mean(values: Floats) -> tuple[float, Floats]:
        bias = np.zeros(heads)
        bias[first : first + free] = values[1:]
        found = [_slope(each, float(np.exp(values[0])), bias, has_regions) for each in samples]
        by_bias = np.mean([slopes for _, _, slopes in found], axis=0)[first : first + free]
        # A head that is hardly ever there stays as it is.
        value = float(np.mean([each[0] for each in found])) + _RIDGE * float((values[1:] ** 2).sum())
        by_log = float(np.mean([each[1] for each in found]))
        return value, np.concatenate([[by_log], by_bias + 2 * _RIDGE * values[1:]])

    bounds = [(np.log(COLDEST), np.log(HOTTEST)), *[(-STRONGEST, STRONGEST)] * free]
    result = minimize(mean, np.zeros(1 + free), jac=True, bounds=bounds, method="L-BFGS-B").x
    bias = tuple(round(float(value), 4) for value in result[1:])
    return Calibration(round(float(np.exp(result[0])), 4), (*([0.0] * first), *bias) if with_bias else ())


def _slope(
    sample: Sample, temperature: float, bias: Floats, has_regions: bool
) -> tuple[float, float, Floats]:
    """The mean surprise, and its derivatives by the logarithm of the temperature and by each bias."""
    logits = np.log(np.maximum(sample.probabilities, _LEAST))
    if has_regions:
        logits = logits - np.log(np.maximum(1 - sample.probabilities, _LEAST))
        raised = logits / temperature + bias
        value = np.logaddexp(0, np.where(sample.truth, -raised, raised)).sum(axis=1).mean()
        off = 1 / (1 + np.exp(-raised)) - sample.truth
    else:
        raised = logits / temperature + bias
        raised = raised - raised.max(axis=1, keepdims=True)
        powers = np.exp(raised)
        total = powers.sum(axis=1, keepdims=True)
        value = (np.log(total[:, 0]) - raised[sample.truth]).mean()
        off = powers / total - sample.truth
    by_log = -float((off * logits).sum(axis=1).mean()) / temperature
    return float(value), by_log, np.asarray(off.mean(axis=0))
