"""Lesions that are found, missed and invented."""

from __future__ import annotations

from autoseg.metrics.comparison import Comparison
from autoseg.metrics.register import metric
from autoseg.metrics.scales import LESIONS, SHARE


@metric("lesion_f1.v1", SHARE, group="lesions", ranked=True)
def lesion_f1(case: Comparison) -> float | None:
    """F1 score of lesions that match one to one (recognition quality)."""
    return None if case.lesions is None else case.lesions.f1


@metric("lesion_sq.v1", SHARE, group="lesions", ranked=True)
def lesion_sq(case: Comparison) -> float | None:
    """Mean IoU of the matched lesions (segmentation quality); undefined if none matched."""
    return None if case.lesions is None else case.lesions.segmentation_quality


@metric("lesion_pq.v1", SHARE, group="lesions", ranked=True)
def lesion_pq(case: Comparison) -> float | None:
    """Panoptic quality of the lesions, F1 times SQ."""
    return None if case.lesions is None else case.lesions.panoptic_quality


@metric("lesion_false_positives.v1", LESIONS, group="lesions", ranked=False)
def lesion_false_positives(case: Comparison) -> float:
    """Lesions of the prediction that match none of the reference."""
    return float(case.lesions.invented) if case.lesions else 0.0
