"""How much memory a prediction takes at most, said before it begins, and the strips that keep it small.

Logits of all classes of a large volume at once take more than everything else: 117 classes of 512 x 512 x 300
voxels are 37 GB. They are added up slab by slab along z; a slab is at least a patch deep, and still grows
with the classes. So where it would be too large, the volume is predicted in strips along y, one after the
other. Windows at a border are predicted for both strips: the logits are the same, for more time.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.bounds import free_bytes
from autoseg.data.dataset import labels_from_json
from autoseg.data.formats import itk_header
from autoseg.inference.network import channels_of
from autoseg.inference.sliding_window import SLAB_BYTES, predict_slabs
from autoseg.preprocessing.restore import VOXELS_AT_ONCE
from autoseg.system.process_memory import forget_peak, peak_bytes

if TYPE_CHECKING:
    from autoseg.data.dataset import Case
    from autoseg.data.labels import Labels
    from autoseg.inference.model import Model

log = logging.getLogger(__name__)

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
# Below this, all logits of a case are little beside the program itself, and nothing is said.
WORTH_SAYING = 100 * 2**20


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
        parts = ", ".join(f"{name} {_gb(each)}" for name, each in self.parts.items() if each > 5e6)
        strips = f", in {self.strips} strips" if self.strips > 1 else ""
        return f"at most {_gb(self.total)} ({parts}{strips})"


def bound_of(
    model: Model,
    shape: Sequence[int],
    spacing: Sequence[float],
    process: float,
    network: float,
    averaged: bool = False,
) -> Bound:
    """The bound of one model and one case.

    Args:
        model: what predicts.
        shape: (z, y, x) of the raw image.
        spacing: mm, same axes.
        process: bytes of the process before.
        network: bytes that a pass takes.
        averaged: whether probabilities of all classes are made on the raw image's grid, as of several models.
    """
    plan, configuration = model.plan, model.configuration
    heads, channels = _labels(model).num_heads, channels_of(configuration, model.dataset_json)
    label_bytes = 1 if len(_labels(model).all_values) - 1 < 255 else 2
    turned = [shape[axis] for axis in plan.transpose]
    grid = _grid(turned, [spacing[axis] for axis in plan.transpose], configuration.spacing)
    raw, voxels = math.prod(shape), math.prod(grid)
    images = len(configuration.normalization)
    image = FLOAT * images * raw
    arrays = {"the program": process, "the image": float(image)}
    data = FLOAT * channels * voxels
    before = {"its file and masks": image + MASKS * raw, "preprocessing": data + 3 * FLOAT * max(raw, voxels)}
    after = {"the segmentation": (3 * label_bytes + AFTERWARDS) * raw}
    patch, parts = configuration.patch_size, strips(grid, configuration.patch_size, heads)
    depth = 1 if len(patch) == 2 else patch[0]
    columns = max(grid[2], patch[-1])
    rows = max(last - first for first, last in parts)
    length = max(depth, min(max(grid[0], depth), SLAB_BYTES // (FLOAT * heads * rows * columns)))
    weights = 3 * depth * max(rows, 1) * columns * FLOAT
    if averaged or model.averages_probabilities:
        # All logits and their probabilities, on the network's grid and on the image's.
        logits = FLOAT * heads * (3 * voxels + 4 * raw)
        parts = parts[:1]
    else:
        logits = FLOAT * heads * (2 * length + 3) * rows * columns + heads * length * rows * columns
    resampled = 6 * FLOAT * max(VOXELS_AT_ONCE, turned[1] * turned[2]) + 2**28  # and the evidence's
    during = {
        "preprocessed": 2.0 * data,
        "a pass of the network": network,
        "logits": logits + weights,
        "resampling": resampled,
        "the segmentation": label_bytes * raw,
    }
    moments = [{**arrays, **{name: float(each) for name, each in m.items()}} for m in (before, during, after)]
    return Bound(max(moments, key=lambda each: sum(each.values())), len(parts))


def _grid(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> list[int]:
    """Voxels along each axis after resampling; slices of a 2D configuration stay."""
    kept = len(shape) - len(target)
    inside = zip(shape[kept:], spacing[kept:], target, strict=True)
    return [*shape[:kept], *(max(1, math.ceil(n * old / new)) for n, old, new in inside)]


def pass_bytes(model: Model) -> int:
    """Memory that a pass of the networks takes for a while, measured on one; 0 where nobody can tell."""
    configuration = model.configuration
    ones = (1,) * (3 - configuration.dimensions)
    shape = (channels_of(configuration, model.dataset_json), *ones, *configuration.patch_size)
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    forget_peak(model.device)
    before = peak_bytes(model.device)
    window = {**model._window(image), "mirror_axes": model.mirror_axes[:1], "certainty": None}
    for _ in predict_slabs(model._computed_by(shape), slab_bytes=None, **window):
        pass
    return max(0, peak_bytes(model.device) - before)


def _labels(model: Model) -> Labels:
    return labels_from_json(model.dataset_json)


def say_bound(models: Sequence[Model], cases: Iterable[Case], averaged: bool = False) -> Bound | None:
    """Say what the largest case takes at most, before any is predicted; None where that is little.

    A pass of each network is made and its memory measured; all else is counted. Only headers are read.

    Args:
        models: that predict together, on a processor.
        cases: raw.
        averaged: whether a single model too makes all probabilities on the raw image's grid.
    """
    if not models or any(model.device.type != "cpu" for model in models):
        return None
    sizes = {case.identifier: size for case in cases if (size := _size(case.images[0])) is not None}
    if not sizes:
        return None
    name, (shape, spacing) = max(sizes.items(), key=lambda each: math.prod(each[1][0]))
    everyone = [*models, *(each.previous for each in models if each.previous is not None)]
    most = max(_labels(model).num_heads for model in everyone)
    if FLOAT * most * math.prod(shape) < WORTH_SAYING:
        return None
    network = max(pass_bytes(model) for model in everyone)
    process = _resident()
    if process is None:
        return None
    averaged = averaged or len(models) > 1
    bounds = [bound_of(model, shape, spacing, process, network, averaged) for model in everyone]
    found = max(bounds, key=lambda each: each.total)
    extent = " x ".join(map(str, reversed(shape)))
    log.info("Memory: %s, for the largest case, %s (%s voxels, %d heads).", found, name, extent, most)
    free = free_bytes()
    if found.total - process > free:
        log.warning(
            "Only %s are free: the prediction may be stopped for want of memory. Close other programs, give "
            "one model and one fold (--folds 0), or predict on another machine.",
            _gb(free),
        )
    return found


def _size(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
    """Shape (z, y, x) and spacing by a file's header; None of what is no volume or cannot be read."""
    try:
        header = itk_header(path)
        shape, spacing = header.GetSize()[:3], header.GetSpacing()[:3]
    except Exception as problem:  # whatever a library raises: the prediction says what is wrong with the file
        log.debug("%s has no header to count memory from: %s", path, problem)
        return None
    return (tuple(reversed(shape)), tuple(reversed(spacing))) if len(shape) == 3 else None


def _resident() -> int | None:
    """Bytes of this process now; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024
    except (OSError, StopIteration, ValueError):
        return None


def _gb(count: float) -> str:
    return f"{count / 1e9:.2f} GB"
