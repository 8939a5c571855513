"""How long a training step takes: a part that every step has, and one for each voxel in it.

Weights are converted, differentiated and updated once a step, however little goes through them. For a
ResNet-50 U-Net on a CPU and a patch of 56x40 that is most of a step: a smaller patch saves next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

# Two measured steps say no more than that: noise must not make voxels free.
MOST_FIXED = 0.9


@dataclass(frozen=True)
class StepTime:
    """Time of a step by its size.

    Attributes:
        fixed: seconds that every step takes.
        per_voxel: seconds for each voxel of a batch.
    """

    fixed: float
    per_voxel: float

    @classmethod
    def through(cls, measured: Mapping[int, float]) -> Self:
        """The line through measured seconds by voxels, one or two; through one, and 0.

        Neither part is negative, and the fixed one is at most `MOST_FIXED` of the shorter step.
        """
        (few, quick), (many, slow) = (pick(measured.items()) for pick in (min, max))
        per_voxel = (slow - quick) / (many - few) if many > few else slow / many
        fixed = min(max(0.0, quick - per_voxel * few), MOST_FIXED * min(quick, slow))
        return cls(fixed, (slow - fixed) / many)

    def seconds(self, voxels: float) -> float:
        """Of a step with a batch of so many voxels."""
        return self.fixed + self.per_voxel * voxels

    def follows_size(self, voxels: float) -> bool:
        """Whether the voxels take at least half of a step, so that half of them saves a quarter of it."""
        return self.per_voxel * voxels >= self.fixed
