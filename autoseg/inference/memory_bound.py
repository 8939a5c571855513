"""How much memory a prediction takes at most, counted before it begins, and the strips that keep it small.

Logits of all classes of a large volume at once take more than everything else: 117 classes of 512 x 512 x 300
voxels are 37 GB. They are added up slab by slab along z; a slab is at least a patch deep, and still grows
with the classes. So where it would be too large, the volume is predicted in strips along y, one after the
other. Windows at a border are predicted for both strips: the logits are the same, for more time.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autoseg.data.bounds import free_bytes
from autoseg.data.dataset import labels_from_json
from autoseg.inference.network import channels_of
from autoseg.inference.sliding_window import SLAB_BYTES
from autoseg.preprocessing.restore import VOXELS_AT_ONCE

if TYPE_CHECKING:
    from autoseg.bundle.segment import Segmenter
    from autoseg.data.labels import Labels
    from autoseg.inference.model import Model
    from autoseg.planner.configuration import Configuration
    from autoseg.preprocessing.axes import PlannedAxes

# Part of the free memory that logits may take, and what they may take in any case.
FREE_PART, LEAST_BYTES = 1 / 4, 2**30
# A strip is at least this part of a patch high: lower ones predict most windows several times.
LEAST_PART = 1 / 4
FLOAT = 4
# Of a voxel of the raw image: its mask, the nonzero region's components and its labels.
MASKS = 12
# After the network: components of labels and what says how good they are.
AFTERWARDS = 16
# What allocators round up, and what is small.
MARGIN, REST = 1.05, 32 * 2**20


@functools.cache
def logits_limit() -> int:
    """Bytes that logits which are added up may take, with the copy that is resampled."""
    return max(LEAST_BYTES, int(FREE_PART * free_bytes()))


def strips(
    shape: Sequence[int], patch: Sequence[int], heads: int, limit: int | None = None
) -> list[tuple[int, int]]:
    """The parts of y that are predicted one after the other, [first, last).

    Each but the first begins with the last row of the one before, for the interpolation between them.

    Args:
        shape: (z, y, x) of a preprocessed case.
        patch: of the network; two axes predict slice by slice.
        heads: of the network.
        limit: bytes; None: a part of the free memory.
    """
    _, rows, columns = shape
    depth = 1 if len(patch) == 2 else patch[0]
    a_row = 2 * FLOAT * heads * depth * max(columns, patch[-1])
    most = max((logits_limit() if limit is None else limit) // a_row, math.ceil(LEAST_PART * patch[-2]), 2)
    if rows <= most:
        return [(0, rows)]
    count = math.ceil(rows / (most - 1))
    edges = [round(rows * number / count) for number in range(count + 1)]
    return [(max(0, first - 1), last) for first, last in itertools.pairwise(edges)]


@dataclass(frozen=True)
class Bound:
    """What a prediction takes at most.

    Attributes:
        parts: bytes by what they are for, of the moment that takes most.
        strips: that the logits come in.
    """

    parts: dict[str, float] = field(default_factory=dict)
    strips: int = 1

    @property
    def total(self) -> int:
        """Bytes, with what allocators round up."""
        return int(MARGIN * sum(self.parts.values())) + REST

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {gigabytes(each)}" for name, each in self.parts.items() if each > 5e6)
        strips = f", in {self.strips} strips" if self.strips > 1 else ""
        return f"at most {gigabytes(self.total)} ({parts}{strips})"


@dataclass(frozen=True)
class Needs:
    """What of a model the memory of its predictions depends on.

    Attributes:
        plan: for the order of the axes.
        configuration: for grid and patch.
        labels: how many heads there are, and how wide a label is.
        channels: of the network's input.
        averaged: whether probabilities of all classes are made on the raw image's grid, as of several models.
        bundled: whether it is a bundle's, which adds up a row of windows at a time, and takes no strips.
        copies: mirrored copies whose logits a bundle has at once.
        cases: preprocessed at once: of several models each has its own.
    """

    plan: PlannedAxes
    configuration: Configuration
    labels: Labels
    channels: int
    averaged: bool = False
    bundled: bool = False
    copies: int = 1
    cases: int = 1

    @classmethod
    def of_model(cls, model: Model, averaged: bool, cases: int = 1) -> Needs:
        """Those of a model folder's networks."""
        return cls(
            model.plan,
            model.configuration,
            labels_from_json(model.dataset_json),
            channels_of(model.configuration, model.dataset_json),
            averaged=averaged or model.averages_probabilities,
            cases=cases,
        )

    @classmethod
    def of_bundle(cls, loaded: Segmenter, averaged: bool) -> list[Needs]:
        """Those of a bundle's members, and of the first stages of their cascades."""
        about = loaded.description
        averaged = averaged or len(about.members) > 1 or loaded.decoding.changes_segmentations
        return [
            cls(
                *(each.plan, each.configuration, about.labels, about.inputs(each)),
                averaged=averaged or each.averages_probabilities,
                bundled=True,
                copies=2 ** len(each.mirror_axes) if loaded.mirroring else 1,
            )
            for each in about.stages
        ]

    @property
    def heads(self) -> int:
        """Of the networks."""
        return self.labels.num_heads

    def logits(self, grid: Sequence[int], raw: int) -> tuple[float, int]:
        """Bytes of all logits that are there at once, with those that are resampled; and the strips.

        Args:
            grid: (z, y, x) of the network's grid.
            raw: voxels of the raw image.
        """
        patch, voxels = self.configuration.patch_size, math.prod(grid)
        depth = 1 if len(patch) == 2 else patch[0]
        columns = max(grid[2], patch[-1])
        parts = [(0, max(grid[1], patch[-2]))] if self.bundled else strips(grid, patch, self.heads)
        rows = max(last - first for first, last in parts)
        weights = 3 * depth * max(rows, 1) * columns * FLOAT
        if self.averaged:
            # All logits and their probabilities, on the network's grid and on the image's.
            arrays = 5 if self.bundled else 3
            return FLOAT * self.heads * (arrays * voxels + 4 * raw) + weights, 1
        if self.bundled:
            # Sums, what is yielded of them, the rest that is moved up, and twice what is resampled.
            windows = FLOAT * self.heads * math.prod(patch) * (self.copies + 3)
            floats = FLOAT * self.heads * (5 * depth + 3) * rows * columns
            return floats + self.heads * depth * rows * columns + weights + windows, 1
        length = max(depth, min(max(grid[0], depth), SLAB_BYTES // (FLOAT * self.heads * rows * columns)))
        floats = FLOAT * self.heads * (2 * length + 3) * rows * columns
        return floats + self.heads * length * rows * columns + weights, len(parts)


def bound_of(
    needs: Needs, shape: Sequence[int], spacing: Sequence[float], process: float, network: float
) -> Bound:
    """The bound of one model and one case.

    Args:
        needs: of what predicts.
        shape: (z, y, x) of the raw image.
        spacing: mm, same axes.
        process: bytes of the process before.
        network: bytes that a pass takes.
    """
    order, configuration = needs.plan.transpose, needs.configuration
    label_bytes = 1 if len(needs.labels.all_values) - 1 < 255 else 2
    turned = [shape[axis] for axis in order]
    grid = _grid(turned, [spacing[axis] for axis in order], configuration.spacing)
    raw, voxels = math.prod(shape), math.prod(grid)
    image = FLOAT * len(configuration.normalization) * raw
    arrays = {"the program": process, "the image": float(image)}
    data = FLOAT * needs.channels * voxels
    before = {"its file and masks": image + MASKS * raw, "preprocessing": data + 3 * FLOAT * max(raw, voxels)}
    after = {"the segmentation": (3 * label_bytes + AFTERWARDS) * raw}
    logits, parts = needs.logits(grid, raw)
    resampled = 6 * FLOAT * max(VOXELS_AT_ONCE, turned[1] * turned[2]) + 2**28  # and the evidence's
    during = {
        "preprocessed": (1 + needs.cases) * data,
        "a pass of the network": network,
        "logits": logits,
        "resampling": resampled,
        "the segmentation": label_bytes * raw,
    }
    moments = [{**arrays, **{name: float(each) for name, each in m.items()}} for m in (before, during, after)]
    return Bound(max(moments, key=lambda each: sum(each.values())), parts)


def _grid(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> list[int]:
    """Voxels along each axis after resampling; slices of a 2D configuration stay."""
    kept = len(shape) - len(target)
    inside = zip(shape[kept:], spacing[kept:], target, strict=True)
    return [*shape[:kept], *(max(1, math.ceil(n * old / new)) for n, old, new in inside)]


def gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB"
