"""Whether a low-resolution stage is needed, and at what spacing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoseg.planner.plan import Configuration, Decision
from autoseg.planner.plan_configuration import Common, plan_configuration

# Spacing grows by this factor until the patch covers enough.
STEP = 1.03
# Axes that are finer than the coarsest one by more than this grow first, alone.
ISOTROPIC_WITHIN = 2
# A stage that has not at least this factor fewer voxels is not worth a training.
LEAST_SAVING = 2


def plan_lowres(
    fullres: Configuration, median_shape: Sequence[float], common: Common
) -> tuple[Configuration | None, list[Decision]]:
    """Plan ``3d_lowres`` if the full-resolution patch sees too little of a case.

    Args:
        fullres: the full-resolution configuration.
        median_shape: voxels per axis at full resolution.
        common: what all configurations share.

    Returns:
        The configuration or None, and the decisions.
    """
    full_spacing, full_shape = np.array(fullres.spacing), np.array(median_shape, dtype=float)
    full_voxels = float(np.prod(full_shape))
    threshold = common.resources.preset.lowres_below
    spacing, voxels = full_spacing.copy(), full_voxels
    covered = math.prod(fullres.patch_size) / full_voxels
    first_covered = covered
    lowres: Configuration | None = None
    decisions: list[Decision] = []
    while covered < threshold:
        spacing = _coarser(spacing)
        shape = full_spacing / spacing * full_shape
        voxels = float(np.prod(shape))
        rounded = tuple(round(n) for n in shape.tolist())
        lowres, decisions = plan_configuration(
            "3d_lowres", spacing.tolist(), rounded, voxels * common.cases, common
        )
        covered = math.prod(lowres.patch_size) / voxels
    saving = full_voxels / voxels
    if lowres is not None and saving < LEAST_SAVING:
        lowres, decisions = None, []
    inputs = {"covered": first_covered, "threshold": threshold, "saving": saving, "spacing": spacing.tolist()}
    return lowres, [_decision(lowres, inputs, common), *decisions]


def _coarser(spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coarser by one step: first the axes that are much finer than the coarsest, then all."""
    finer = spacing.max() / spacing > ISOTROPIC_WITHIN
    grown = spacing.copy()
    grown[finer if finer.any() else slice(None)] *= STEP
    return grown


def _decision(lowres: Configuration | None, inputs: dict[str, object], common: Common) -> Decision:
    return Decision(
        "3d_lowres",
        "planned, with a cascade" if lowres is not None else "not planned",
        f"planned if the full-resolution patch covers less than {common.resources.preset.lowres_below:.0%} "
        f"of the median case; spacing grows by {STEP - 1:.0%} until its patch does; dropped if that saves "
        f"less than {LEAST_SAVING}x voxels",
        inputs,
        common.resources.source,
    )
