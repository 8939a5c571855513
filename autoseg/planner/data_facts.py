"""What the decisions before training look at: the data set in a few numbers.

Everything is read from a plan, its fingerprint and the names in dataset.json. A fingerprint that nnU-Net
extracted knows no structures; then these are simply not there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoseg.data.fingerprint import Fingerprint
from autoseg.planner.budget import structure_width
from autoseg.planner.configuration import Configuration
from autoseg.planner.plan import Plan
from autoseg.planner.structures import structures_of

NATURAL_READER = "NaturalImage2DIO"


@dataclass(frozen=True)
class DataFacts:
    """A data set at the plan's target spacing, axes in the plan's order.

    Attributes:
        cases: number of cases with a reference.
        channels: number of channels of an image.
        shape: median, voxels, three axes; a 2D image has one slice.
        spacing: mm; of a 2D image's first axis without meaning.
        natural: whether the images are pictures (PNG, JPEG) without a physical size.
        widths: diameter of the ball (disc in 2D) as large as the median of each structure, in mm, or in
            pixels where there are no mm; empty if the fingerprint does not say.
        objects: the same of one connected component of a structure; empty if the fingerprint does not say.
        has_ct: whether a channel is of computed tomography.
    """

    cases: int
    channels: int
    shape: tuple[float, ...]
    spacing: tuple[float, ...]
    natural: bool
    widths: Mapping[str, float]
    has_ct: bool = False
    objects: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, fingerprint: Fingerprint) -> DataFacts:
        """Gather the facts of a plan that has all its configurations."""
        full = plan.configurations.get("3d_fullres")
        flat = plan.configurations.get("2d", full)
        shape: tuple[float, ...]
        spacing: tuple[float, ...]
        if full is not None:
            shape, spacing = full.median_shape, full.spacing
        elif flat is not None:
            shape = (1.0, *flat.median_shape)
            spacing = (plan.original_median_spacing[0], *flat.spacing)
        else:
            shape, spacing = plan.original_median_shape, plan.original_median_spacing
        return cls(
            cases=len(fingerprint.spacings),
            channels=len(plan.intensities) or 1,
            shape=tuple(map(float, shape)),
            spacing=tuple(map(float, spacing)),
            natural=plan.image_reader_writer == NATURAL_READER,
            widths=_widths(fingerprint, 2 if shape[0] == 1 else 3),
            objects={each.name: each.width for each in structures_of(fingerprint, 2 if shape[0] == 1 else 3)},
            has_ct=any("CTNormalization" in each.normalization for each in plan.configurations.values()),
        )

    @property
    def slices(self) -> float:
        """Of the median case, along its coarsest axis."""
        return self.shape[0]

    @property
    def anisotropy(self) -> float:
        """The first axis's spacing over the finest of the others; 1 for a single slice."""
        return 1.0 if self.slices <= 1 else self.spacing[0] / min(self.spacing[1:])

    @property
    def voxels(self) -> float:
        """Of the median case."""
        return math.prod(self.shape)

    @property
    def largest(self) -> tuple[str, float] | None:
        """The structure whose single objects are widest, by name."""
        return max((self.objects or self.widths).items(), key=lambda item: item[1], default=None)

    @property
    def smallest(self) -> tuple[str, float] | None:
        """The structure whose single objects are narrowest, by name."""
        return min((self.objects or self.widths).items(), key=lambda item: item[1], default=None)

    @property
    def structures(self) -> dict[str, Any]:
        """The largest and the smallest structure in mm (pixels of a picture) and voxels, where known."""
        axes = self.spacing[1:] if self.slices <= 1 else self.spacing
        step = math.prod(axes) ** (1 / len(axes))
        found = {"largest_structure": self.largest, "smallest_structure": self.smallest}
        return {
            key: {"name": each[0], "width": round(each[1], 1), "voxels": round(each[1] / step, 1)}
            for key, each in found.items()
            if each is not None
        }


def _widths(fingerprint: Fingerprint, dimensions: int) -> dict[str, float]:
    sizes: Mapping[str, Any] = fingerprint.class_sizes.get("structures", {}) or {}
    found = {
        name: structure_width(float(each.get("median", 0.0)), dimensions) for name, each in sizes.items()
    }
    return {name: width for name, width in found.items() if width > 0}


def extent(patch: Sequence[int], spacing: Sequence[float]) -> tuple[float, ...]:
    """What a patch sees along each axis, mm."""
    return tuple(n * step for n, step in zip(patch, spacing, strict=True))


def coverage(configuration: Configuration) -> float:
    """The part of the median case that a patch of the configuration sees, at most 1."""
    pairs = zip(configuration.patch_size, configuration.median_shape, strict=True)
    return math.prod(min(1.0, patch / max(whole, 1.0)) for patch, whole in pairs)
