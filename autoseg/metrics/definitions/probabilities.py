"""Calibration and ROC, from the predicted probabilities."""

from __future__ import annotations

from autoseg.metrics.calibration import roc_auc as area_under_curve
from autoseg.metrics.comparison import Comparison
from autoseg.metrics.register import metric
from autoseg.metrics.scales import ERROR, SHARE


@metric("roc_auc.v1", SHARE, group="probabilities", ranked=False, needs="probabilities")
def roc_auc(case: Comparison) -> float | None:
    """Area under the ROC curve over all voxels, from a histogram of 4096 bins."""
    whole = case.whole
    return None if whole is None else area_under_curve(whole.reference, whole.probabilities, whole.ignored)


@metric("ece.v1", ERROR, group="probabilities", ranked=False, needs="probabilities")
def ece(case: Comparison) -> float | None:
    """Expected calibration error over 15 bins, within 10 mm of the reference."""
    return None if case.calibration is None else case.calibration.expected_error


@metric("brier.v1", ERROR, group="probabilities", ranked=False, needs="probabilities")
def brier(case: Comparison) -> float | None:
    """Brier score: mean squared error of the probability, within 10 mm of the reference."""
    return None if case.calibration is None else case.calibration.brier
