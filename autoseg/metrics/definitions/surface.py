"""Distances between surfaces, over border voxels and over surface elements weighted by their area."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Literal

from autoseg.metrics.comparison import Comparison
from autoseg.metrics.register import Scale, metric
from autoseg.metrics.scales import DISTANCE, SHARE
from autoseg.metrics.surface import SurfaceDistances

SurfaceFormula = Callable[[SurfaceDistances, float], float]


def _on_surfaces(
    name: str, scale: Scale, headline: Literal["voxel", "surfel"]
) -> Callable[[SurfaceFormula], SurfaceFormula]:
    """Register a formula twice: over border voxels, and over surface elements weighted by their area.

    The headline is what people mean by the name; the other definition has its surface in its name.
    """

    def register(formula: SurfaceFormula) -> SurfaceFormula:
        @wraps(formula)
        def over_voxels(case: Comparison) -> float | None:
            return None if case.voxel is None else formula(case.voxel, case.tolerance_mm)

        @wraps(formula)
        def over_surfels(case: Comparison) -> float | None:
            return None if case.surfel is None else formula(case.surfel, case.tolerance_mm)

        for surface, over in (("voxel", over_voxels), ("surfel", over_surfels)):
            called = name if surface == headline else f"{name}_{surface}"
            metric(f"{name}.{surface}.v1", scale, name=called, group="surface", ranked=True)(over)
        return formula

    return register


@_on_surfaces("nsd", SHARE, headline="surfel")
def nsd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Normalised surface Dice: share of both surfaces within the tolerance of the other."""
    return distances.share_within(tolerance_mm)


@_on_surfaces("hd95", DISTANCE, headline="voxel")
def hd95(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """95th percentile of the Hausdorff distance: the greater of the two directed percentiles."""
    return distances.hausdorff(95)


@_on_surfaces("hd", DISTANCE, headline="voxel")
def hd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Hausdorff distance: the greatest distance from one surface to the other."""
    return distances.hausdorff()


@_on_surfaces("assd", DISTANCE, headline="voxel")
def assd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Average symmetric surface distance: mean over all elements of both surfaces."""
    return distances.mean_symmetric()


@_on_surfaces("masd", DISTANCE, headline="voxel")
def masd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Mean average surface distance: mean of the two directed means."""
    return distances.mean_of_directed()
