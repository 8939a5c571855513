"""How far probabilities hold what they say: expected calibration error, Brier score, and the diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoseg.decoding.temperature import Calibration, Sample, calibrated, surprise
from autoseg.metrics.calibration import BINS


def reliability(
    samples: Sequence[Sample], calibrations: Sequence[Calibration], has_regions: bool
) -> dict[str, Any]:
    """What is measured of the structures' probabilities; every case counts as much as any other.

    Args:
        samples: voxels of cases.
        calibrations: of each, fitted without it.
        has_regions: whether heads are regions; else the first is background, which is left out.

    Returns:
        ``expected_error``: ECE of `BINS` bins (Guo et al. 2017), the mean over structures; ``brier``: mean
        squared error; ``surprise``: negative log-likelihood, nats; ``diagram``: of each bin the mean
        probability, the share that is of the structure, and the share of all voxels, of all structures
        together; bins without voxels are left out.
    """
    first = 0 if has_regions else 1
    heads = samples[0].probabilities.shape[1] - first
    # Sums of weights, probabilities, truth, by structure and bin.
    sums = np.zeros((3, heads, BINS))
    squares, surprises = [], []
    for sample, calibration in zip(samples, calibrations, strict=True):
        given = calibrated(sample.probabilities.T[:, None], calibration, has_regions)
        p = given[first:, 0].astype(np.float64)
        truth = sample.truth.T[first:].astype(np.float64)
        bins = np.minimum((p * BINS).astype(np.intp), BINS - 1) + BINS * np.arange(heads)[:, None]
        for row, values in enumerate((np.ones_like(p), p, truth)):
            counted = np.bincount(bins.ravel(), weights=values.ravel(), minlength=heads * BINS)
            sums[row] += counted.reshape(heads, BINS) / p.shape[1]
        squares.append(float(((p - truth) ** 2).mean()))
        surprises.append(surprise(sample, calibration, has_regions))
    weights, said, true = sums
    errors = np.abs(said - true).sum(axis=1) / weights.sum(axis=1)
    of_bins = sums.sum(axis=1)
    return {
        "expected_error": round(float(errors.mean()), 6),
        "brier": round(float(np.mean(squares)), 6),
        "surprise": round(float(np.mean(surprises)), 6),
        "diagram": [
            [round(float(s / w), 4), round(float(t / w), 4), round(float(w / of_bins[0].sum()), 6)]
            for w, s, t in of_bins.T
            if w > 0
        ],
    }
