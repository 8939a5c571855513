"""Measures of probabilities, not of segmentations: calibration and the area under the ROC curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Probabilities = NDArray[np.floating]

# Far from a structure every probability is near 0 and every model well calibrated: only this much around
# the reference is evaluated. Pixels where an image has no physical size.
MARGIN_MM = 10.0
BINS = 15
ROC_BINS = 4096


@dataclass(frozen=True)
class Calibration:
    """Calibration of one structure's probabilities around its reference.

    Attributes:
        expected_error: ECE, the mean over bins of |mean probability - share of foreground|, weighted by
            the number of voxels (Guo et al. 2017, arXiv:1706.04599).
        brier: mean squared difference of probability and truth (Brier 1950).
    """

    expected_error: float
    brier: float


def calibration(
    reference: Bools,
    probabilities: Probabilities,
    spacing_mm: tuple[float, ...],
    ignored: Bools | None = None,
    margin_mm: float = MARGIN_MM,
) -> Calibration | None:
    """Compare probabilities with the truth, inside the reference's foreground and a margin around it.

    Args:
        reference: boolean, 2D or 3D.
        probabilities: values in [0, 1], of the same shape.
        spacing_mm: voxel size in array order.
        ignored: voxels to leave out.
        margin_mm: width of the margin.

    Returns:
        None if the reference is empty.
    """
    box = _box(reference, spacing_mm, margin_mm)
    if box is None:
        return None
    inside = within_margin(reference[box], spacing_mm, margin_mm)
    if ignored is not None:
        inside &= ~ignored[box]
    truth = reference[box][inside].astype(np.float64)
    given = probabilities[box][inside].astype(np.float64)
    bins = np.minimum((given * BINS).astype(np.intp), BINS - 1)
    gaps = np.bincount(bins, weights=given - truth, minlength=BINS)
    return Calibration(float(np.abs(gaps).sum() / truth.size), float(np.mean((given - truth) ** 2)))


def roc_auc(
    reference: Bools, probabilities: Probabilities, ignored: Bools | None = None, bins: int = ROC_BINS
) -> float | None:
    """Area under the ROC curve over all voxels, from a histogram: no sort, ties within a bin count half.

    Returns:
        None if the reference is empty or fills the image.
    """
    positive = np.zeros(bins, np.int64)
    negative = np.zeros(bins, np.int64)
    for i in range(len(reference)):
        truth = reference[i].ravel()
        at = np.minimum(probabilities[i] * bins, bins - 1).astype(np.intp).ravel()
        counted = slice(None) if ignored is None else ~ignored[i].ravel()
        truth, at = truth[counted], at[counted]
        positive += np.bincount(at[truth], minlength=bins)
        negative += np.bincount(at[~truth], minlength=bins)
    pairs = float(positive.sum()) * float(negative.sum())
    if not pairs:
        return None
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)


def _box(reference: Bools, spacing_mm: tuple[float, ...], margin_mm: float) -> tuple[slice, ...] | None:
    from scipy.ndimage import find_objects

    found = find_objects(reference.view(np.uint8))
    if not found:
        return None
    reach = [int(np.ceil(margin_mm / step)) for step in spacing_mm]
    return tuple(
        slice(max(0, s.start - r), min(n, s.stop + r))
        for s, r, n in zip(found[0], reach, reference.shape, strict=True)
    )


def within_margin(reference: Bools, spacing_mm: tuple[float, ...], margin_mm: float = MARGIN_MM) -> Bools:
    """Where a voxel is of a reference or no farther from it than the margin."""
    from edt import edt

    near: Bools = edt(~reference, anisotropy=spacing_mm, black_border=False, parallel=1) <= margin_mm
    return near
