"""What a planner has to know of each trainer's network, without building it.

The numbers stand in ``plans/presets/trainers.json``; ``benchmarks/trainer_facts.py`` computes them from the
networks themselves, and a test compares the two. A trainer of one's own is not in the table: it
can be requested by name, and is never chosen automatically.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from autoseg.planner.budget import NARROWEST

# A training step is a forward pass and a backward pass, which multiplies twice as often.
PASSES_PER_STEP = 3
# Of a network whose width a budget may reduce; measured, see `autoseg.tailoring.tailored_plan`.
WIDTH_EXPONENT = 1.55
PUBLISHED_WIDTH = 32
# Multiply-accumulates per second that trainings reached in bf16: 1.0e11 to 1.7e11 on one core (eleven
# trainers, two data sets), 1.6e11 and 1.9e11 on two (U-Nets in 2D and 3D), and nnU-Net's published 302 ms a
# step on an A100 (1e13). Rough, and only ever used as such.
CORE_SPEED = 1.2e11
GAIN_OF_A_CORE = 0.5
GPU_SPEED = 1e13
# Of networks whose operations keep a processor from its pace, measured beside the others on one core:
# depthwise convolutions, and many short branches.
PACE = {"mednext": 0.35, "deepmrseg": 0.5}


@dataclass(frozen=True)
class NetworkFacts:
    """A trainer's network at the reference patch (256x256, 128x128x128; one channel, two labels).

    Attributes:
        name: the trainer's name.
        dimensions: the dimensions that it can train in.
        preferred_dimension: dimension of the documented system, or None.
        documented: whether it is one of the five documented systems.
        adaptive_width: whether a budget may make it narrower.
        smallest_batch: the smallest batch that its normalisation bears.
        moments: values that the optimiser keeps for each weight.
        parameters: number of weights, by dimension.
        macs_per_voxel: multiply-accumulates of a forward pass, by dimension.
        bytes_per_voxel: memory that a training step in float32 takes for each voxel of a batch.
    """

    name: str
    dimensions: tuple[int, ...]
    preferred_dimension: int | None
    documented: bool
    adaptive_width: bool
    smallest_batch: int
    moments: int
    parameters: Mapping[int, int]
    macs_per_voxel: Mapping[int, float]
    bytes_per_voxel: Mapping[int, float]

    @property
    def pace(self) -> float:
        """How fast its multiply-accumulates go, as a part of a plain U-Net's speed."""
        return next((part for name, part in PACE.items() if self.name.startswith(name)), 1.0)

    def step_macs(self, dimensions: int, voxels: float, narrowest: bool = False) -> float:
        """Multiply-accumulates of a training step on that many voxels.

        Args:
            dimensions: 2 or 3.
            voxels: voxels of a batch.
            narrowest: at the smallest width that a budget may choose, where there is a choice.
        """
        work = PASSES_PER_STEP * self.macs_per_voxel[dimensions] * voxels
        if narrowest and self.adaptive_width:
            work *= (NARROWEST / PUBLISHED_WIDTH) ** WIDTH_EXPONENT
        return work

    @classmethod
    def from_json(cls, name: str, entry: Mapping[str, Any]) -> NetworkFacts:
        """Read an entry of the table."""
        by_dimension = ("parameters", "macs_per_voxel", "bytes_per_voxel")
        rest = {key: value for key, value in entry.items() if key not in by_dimension}
        numbers: dict[str, Any] = {
            key: {int(n): value for n, value in entry[key].items()} for key in by_dimension
        }
        return cls(name=name, **{**rest, "dimensions": tuple(entry["dimensions"])}, **numbers)


@functools.cache
def network_facts() -> Mapping[str, NetworkFacts]:
    """The table, by trainer."""
    text = resources.files("autoseg.plans").joinpath("presets", "trainers.json").read_text(encoding="utf-8")
    return {name: NetworkFacts.from_json(name, entry) for name, entry in json.loads(text)["trainers"].items()}


@dataclass(frozen=True)
class Hardware:
    """What a training runs on.

    Attributes:
        kind: ``cpu``, ``cuda`` or ``mps``.
        macs_per_second: multiply-accumulates that a training gets through, about.
        memory_gb: what it may take; None: not limited here.
    """

    kind: str
    macs_per_second: float
    memory_gb: float | None = None

    @classmethod
    def assumed(cls, kind: str, memory_gb: float | None = None, cores: int | None = None) -> Hardware:
        """Hardware of a kind, at the speed of the machines that were measured."""
        if kind != "cpu":
            return cls(kind, GPU_SPEED, memory_gb)
        count = cores or (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )
        return cls(kind, CORE_SPEED * (1 + GAIN_OF_A_CORE * (count - 1)), memory_gb)

    def steps(self, macs: float, seconds: float) -> int:
        """Training steps of that much work that fit the time."""
        return int(seconds * self.macs_per_second / macs)
