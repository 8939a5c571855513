"""The largest patch and batch that a network can be trained on within some memory.

nnU-Net compares every network with its own U-Net's feature maps; here each is judged by what it itself takes.
The patch starts and shrinks as in nnU-Net's planner, so that the strides divide it at every size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autoseg.architectures import Topology
from autoseg.errors import PlanError
from autoseg.plan import Decision
from autoseg.planner import patch
from autoseg.planner.footprint import GB, Footprint
from autoseg.planner.topology import divisors, pooled

SOURCE = "autoseg: memory counted on the network itself; the order of shrinking is nnU-Net's"
# A patch whose extrapolated footprint is beyond the target by so much is not worth counting exactly.
SURELY_TOO_LARGE = 1.1
# Left free, for what the estimate does not know: of 63 measured trainings (benchmarks/results/memory.md) one
# took 11 % more than it said, the others less.
LEFT_FREE = 0.12
Estimate = Callable[[Topology, int], Footprint]


@dataclass(frozen=True)
class Constraints:
    """What a network asks of patch and batch beside the strides.

    Attributes:
        smallest_batch: that its normalisation bears.
        largest_batch: of the documented system, or what the data set allows.
        smallest_edge: voxels of the patch along each axis.
        multiple: of which every axis has to be, where the network's own strides differ from the plan's.
    """

    smallest_batch: int = 2
    largest_batch: int = 256
    smallest_edge: int = 8
    multiple: int = 1

    def rounded(self, topology: Topology) -> Topology:
        """The topology with its patch rounded up to what strides and `multiple` divide."""
        steps = [math.lcm(divisor, self.multiple) for divisor in divisors(topology)]
        size = [-(-n // step) * step for n, step in zip(topology.patch_size, steps, strict=True)]
        return dataclasses.replace(topology, patch_size=tuple(size))


def usable(memory_gb: float) -> float:
    """Bytes that a footprint may come to, where training may take `memory_gb`, all in all."""
    return memory_gb * GB * (1 - LEFT_FREE)


@dataclass(frozen=True)
class Fit:
    """A patch and a batch, what they take, and the decision."""

    topology: Topology
    batch_size: int
    footprint: Footprint
    decision: Decision


def largest_patch_batch(
    estimate: Estimate,
    spacing: Sequence[float],
    median_shape: Sequence[float],
    memory_gb: float,
    constraints: Constraints | None = None,
    shortest_edge: int = 4,
) -> Fit:
    """Choose the largest patch that fits with the smallest batch, then the largest batch.

    Args:
        estimate: footprint of a patch and batch; called few times, as it may take a second.
        spacing: mm per axis.
        median_shape: of the resampled cases, voxels.
        memory_gb: that training may take, all in all.
        constraints: of the network and the data set.
        shortest_edge: voxels that the coarsest feature maps keep.

    Raises:
        PlanError: if not even the smallest patch fits; the message says what it takes.
    """
    limits, target = constraints or Constraints(), usable(memory_gb)
    least = min(limits.smallest_batch, limits.largest_batch)
    candidates = list(_candidates(spacing, median_shape, shortest_edge, limits))
    tried: list[_Tried] = []
    for topology in candidates:
        surely = tried and tried[-1].scaled_to(topology) > target * SURELY_TOO_LARGE
        if surely and topology is not candidates[-1]:
            continue
        tried.append(_Tried(topology, estimate(topology, least)))
        if tried[-1].footprint.total <= target:
            batch, needed = _largest_batch(estimate, tried[-1], least, target, limits)
            return Fit(topology, batch, needed, _decision(batch, needed, tried, memory_gb, limits))
    smallest = tried[-1]
    raise PlanError(
        f"The smallest patch ({' x '.join(map(str, smallest.topology.patch_size))}, batch {least}) takes "
        f"{smallest.footprint.total / GB:.1f} GB, and there are {memory_gb:g} GB, of which {LEFT_FREE:.0%} "
        f"are left free. Give more memory, or take a smaller network."
    )


@dataclass(frozen=True)
class _Tried:
    """A patch with what it takes at the smallest batch."""

    topology: Topology
    footprint: Footprint

    def scaled_to(self, other: Topology) -> float:
        """What another patch takes, about: all that is not fixed grows with the voxels."""
        ratio = math.prod(other.patch_size) / math.prod(self.topology.patch_size)
        return self.footprint.fixed + (self.footprint.total - self.footprint.fixed) * ratio


def _candidates(
    spacing: Sequence[float], median_shape: Sequence[float], shortest_edge: int, limits: Constraints
) -> Iterator[Topology]:
    """Patches from nnU-Net's start downwards, each once, that meet the constraints; at least one."""
    topology = pooled(spacing, patch.start_patch(spacing, median_shape), shortest_edge)
    floor = [min(limits.smallest_edge, math.ceil(n)) for n in median_shape]
    before: tuple[int, ...] | None = None
    while before is None or all(n >= least for n, least in zip(topology.patch_size, floor, strict=True)):
        rounded = limits.rounded(topology)
        if rounded.patch_size != before:
            before = rounded.patch_size
            yield rounded
        topology = patch.smaller(topology, median_shape, shortest_edge)


def _largest_batch(
    estimate: Estimate, chosen: _Tried, least: int, target: float, limits: Constraints
) -> tuple[int, Footprint]:
    """The largest batch that fits: what is not fixed grows with it, and the guess is checked."""
    each = (chosen.footprint.total - chosen.footprint.fixed) / least
    batch = min(max(int((target - chosen.footprint.fixed) / each), least), limits.largest_batch)
    while batch > least:
        needed = estimate(chosen.topology, batch)
        if needed.total <= target:
            return batch, needed
        batch = max(min(batch - 1, int(batch * target / needed.total)), least)
    return least, chosen.footprint


def _decision(
    batch: int, needed: Footprint, tried: Sequence[_Tried], memory_gb: float, limits: Constraints
) -> Decision:
    topology = tried[-1].topology
    inputs = {
        "memory_gb": memory_gb,
        "left_free": LEFT_FREE,
        "footprint_gb": needed.to_json(),
        "constraints": dataclasses.asdict(limits),
        "tried": [
            {"patch_size": list(each.topology.patch_size), "gb": round(each.footprint.total / GB, 2)}
            for each in tried
        ],
        "alternatives": [
            {
                "value": " x ".join(map(str, each.topology.patch_size)),
                "reason": "it does not fit the memory with the smallest batch",
                "costs": {"gb": round(each.footprint.total / GB, 2)},
            }
            for each in tried[-2:-1]
        ],
    }
    rule = (
        "the largest patch that fits the memory with the smallest batch, shortened along the axis that sees "
        "most of the median case; then the largest batch"
    )
    value = {"patch_size": list(topology.patch_size), "batch_size": batch}
    return Decision("memory_fit", value, rule, inputs, SOURCE)
