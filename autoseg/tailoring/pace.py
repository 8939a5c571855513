"""How long steps of each shape take: as the machine model says, corrected by measured steps of the network.

Seconds of computing are those that the computing thread has; seconds of the wall are more where other
programs take a share of the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from autoseg.tailoring.step_time import StepTime

Lines = tuple[StepTime, StepTime]
Width = int | None


@dataclass
class Pace:
    """Seconds of steps and of forward passes, by voxels and width.

    Attributes:
        lines: gives the model's step and forward pass of a width.
        correction: made over predicted seconds of earlier trainings of the kind.
        share: the part of the machine that there is.
        around: seconds of a step for each voxel beside the network, such as augmentation.
    """

    lines: Callable[[Width], Lines]
    correction: float = 1.0
    share: float = 1.0
    around: float = 0.0
    _lines: dict[Width, Lines] = field(default_factory=dict)
    # By width and voxels: measured over modelled seconds of a step, and of a forward pass.
    _ratios: dict[tuple[Width, int], tuple[float, float]] = field(default_factory=dict)

    def computed(self, voxels: float, width: Width) -> float:
        """Seconds of computing of a step, before the correction."""
        return self.network(voxels, width) + self.around * voxels

    def network(self, voxels: float, width: Width) -> float:
        """Seconds of computing of a step's network alone."""
        return self._ratio(voxels, width)[0] * self._of(width)[0].seconds(voxels)

    def seconds(self, voxels: float, width: Width) -> float:
        """Seconds of a step."""
        return self.computed(voxels, width) * self.correction / self.share

    def forward(self, voxels: float, width: Width) -> StepTime:
        """Seconds of forward passes, about as large as a batch of so many voxels."""
        line, ratio = self._of(width)[1], self._ratio(voxels, width)[1] / self.share
        return StepTime(ratio * line.fixed, ratio * line.per_voxel)

    def learn(self, voxels: int, width: Width, step_s: float, forward_s: float) -> None:
        """Take what was measured for the truth about a width and a number of voxels."""
        step, forward = self._of(width)
        self._ratios[width, voxels] = (step_s / step.seconds(voxels), forward_s / forward.seconds(voxels))

    def _of(self, width: Width) -> Lines:
        if width not in self._lines:
            self._lines[width] = self.lines(width)
        return self._lines[width]

    def _ratio(self, voxels: float, width: Width) -> tuple[float, float]:
        """That of the closest that was measured, first in width and then in voxels; 1 before."""
        if not self._ratios:
            return 1.0, 1.0

        def distance(known: tuple[Width, int]) -> tuple[float, float]:
            return abs(math.log((known[0] or 1) / (width or 1))), abs(math.log(known[1] / max(voxels, 1)))

        return self._ratios[min(self._ratios, key=distance)]
