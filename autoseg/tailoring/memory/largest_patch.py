"""The largest patch and batch that a network can be trained on within some memory.

nnU-Net compares every network with its own U-Net's feature maps; here each is judged by what it itself takes.
The patch starts and shrinks as in nnU-Net's planner, so that the strides divide it at every size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from autoseg.architectures import Topology
from autoseg.errors import PlanError
from autoseg.planner import patch
from autoseg.planner.plan import Decision
from autoseg.planner.topology import divisors, pooled
from autoseg.tailoring.memory.footprint import GB, Footprint

SOURCE = "autoseg: memory counted on the network itself; the order of shrinking is nnU-Net's"
# Left free, for what the estimate does not know: measured trainings took up to 9 % more than it said
# (benchmarks/results/memory.md), and one grew by 4 % from the second step to the fiftieth (memory_growth.md).
LEFT_FREE = 0.12
# Along an axis of thick slices a patch that is as deep as it is wide would have hardly any.
FEWEST_VOXELS = 8
Estimate = Callable[[Topology, int], Footprint]


@dataclass(frozen=True)
class Constraints:
    """What a network asks of patch and batch beside the strides.

    Attributes:
        smallest_batch: the smallest batch that its normalisation bears.
        largest_batch: the documented system's batch, or the largest that the data set allows.
        smallest_edge: voxels of the patch along the finest axis; as many mm along the others, but at least
            `FEWEST_VOXELS`, and nowhere more than the median case. With less, a network has lost the
            stages that made it what it is, and what it is to find: more memory is the answer.
        multiple: every axis is a multiple of it, where the network's own strides differ from the plan's.
    """

    smallest_batch: int = 2
    largest_batch: int = 256
    smallest_edge: int = 32
    multiple: int = 1

    def rounded(self, topology: Topology) -> Topology:
        """The topology with its patch rounded up to what strides and `multiple` divide."""
        steps = [math.lcm(divisor, self.multiple) for divisor in divisors(topology)]
        size = [-(-n // step) * step for n, step in zip(topology.patch_size, steps, strict=True)]
        return dataclasses.replace(topology, patch_size=tuple(size))

    def floor(self, spacing: Sequence[float], median_shape: Sequence[float]) -> list[float]:
        """Voxels that a patch has at least, along each axis."""
        reach = self.smallest_edge * min(spacing)
        return [
            min(max(reach / step, FEWEST_VOXELS), n) for step, n in zip(spacing, median_shape, strict=True)
        ]


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
        median_shape: median shape of the resampled cases, voxels.
        memory_gb: most memory that training may take, all in all.
        constraints: limits that the network and the data set set.
        shortest_edge: voxels that the coarsest feature maps keep.

    Raises:
        PlanError: if not even the smallest patch fits; the message says what it takes.
    """
    limits, target = constraints or Constraints(), usable(memory_gb)
    least = min(limits.smallest_batch, limits.largest_batch)
    patches = _Patches(list(_candidates(spacing, median_shape, shortest_edge, limits)), estimate, least)
    if not patches.fits(-1, target):
        smallest = patches[-1]
        takes = f"takes {smallest.footprint.total / GB:.1f} GB"
        raise PlanError(
            f"The smallest patch ({_times(smallest.topology)}, batch {least}) {takes}, and there are "
            f"{memory_gb:g} GB, of which {LEFT_FREE:.0%} are left free. Give more memory, or take a smaller "
            "network."
        )
    index = patches.first_within(target)
    chosen = patches[index]
    batch, needed = _largest_batch(estimate, chosen, least, target, limits)
    return Fit(chosen.topology, batch, needed, _decision(batch, needed, patches, index, memory_gb, limits))


@dataclass(frozen=True)
class _Tried:
    """A patch with what it takes at the smallest batch."""

    topology: Topology
    footprint: Footprint

    @property
    def voxels(self) -> int:
        return math.prod(self.topology.patch_size)


@dataclass(frozen=True)
class _Patches:
    """Patches from the largest to the smallest, each counted on demand."""

    topologies: Sequence[Topology]
    estimate: Estimate
    batch_size: int
    _known: dict[int, _Tried] = field(default_factory=dict)

    def __getitem__(self, index: int) -> _Tried:
        index %= len(self.topologies)
        if index not in self._known:
            topology = self.topologies[index]
            self._known[index] = _Tried(topology, self.estimate(topology, self.batch_size))
        return self._known[index]

    @property
    def counted(self) -> list[_Tried]:
        """Those requested so far, the largest first."""
        return [self._known[index] for index in sorted(self._known)]

    def fits(self, index: int, target: float) -> bool:
        return self[index].footprint.total <= target

    def first_within(self, target: float) -> int:
        """Where the largest that fits stands; the smallest has to.

        While the network keeps its stages, what it takes is a line over the voxels, and a guess on the line
        between two that are known is close. With each stage that a smaller patch costs the network the line
        jumps: a guess that leaves more than half of the patches is followed by the middle.
        """
        if self.fits(0, target):
            return 0
        above, fitting, on_line = 0, len(self.topologies) - 1, True
        while (between := fitting - above) > 1:
            guess = self._on_line(above, fitting, target) if on_line else (above + fitting) // 2
            above, fitting = (above, guess) if self.fits(guess, target) else (guess, fitting)
            on_line = not on_line or fitting - above <= between / 2
        return fitting

    def _on_line(self, above: int, fitting: int, target: float) -> int:
        large, small = self[above], self[fitting]
        each = (large.footprint.total - small.footprint.total) / max(large.voxels - small.voxels, 1)
        most = small.voxels + (target - small.footprint.total) / each
        between = range(above + 1, fitting)
        return next((i for i in between if math.prod(self.topologies[i].patch_size) <= most), fitting - 1)


def _candidates(
    spacing: Sequence[float], median_shape: Sequence[float], shortest_edge: int, limits: Constraints
) -> Iterator[Topology]:
    """Patches from nnU-Net's start downwards, each once, that meet the constraints; at least one."""
    topology = pooled(spacing, patch.start_patch(spacing, median_shape), shortest_edge)
    floor = limits.floor(spacing, median_shape)
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
    batch: int, needed: Footprint, patches: _Patches, index: int, memory_gb: float, limits: Constraints
) -> Decision:
    larger = [patches[index - 1]] if index else []
    inputs = {
        "memory_gb": memory_gb,
        "left_free": LEFT_FREE,
        "footprint_gb": needed.to_json(),
        "constraints": dataclasses.asdict(limits),
        "tried": [
            {"patch_size": list(each.topology.patch_size), "gb": round(each.footprint.total / GB, 2)}
            for each in patches.counted
        ],
        "alternatives": [
            {
                "value": _times(each.topology),
                "reason": "it does not fit the memory with the smallest batch",
                "costs": {"gb": round(each.footprint.total / GB, 2)},
            }
            for each in larger
        ],
    }
    rule = (
        "the largest patch that fits the memory with the smallest batch, shortened along the axis that sees "
        "most of the median case; then the largest batch"
    )
    value = {"patch_size": list(patches[index].topology.patch_size), "batch_size": batch}
    return Decision("memory_fit", value, rule, inputs, SOURCE)


def _times(topology: Topology) -> str:
    return " x ".join(map(str, topology.patch_size))
