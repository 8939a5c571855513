"""What a planner has to know of each trainer's network, without building it.

What a trainer says of itself is read from its file. The numbers of its network stand in
``plans/presets/trainers.json``; ``benchmarks/trainer_facts.py`` computes them from the networks themselves,
and a test compares the two. Those of a trainer that is not in the table are measured when they are needed
(`autoseg.tailoring.network_facts`).
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
from autoseg.planner.trainer_facts import TrainerFacts, facts

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


@dataclass(frozen=True)
class NetworkFacts:
    """A trainer's network at the reference patch (256x256, 128x128x128; one channel, two labels).

    Attributes:
        name: the trainer's.
        trainer: what the trainer says of itself.
        parameters: by dimension.
        macs_per_voxel: multiply-accumulates of a forward pass, by dimension.
        bytes_per_voxel: memory that a training step in float32 takes for each voxel of a batch.
    """

    name: str
    trainer: TrainerFacts
    parameters: Mapping[int, int]
    macs_per_voxel: Mapping[int, float]
    bytes_per_voxel: Mapping[int, float]

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The dimensions that it can train in."""
        return self.trainer.dimensions

    @property
    def preferred_dimension(self) -> int | None:
        """Of the documented system, or None."""
        return self.trainer.preferred_dimension

    @property
    def adaptive_width(self) -> bool:
        """Whether a budget may make it narrower."""
        return self.trainer.adaptive_width

    @property
    def smallest_batch(self) -> int:
        """The smallest batch that its normalisation bears."""
        return self.trainer.smallest_batch

    @property
    def moments(self) -> int:
        """Values that the optimiser keeps for each weight."""
        return self.trainer.moments

    @property
    def pace(self) -> float:
        """How fast its multiply-accumulates go, as a part of a plain U-Net's speed."""
        return self.trainer.pace

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
        """What a trainer says, with the numbers of an entry of the table."""
        numbers: dict[str, Any] = {
            key: {int(n): value for n, value in entry[key].items()}
            for key in ("parameters", "macs_per_voxel", "bytes_per_voxel")
        }
        return cls(name, facts(name), **numbers)


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
