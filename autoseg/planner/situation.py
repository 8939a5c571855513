"""What a trainer has to suit: the data, what was decided for them, a device and a budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoseg.planner.budget import NARROWEST
from autoseg.planner.configuration import Configuration
from autoseg.planner.data_facts import DataFacts
from autoseg.planner.dimension import DimensionChoice
from autoseg.planner.networks import PUBLISHED_WIDTH, Hardware, NetworkFacts
from autoseg.planner.plan import Plan

# The trainer that is always there, and whose width and batch follow the time.
ALWAYS = "nnunet"
# Published, five folds of 1000 epochs on 260 hippocampi of 36x50x35 voxels: ResEnc L 0.42 points of Dice
# below the default (p 2e-10) in 12 times the hours. Where larger cases begin to bear it is a guess.
TINY_VOXELS = 64**3
TINY_PIXELS = 128**2
# A trainer that needs a still smaller part of the planned patch is not shown as it is.
SMALLEST_SHARE = 1 / 8
BYTES = 4
# Speeds are rough, and start-up and prediction take their part.
SAFETY = 1.25


@dataclass(frozen=True)
class Situation:
    """What a trainer has to suit.

    Attributes:
        data: the data set.
        dimension: what was decided for it.
        plan: nnU-Net's, with all its configurations.
        hardware: where it will train.
        total_s: wall clock of all runs together; None: as long as it takes.
        runs_each: runs of every trainer: folds times seeds.
        pretrained: trainers whose encoder has pretrained weights at hand.
    """

    data: DataFacts
    dimension: DimensionChoice
    plan: Plan
    hardware: Hardware
    total_s: float | None = None
    runs_each: int = 1
    pretrained: frozenset[str] = frozenset()

    @property
    def dimensions(self) -> int:
        """2 or 3, as decided."""
        return self.configuration.dimensions

    @property
    def configuration(self) -> Configuration:
        """The configuration that was decided on."""
        return self.plan.configuration(self.dimension.value)

    def dimensions_of(self, facts: NetworkFacts) -> int:
        """What a trainer would work in: as decided or, in doubt, slices where it was made for them."""
        in_doubt = self.dimension.confidence == "in doubt" and "2d" in self.plan.configurations
        return 2 if facts.preferred_dimension == 2 and in_doubt else self.dimensions

    def steps(self, facts: NetworkFacts, seconds: float, shrunk: bool = True) -> int:
        """Training steps that a trainer gets with its smallest batch.

        A trainer that a budget may make narrower counts at its narrowest, any other as published.

        Args:
            facts: facts about the trainer.
            seconds: time for training.
            shrunk: whether it trains on the smallest patch that is worth a row of its own, not on the planned
                one.
        """
        voxels = self._voxels(facts, shrunk)
        dimensions = self.dimensions_of(facts)
        macs = facts.step_macs(dimensions, voxels, narrowest=True) / facts.pace
        return self.hardware.steps(macs, seconds / SAFETY, dimensions, self.parameters(facts))

    def parameters(self, facts: NetworkFacts) -> float:
        """Of a trainer's network; under a budget, of the narrowest that it may become."""
        count = facts.parameters[self.dimensions_of(facts)]
        narrowed = facts.adaptive_width and self.total_s is not None
        return count * (NARROWEST / PUBLISHED_WIDTH) ** 2 if narrowed else count

    def memory_gb(self, facts: NetworkFacts) -> float:
        """What a trainer takes with the smallest batch and patch, in float32."""
        dimensions = self.dimensions_of(facts)
        weights = BYTES * facts.parameters[dimensions] * (2 + facts.moments)
        return (weights + self._voxels(facts) * facts.bytes_per_voxel[dimensions]) / 1e9

    def _voxels(self, facts: NetworkFacts, shrunk: bool = True) -> float:
        flat = self.dimensions_of(facts) == 2 and "2d" in self.plan.configurations
        each = self.plan.configuration("2d") if flat else self.configuration
        patch = math.prod(each.patch_size)
        # Patches as small as an eighth of what is tiny do not shrink any more.
        usual = TINY_PIXELS if each.dimensions == 2 else TINY_VOXELS
        share = max(SMALLEST_SHARE, min(1.0, usual / 8 / patch))
        return max(facts.smallest_batch, 2) * patch * (share if shrunk else 1.0)

    @property
    def tiny(self) -> bool:
        """Whether the median case is smaller than what large networks were made for."""
        median = math.prod(self.configuration.median_shape)
        return median < (TINY_PIXELS if self.dimensions == 2 else TINY_VOXELS)
