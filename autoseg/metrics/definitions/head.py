"""Head circumference."""

from __future__ import annotations

from autoseg.metrics.comparison import Comparison
from autoseg.metrics.head_circumference import head_circumference
from autoseg.metrics.register import metric
from autoseg.metrics.scales import LENGTH_ERROR, SIGNED_LENGTH


@metric("hc_error.v1", SIGNED_LENGTH, group="head", ranked=False, needs="2d")
def hc_error(case: Comparison) -> float:
    """Signed error of the head circumference, prediction minus reference."""
    predicted, true = (head_circumference(s, case.spacing_mm) for s in (case.prediction, case.reference))
    return predicted - true


@metric("hc_absolute_error.v1", LENGTH_ERROR, group="head", ranked=True, needs="2d")
def hc_absolute_error(case: Comparison) -> float:
    """Absolute error of the head circumference; a missed head is off by all of it."""
    return abs(hc_error(case))
