"""How long the steps of a training took, and how much of that its thread really had."""

from __future__ import annotations

import time

# The first steps read cases and choose kernels.
LEFT_OUT = 2


class StepTiming:
    """Seconds of steps: of the wall, and of the computing thread.

    Attributes:
        steps: steps that count.
        wall_s: their seconds together.
        had_s: what the thread had of them.
    """

    def __init__(self, on_cpu: bool) -> None:
        self.steps = 0
        self.wall_s = self.had_s = 0.0
        self._on_cpu = on_cpu
        self._seen = 0
        self._began: tuple[float, float] | None = None

    def begin(self) -> None:
        """A step begins."""
        self._began = (time.monotonic(), time.thread_time())

    def end(self) -> None:
        """It has ended."""
        self._seen += 1
        if self._began is None or self._seen <= LEFT_OUT:
            return
        self.steps += 1
        self.wall_s += time.monotonic() - self._began[0]
        self.had_s += time.thread_time() - self._began[1]

    @property
    def step_s(self) -> float | None:
        """Seconds of a step; None: too few were made to say."""
        return self.wall_s / self.steps if self.steps else None

    @property
    def computed_step_s(self) -> float | None:
        """Seconds of computing of a step: without what other programs took; on a GPU, of the wall."""
        return self.step_s if not self._on_cpu or not self.steps else self.had_s / self.steps
