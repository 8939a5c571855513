"""Errors of volumes and areas."""

from __future__ import annotations

from autoseg.metrics.comparison import Comparison
from autoseg.metrics.register import metric
from autoseg.metrics.scales import ERROR, SIGNED_AREA, SIGNED_VOLUME, divide


@metric("volume_error.v1", SIGNED_VOLUME, group="volume", ranked=False, needs="3d")
def volume_error(case: Comparison) -> float:
    """Signed volume error, prediction minus reference."""
    return (case.counts.fp - case.counts.fn) * case.voxel_size / 1000


@metric("area_error.v1", SIGNED_AREA, group="volume", ranked=False, needs="2d")
def area_error(case: Comparison) -> float:
    """Signed area error of a 2D image, prediction minus reference."""
    return (case.counts.fp - case.counts.fn) * case.voxel_size


@metric("relative_volume_error.v1", ERROR, group="volume", ranked=False)
def relative_volume_error(case: Comparison) -> float | None:
    """Absolute volume (2D: area) error over the reference's; undefined for an empty reference."""
    return divide(abs(case.counts.fp - case.counts.fn), case.counts.in_reference)
