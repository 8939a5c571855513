"""What a planner has to know of each trainer's network, without building it.

What a trainer says of itself is read from its file. The numbers of its network stand in
``plans/presets/trainers.json``; ``benchmarks/trainer_facts.py`` computes them from the networks themselves,
and a test compares the two. Those of a trainer that is not in the table are measured when they are needed
(`autoseg.tailoring.network_facts`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from autoseg.planner.budget import NARROWEST
from autoseg.planner.trainer_facts import TrainerFacts, facts
from autoseg.system.machine_model import MachineModel

# A training step is a forward pass and a backward pass, which multiplies twice as often.
PASSES_PER_STEP = 3
# Of a network whose width a budget may reduce; measured, see `autoseg.tailoring.tailored_plan`.
WIDTH_EXPONENT = 1.55
PUBLISHED_WIDTH = 32


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
        macs_per_second: multiply-accumulates that a training in 3D gets through, about.
        memory_gb: what it may take; None: not limited here.
        flat_macs_per_second: the same in 2D; None: as many as in 3D.
        seconds_per_weight: what a step takes for each weight, whatever the size of its batch.
        share: the part of the machine that there is now.
    """

    kind: str
    macs_per_second: float
    memory_gb: float | None = None
    flat_macs_per_second: float | None = None
    seconds_per_weight: float = 0.0
    share: float = 1.0

    @classmethod
    def of(cls, machine: MachineModel, memory_gb: float | None = None, share: float = 1.0) -> Hardware:
        """Hardware as a machine model describes it."""
        flat, volume = machine.speed("2d"), machine.speed("3d")
        return cls(machine.device, volume, memory_gb, flat, machine.seconds_per_weight, share)

    def step_seconds(self, macs: float, dimensions: int = 3, parameters: float = 0.0) -> float:
        """Seconds of a training step, of what the machine could give.

        Args:
            macs: multiply-accumulates of the step.
            dimensions: 2 or 3.
            parameters: weights of the network.
        """
        flat = self.flat_macs_per_second or self.macs_per_second
        speed = flat if dimensions == 2 else self.macs_per_second
        return macs / speed + parameters * self.seconds_per_weight

    def steps(self, macs: float, seconds: float, dimensions: int = 3, parameters: float = 0.0) -> int:
        """Training steps of that much work that fit the time, with the share that there is."""
        return int(seconds * self.share / self.step_seconds(macs, dimensions, parameters))
