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
        around: seconds of a step beside the network, for reading and augmenting: always, for each sample and
            for each voxel.
    """

    lines: Callable[[Width], Lines]
    correction: float = 1.0
    share: float = 1.0
    around: tuple[float, float, float] = (0.0, 0.0, 0.0)
    _lines: dict[Width, Lines] = field(default_factory=dict)
    # By width and voxels: measured over modelled seconds of a step, and of a forward pass.
    _ratios: dict[tuple[Width, int], tuple[float, float]] = field(default_factory=dict)

    def computed(self, samples: int, voxels: float, width: Width) -> float:
        """Seconds of computing of a step, before the correction.

        Args:
            samples: in a batch.
            voxels: of all of them.
            width: features of the first stage; None: the network keeps its size.
        """
        always, each_sample, each_voxel = self.around
        return self.network(voxels, width) + always + each_sample * samples + each_voxel * voxels

    def network(self, voxels: float, width: Width) -> float:
        """Seconds of computing of a step's network alone."""
        return self._ratio(voxels, width)[0] * self._of(width)[0].seconds(voxels)

    def seconds(self, samples: int, voxels: float, width: Width) -> float:
        """Seconds of a step; see `computed`."""
        return self.computed(samples, voxels, width) * self.correction / self.share

    def parts(self, voxels: float, width: Width) -> tuple[float, float, float]:
        """Seconds of a step, about as large as one of so many voxels: always, for each sample, each voxel."""
        line, (always, sample_s, voxel_s) = self._of(width)[0], self.around
        ratio, factor = self._ratio(voxels, width)[0], self.correction / self.share
        fixed_s, each_voxel = ratio * line.fixed + always, ratio * line.per_voxel + voxel_s
        return factor * fixed_s, factor * sample_s, factor * each_voxel

    def forward(self, voxels: float, width: Width) -> StepTime:
        """Seconds of forward passes, about as large as a batch of so many voxels."""
        line, ratio = self._of(width)[1], self._ratio(voxels, width)[1] / self.share
        return StepTime(ratio * line.fixed, ratio * line.per_voxel)

    def learn(self, width: Width, step: tuple[int, float], forward: tuple[int, float]) -> None:
        """Take what was measured for the truth about a width and a number of voxels.

        Args:
            width: features of the first stage; None: the network keeps its size.
            step: voxels and seconds of computing of a training step.
            forward: the same of a forward pass, as large as prediction makes it.
        """
        (voxels, step_s), (at_once, forward_s) = step, forward
        line, forward_line = self._of(width)
        ratios = (step_s / line.seconds(voxels), forward_s / forward_line.seconds(at_once))
        self._ratios[width, voxels] = ratios

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
