"""Lesions: connected components of a structure, matched one to one between reference and prediction.

Recognition and segmentation quality are those of panoptic quality (Kirillov et al. 2019,
doi:10.1109/CVPR.2019.00963): PQ = F1 x SQ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import UsageError


@dataclass(frozen=True)
class LesionRule:
    """What counts as a lesion and as a found one; part of every published result.

    Attributes:
        connectivity: neighbours of a voxel: 6, 18 or 26 in 3D, 4 or 8 in 2D; None for all of them.
        iou_threshold: a pair matches where its IoU is greater. From 0.5 on, pairs are unique; below, the
            pairs with the greatest IoU go first.
        minimum_volume: smaller components are left out on both sides; mm^3 in 3D, mm^2 in 2D.
    """

    connectivity: int | None = None
    iou_threshold: float = 0.5
    minimum_volume: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.iou_threshold < 1:
            raise UsageError(f"The IoU threshold is {self.iou_threshold}. Give a number from 0 to below 1.")
        if self.connectivity not in (None, 4, 8, 6, 18, 26):
            raise UsageError(f"The connectivity is {self.connectivity}. Give 4 or 8 (2D), 6, 18 or 26 (3D).")

    def neighbours(self, dimensions: int) -> int:
        """The connectivity in an image of that many dimensions."""
        allowed = (4, 8) if dimensions == 2 else (6, 18, 26)
        chosen = self.connectivity or allowed[-1]
        if chosen not in allowed:
            raise UsageError(f"Connectivity {chosen} does not exist in {dimensions}D. Give one of {allowed}.")
        return chosen

    def to_json(self) -> Mapping[str, Any]:
        """The rule as it is published; a connectivity of null means all neighbours."""
        return asdict(self)


@dataclass(frozen=True)
class LesionMatch:
    """How the lesions of one structure in one case were found.

    Attributes:
        matched: IoU of each matched pair.
        missed: lesions of the reference without a match.
        invented: lesions of the prediction without a match (false positives).
    """

    matched: tuple[float, ...]
    missed: int
    invented: int

    @property
    def f1(self) -> float:
        """Recognition quality, 2 TP / (2 TP + FP + FN); 1 if there is nothing and nothing found."""
        whole = 2 * len(self.matched) + self.missed + self.invented
        return 2 * len(self.matched) / whole if whole else 1.0

    @property
    def segmentation_quality(self) -> float | None:
        """Mean IoU of the matched pairs; None if no lesion matched."""
        if self.matched:
            return sum(self.matched) / len(self.matched)
        return None if self.missed or self.invented else 1.0

    @property
    def panoptic_quality(self) -> float:
        """F1 times segmentation quality; 0 if no lesion matched."""
        return self.f1 * (self.segmentation_quality or 0.0)


def match_lesions(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    rule: LesionRule,
) -> LesionMatch:
    """Find the lesions of both segmentations and pair them.

    Args:
        reference: boolean, 2D or 3D.
        prediction: boolean, of the same shape.
        spacing_mm: voxel size in array order.
        rule: what counts.
    """
    least = rule.minimum_volume / float(np.prod(spacing_mm))
    a, n_a = _components(reference, rule, least)
    b, n_b = _components(prediction, rule, least)
    overlap = _overlaps(a, b, n_b)
    sizes_a, sizes_b = np.bincount(a.ravel(), minlength=n_a + 1), np.bincount(b.ravel(), minlength=n_b + 1)
    matched: list[float] = []
    used_a: set[int] = set()
    used_b: set[int] = set()
    ious = [(n / float(sizes_a[i] + sizes_b[j] - n), i, j) for (i, j), n in overlap.items()]
    for iou, i, j in sorted(ious, key=lambda each: (-each[0], each[1], each[2])):
        if iou > rule.iou_threshold and i not in used_a and j not in used_b:
            matched.append(iou)
            used_a.add(i)
            used_b.add(j)
    return LesionMatch(tuple(matched), n_a - len(matched), n_b - len(matched))


def _components(
    segmentation: NDArray[np.bool_], rule: LesionRule, least_voxels: float
) -> tuple[NDArray[np.uint32], int]:
    """Number the components from 1, without those below the minimum."""
    import cc3d

    neighbours = rule.neighbours(segmentation.ndim)
    labels = cc3d.connected_components(segmentation, connectivity=neighbours, out_dtype=np.uint32)
    sizes = np.bincount(labels.ravel())
    kept = sizes >= least_voxels
    kept[0] = False
    renumbered = np.cumsum(kept, dtype=np.uint32) * kept
    return renumbered.astype(np.uint32)[labels], int(kept.sum())


def _overlaps(a: NDArray[np.uint32], b: NDArray[np.uint32], n_b: int) -> dict[tuple[int, int], int]:
    """Voxels that each pair of components shares."""
    both = (a > 0) & (b > 0)
    pairs, counts = np.unique(a[both].astype(np.int64) * (n_b + 1) + b[both], return_counts=True)
    return {divmod(int(p), n_b + 1): int(n) for p, n in zip(pairs, counts, strict=True)}
