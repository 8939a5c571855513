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
    """

    lines: Callable[[Width], Lines]
    correction: float = 1.0
    share: float = 1.0
    _lines: dict[Width, Lines] = field(default_factory=dict)
    # By width: measured over modelled seconds of a step, and of a forward pass.
    _ratios: dict[Width, tuple[float, float]] = field(default_factory=dict)

    def computed(self, voxels: float, width: Width) -> float:
        """Seconds of computing of a step, before the correction."""
        return self._ratio(width)[0] * self._of(width)[0].seconds(voxels)

    def seconds(self, voxels: float, width: Width) -> float:
        """Seconds of a step."""
        return self.computed(voxels, width) * self.correction / self.share

    def forward(self, width: Width) -> StepTime:
        """Seconds of a forward pass."""
        line, ratio = self._of(width)[1], self._ratio(width)[1] / self.share
        return StepTime(ratio * line.fixed, ratio * line.per_voxel)

    def learn(self, voxels: float, width: Width, step_s: float, forward_s: float) -> None:
        """Take what was measured for the truth about a width."""
        step, forward = self._of(width)
        self._ratios[width] = (step_s / step.seconds(voxels), forward_s / forward.seconds(voxels))

    def _of(self, width: Width) -> Lines:
        if width not in self._lines:
            self._lines[width] = self.lines(width)
        return self._lines[width]

    def _ratio(self, width: Width) -> tuple[float, float]:
        """That of the closest width that was measured; 1 before."""
        if not self._ratios:
            return 1.0, 1.0
        known = list(self._ratios)
        return self._ratios[min(known, key=lambda each: abs(math.log((each or 1) / (width or 1))))]
