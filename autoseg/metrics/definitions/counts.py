"""Voxel counts, which the overlaps follow from."""

from __future__ import annotations

from autoseg.metrics.comparison import Comparison
from autoseg.metrics.register import metric
from autoseg.metrics.scales import VOXELS


@metric("tp.v1", VOXELS, group="counts", ranked=False)
def tp(case: Comparison) -> float:
    """Voxels of the structure in both."""
    return float(case.counts.tp)


@metric("fp.v1", VOXELS, group="counts", ranked=False)
def fp(case: Comparison) -> float:
    """Voxels of the structure in the prediction alone."""
    return float(case.counts.fp)


@metric("fn.v1", VOXELS, group="counts", ranked=False)
def fn(case: Comparison) -> float:
    """Voxels of the structure in the reference alone."""
    return float(case.counts.fn)


@metric("tn.v1", VOXELS, group="counts", ranked=False)
def tn(case: Comparison) -> float:
    """Voxels of the structure in neither."""
    return float(case.counts.tn)
