"""Patch size and batch size: as large as memory and data allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.architectures import Topology
from autoseg.errors import PlanError
from autoseg.planner import nnunet_memory as memory
from autoseg.planner.plan import Decision
from autoseg.planner.presets import Preset
from autoseg.planner.topology import divisors, pooled

# The patch that is started from has the volume of such a cube (square in 2D): larger than what will fit.
START_EDGE = {2: 2048, 3: 256}
# Voxels that the coarsest feature maps keep (nnU-Net's), and that a patch keeps which shrinks for time.
COARSEST_EDGE = 4
SHORTEST_EDGE = 8


@dataclass(frozen=True)
class FittedPatch:
    """The largest patch that fits, and how it was found.

    Attributes:
        topology: the network's topology, with the patch size.
        start: the patch size before anything was made smaller.
        steps: how often it was made smaller.
        values: feature map values of one sample.
    """

    topology: Topology
    start: tuple[float, ...]
    steps: int
    values: int


@dataclass(frozen=True)
class Resources:
    """What a patch has to fit into.

    Attributes:
        preset: network and references.
        memory_gb: GPU memory target.
        labels: entries of dataset.json's labels.
    """

    preset: Preset
    memory_gb: float
    labels: int

    @property
    def source(self) -> str:
        """Where the rules are from."""
        return self.preset.source


def fit_patch(spacing: Sequence[float], median_shape: Sequence[float], resources: Resources) -> FittedPatch:
    """Start with a patch as large as the median case and shrink it until its network fits.

    Args:
        spacing: mm per axis.
        median_shape: median shape of the resampled cases, voxels per axis.
        resources: what it has to fit into.

    Raises:
        PlanError: if nothing fits.
    """
    preset = resources.preset
    start = start_patch(spacing, median_shape)
    topology, steps = pooled(spacing, start, preset.shortest_edge), 0
    while True:
        values = memory.feature_map_values(preset, topology, resources.labels)
        if not memory.is_too_large(preset, values, topology.dimensions, resources.memory_gb):
            return FittedPatch(topology, start, steps, values)
        topology, steps = smaller(topology, median_shape, preset.shortest_edge), steps + 1
        if min(topology.patch_size) < 1:
            raise PlanError(
                f"No patch fits into {resources.memory_gb} GB with {resources.labels} labels. "
                f"Give more memory, or merge labels."
            )


def start_patch(spacing: Sequence[float], median_shape: Sequence[float]) -> tuple[float, ...]:
    """The same extent in mm along every axis, nowhere larger than the median case."""
    density = 1 / np.array(spacing)
    dimensions = len(density)
    scale = (START_EDGE[dimensions] ** dimensions / np.prod(density)) ** (1 / dimensions)
    return tuple(float(min(round(n), most)) for n, most in zip(density * scale, median_shape, strict=True))


def smaller(topology: Topology, median_shape: Sequence[float], shortest_edge: int) -> Topology:
    """One step less along the axis that sees the largest part of the median case.

    Subtracting the current divisor could skip sizes that a shallower network allows (from 256 with divisor
    64 to 192, past 224), so the step is the divisor of the topology that would result.
    """
    seen = [n / median for n, median in zip(topology.patch_size, median_shape, strict=True)]
    # The last of argsort, not argmax: among equals it is the axis that nnU-Net takes.
    return _shortened(topology, int(np.argsort(seen)[-1]), shortest_edge)


def _shortened(topology: Topology, axis: int, shortest_edge: int) -> Topology:
    """One step less along an axis."""
    patch, trial = list(topology.patch_size), list(topology.patch_size)
    trial[axis] -= divisors(topology)[axis]
    patch[axis] -= divisors(pooled(topology.spacing, trial, shortest_edge))[axis]
    return pooled(topology.spacing, patch, shortest_edge)


def shrunk(topology: Topology, median_shape: Sequence[float], voxels: float) -> Topology:
    """The topology with its patch shortened until it has at most that many voxels.

    Args:
        topology: the topology of the planned patch.
        median_shape: median shape of the resampled cases, voxels per axis.
        voxels: most voxels of the patch; it stays at `SHORTEST_EDGE` or more along each axis all the same.
    """
    edge = min(SHORTEST_EDGE, *topology.patch_size)
    while math.prod(now := topology.patch_size) > voxels:
        # An axis of few slices that cannot give way keeps no other from it.
        order = np.argsort([n / median for n, median in zip(now, median_shape, strict=True)])[::-1]
        shorter = (_shortened(topology, int(axis), COARSEST_EDGE) for axis in order)
        large_enough = (each for each in shorter if min(each.patch_size) >= edge)
        found = next((each for each in large_enough if math.prod(each.patch_size) < math.prod(now)), None)
        if found is None:
            break
        topology = found
    return topology


def fit_batch(patch: FittedPatch, dataset_voxels: float, resources: Resources) -> tuple[int, Decision]:
    """The batch that fills what memory the patch leaves, without seeing too much of the data set at once.

    Args:
        patch: the fitted patch.
        dataset_voxels: voxels of the whole data set at this spacing, about.
        resources: what it has to fit into.
    """
    preset, dimensions = resources.preset, patch.topology.dimensions
    reference = memory.reference_values(preset, dimensions, resources.memory_gb)
    samples = memory.reference_batch(preset, dimensions)
    by_memory = round(reference / patch.values * samples)
    by_data = round(dataset_voxels * preset.largest_share / float(math.prod(patch.topology.patch_size)))
    batch = max(min(by_memory, by_data), preset.smallest_batch)
    decision = Decision(
        "batch_size",
        batch,
        f"what memory leaves room for, but at most {preset.largest_share:.0%} of the data set's voxels "
        f"and at least {preset.smallest_batch}",
        {"by_memory": by_memory, "by_data": by_data, "dataset_voxels": dataset_voxels},
        resources.source,
    )
    return batch, decision


def patch_decisions(
    patch: FittedPatch, median_shape: Sequence[float], resources: Resources
) -> list[Decision]:
    """Why the patch and the network are as they are."""
    topology, preset = patch.topology, resources.preset
    reference = memory.reference_values(preset, topology.dimensions, resources.memory_gb)
    return [
        Decision(
            "patch_size",
            list(topology.patch_size),
            "start at equal extents in mm within the median case, then shorten the axis that sees most of "
            "it until the network's feature maps fit the memory target",
            {
                "start": list(patch.start),
                "median_shape": [float(n) for n in median_shape],
                "steps": patch.steps,
                "feature_map_values": patch.values,
                "reference_values": reference,
                "memory_gb": resources.memory_gb,
            },
            resources.source,
        ),
        Decision(
            "topology",
            {"strides": [list(row) for row in topology.strides], "stages": topology.stages},
            f"halve the axes within 2x of the finest spacing while at least {2 * preset.shortest_edge} "
            f"voxels are left ({3 * preset.shortest_edge} for a single axis); kernels span 3 along "
            f"them, else 1",
            {"spacing": list(topology.spacing), "kernel_sizes": [list(row) for row in topology.kernel_sizes]},
            resources.source,
        ),
    ]
