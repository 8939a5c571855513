"""One structure of one case, reference and prediction side by side: what every metric is computed from.

Surfaces, lesions and calibration are found when the first metric asks for them and kept for the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoseg.metrics.calibration import Calibration, Probabilities, calibration
from autoseg.metrics.lesions import LesionMatch, LesionRule, match_lesions
from autoseg.metrics.surface import Definition, SurfaceDistances, surface_distances

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Counts:
    """Voxels of one structure: true and false, positive and negative; ignored voxels are left out."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def in_reference(self) -> int:
        """Voxels of the structure in the reference."""
        return self.tp + self.fn

    @property
    def in_prediction(self) -> int:
        """Voxels of the structure in the prediction."""
        return self.tp + self.fp


@dataclass(frozen=True)
class CaseCounts:
    """All structures of one case.

    Attributes:
        structures: voxel counts of each.
        agreeing: voxels whose label is the same in reference and prediction, background included.
        voxels: voxels of the whole image without ignored ones.
    """

    structures: tuple[Counts, ...]
    agreeing: int
    voxels: int


@dataclass(frozen=True)
class WholeImage:
    """Probabilities of a structure with its reference, not cropped: calibration looks at the surroundings."""

    probabilities: Probabilities
    reference: Bools
    ignored: Bools | None


@dataclass(frozen=True)
class Comparison:
    """One structure of one case.

    Attributes:
        structure: its name.
        counts: voxels over the whole image.
        reference: boolean, cropped to both segmentations; 2D or 3D.
        prediction: boolean, of the same shape.
        ignored: voxels without a truth in the same crop, or None.
        spacing_mm: voxel size in array order.
        diagonal: diagonal of the whole image, mm.
        tolerance_mm: tolerance of the surface Dice.
        lesion_rule: what counts as a lesion.
        whole: the probabilities, where there are any.
    """

    structure: str
    counts: Counts
    reference: Bools
    prediction: Bools
    ignored: Bools | None
    spacing_mm: tuple[float, ...]
    diagonal: float
    tolerance_mm: float = 2.0
    lesion_rule: LesionRule = field(default_factory=LesionRule)
    whole: WholeImage | None = None

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.spacing_mm)

    @property
    def voxel_size(self) -> float:
        """Volume (3D, mm^3) or area (2D, mm^2) of a voxel."""
        return math.prod(self.spacing_mm)

    @cached_property
    def voxel(self) -> SurfaceDistances | None:
        """Distances between the border voxels; None if a segmentation is empty."""
        return self._distances("voxel")

    @cached_property
    def surfel(self) -> SurfaceDistances | None:
        """Distances between the surface elements; None if a segmentation is empty."""
        return self._distances("surfel")

    def _distances(self, definition: Definition) -> SurfaceDistances | None:
        if not (self.counts.in_reference and self.counts.in_prediction):
            return None
        return surface_distances(self.reference, self.prediction, self.spacing_mm, definition, self.ignored)

    @cached_property
    def lesions(self) -> LesionMatch | None:
        """The matched lesions; None if both segmentations are empty."""
        if not (self.counts.in_reference or self.counts.in_prediction):
            return None
        return match_lesions(self.reference, self.prediction, self.spacing_mm, self.lesion_rule)

    @cached_property
    def calibration(self) -> Calibration | None:
        """Calibration around the reference; None without probabilities or reference."""
        if self.whole is None:
            return None
        whole = self.whole
        return calibration(whole.reference, whole.probabilities, self.spacing_mm, whole.ignored)
