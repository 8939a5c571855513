"""How large the labelled structures are, in mm: one object of a class, not all of them as one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoseg.data.fingerprint import Fingerprint
from autoseg.planner.budget import structure_width


@dataclass(frozen=True)
class Structure:
    """A labelled structure as it typically is; lengths in mm, in pixels of pictures.

    Attributes:
        name: its name.
        width: diameter of the ball (disc in 2D) that is as large as one connected component of it.
        extents: voxels of a component along each axis, in array order; the width, where a fingerprint has
            none.
    """

    name: str
    width: float
    extents: tuple[float, ...]

    def fits(self, patch: Sequence[int], spacing: Sequence[float], whole: Sequence[float]) -> bool:
        """Whether a patch holds it along every axis, or holds all that there is.

        Args:
            patch: voxels per axis.
            spacing: spacing of the patch; of a 2D patch, of the last two axes.
            whole: median shape of the cases, voxels per axis.
        """
        extents = self.extents[-len(patch) :]
        return all(
            n * step >= min(self.width, extent, most * step) * (1 - 1e-6)
            for n, step, most, extent in zip(patch, spacing, whole, extents, strict=True)
        )

    def share(self, spacing: Sequence[float], whole: Sequence[float]) -> float:
        """Part of an image that the box around it takes, at most 1.

        Args:
            spacing: as in `fits`.
            whole: voxels per axis of the image.
        """
        lengths = [n * step for n, step in zip(whole, spacing, strict=True)]
        extents = self.extents[-len(lengths) :]
        return math.prod(min(each / length, 1.0) for each, length in zip(extents, lengths, strict=True))

    def turned(self, order: Sequence[int]) -> Structure:
        """The same with its axes in another order."""
        return Structure(self.name, self.width, tuple(self.extents[axis] for axis in order))


def smallest_structure(fingerprint: Fingerprint, dimensions: int) -> Structure | None:
    """The narrowest structure of a data set; None where the fingerprint knows none."""
    return min(structures_of(fingerprint, dimensions), key=lambda each: each.width, default=None)


def structures_of(fingerprint: Fingerprint, dimensions: int) -> list[Structure]:
    """The structures that a fingerprint knows.

    Its size is the median of its connected components. A fingerprint from before there were such counts knows
    the whole class of a case only.

    Args:
        fingerprint: the fingerprint of the data set.
        dimensions: 2 for single slices, 3 for volumes.
    """
    sizes: Mapping[str, Any] = fingerprint.class_sizes.get("structures", {}) or {}
    found = [_structure(name, each, dimensions) for name, each in sizes.items()]
    return [each for each in found if each.width > 0]


def _structure(name: str, sizes: Mapping[str, Any], dimensions: int) -> Structure:
    parts = sizes.get("components") or {}
    width = structure_width(float(parts.get("median", sizes.get("median", 0.0))), dimensions)
    return Structure(name, width, tuple(map(float, parts.get("extent", (width,) * 3))))


def in_voxels(length: float, spacing: Sequence[float]) -> float:
    """A length as a number of voxels, of the cube (square) that is as large as one voxel."""
    return length / float(math.prod(spacing) ** (1 / len(spacing)))
