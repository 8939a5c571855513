"""Whether a training is on its way: what its losses and its looks at validation patches say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# Losses of fewer steps differ by chance.
LEAST_STEPS = 25
# A loss is higher, or lower, by a part of the first, or of this where the first is near zero.
HIGHER, LOWER, SMALLEST_SCALE = 0.1, 0.01, 0.5
# Looks in a row with a loss above the first: one alone may be a hard part of the data.
LOOKS_ABOVE = 2
# By when the loss is to have fallen: a part of the training, and looks.
FALLEN_BY, LOOKS_BEFORE = 0.25, 4
# A structure falls silent if it was found at this Dice once, and then nowhere in some looks that hold it. A
# few voxels of it say nothing.
FOUND_DICE, SILENT_LOOKS, LEAST_VOXELS = 0.5, 4, 30


@dataclass
class Course:
    """What is known of a training so far.

    Attributes:
        expects_fall: whether the loss has to fall; not where the first weights are a trained model's.
        first: mean loss of the first look; None: there was none.
        lowest: lowest mean loss of a look.
        looks: number of looks.
        above: looks in a row with a loss above the first.
        found: by structure, the highest Dice on validation patches.
        silent: by structure, looks in a row that hold it, and in which no voxel of it was found.
    """

    expects_fall: bool = True
    first: float | None = None
    lowest: float = math.inf
    looks: int = 0
    above: int = 0
    found: list[float] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)
    _steps: int = 0
    _losses: list[tuple[int, float]] = field(default_factory=list)
    _hits: list[float] = field(default_factory=list)
    _missed: list[float] = field(default_factory=list)

    def look(
        self, steps: int, loss: float, progress: float, hits: Sequence[float], missed: Sequence[float]
    ) -> str:
        """Take what one part of the training gave; short parts are looked at together.

        Args:
            steps: its steps.
            loss: their mean loss.
            progress: how far the training is, 0 to 1.
            hits: voxels of each structure that were found, in the validation patches.
            missed: voxels of each structure that were not.

        Returns:
            Why the training has gone astray, in words; empty: it has not.
        """
        self._steps += steps
        if math.isfinite(loss):
            self._losses.append((steps, loss))
        self._hits, self._missed = _sum(self._hits, hits), _sum(self._missed, missed)
        if self._steps < LEAST_STEPS:
            return ""
        why = self._look_at_structures() or self._look_at_loss(progress)
        self._forget_part()
        return why

    @property
    def is_doubtful(self) -> bool:
        """Whether the last look was a bad one: such weights are nothing to go back to."""
        return bool(self.doubt)

    @property
    def doubt(self) -> str:
        """What is wrong with the last look, in words; empty: nothing is."""
        silent = [str(number) for number, looks in enumerate(self.silent, start=1) if looks]
        if self.above:
            return "its loss is above that of the start"
        return f"nothing of structure {', '.join(silent)} was found, which was found before" if silent else ""

    def _look_at_loss(self, progress: float) -> str:
        if not self._losses:
            return ""
        mean = sum(count * value for count, value in self._losses) / sum(count for count, _ in self._losses)
        self.looks += 1
        if self.first is None:
            self.first = self.lowest = mean
            return ""
        self.lowest = min(self.lowest, mean)
        scale = max(abs(self.first), SMALLEST_SCALE)
        self.above = self.above + 1 if mean > self.first + HIGHER * scale else 0
        if self.above >= LOOKS_ABOVE:
            return f"the loss rose from {self.first:.3g} at the start to {mean:.3g}"
        late = progress >= FALLEN_BY and self.looks >= LOOKS_BEFORE
        if self.expects_fall and late and self.lowest > self.first - LOWER * scale:
            return f"the loss has not fallen: {self.first:.3g} at the start, {self.lowest:.3g} at the lowest"
        return ""

    def _look_at_structures(self) -> str:
        self.found += [0.0] * (len(self._hits) - len(self.found))
        self.silent += [0] * (len(self._hits) - len(self.silent))
        for index, (hit, miss) in enumerate(zip(self._hits, self._missed, strict=True)):
            if hit + miss < LEAST_VOXELS:
                continue
            self.silent[index] = self.silent[index] + 1 if hit == 0 and self.found[index] > 0 else 0
            if self.silent[index] >= SILENT_LOOKS:
                return (
                    f"structure {index + 1} fell silent: not a voxel of it was found in {SILENT_LOOKS} looks "
                    f"in a row, after a Dice of {self.found[index]:.2f}"
                )
        return ""

    def note_dice(self, dice: Sequence[float]) -> None:
        """Take the Dice of each structure on validation patches; NaN: the patches hold nothing of it."""
        self.found += [0.0] * (len(dice) - len(self.found))
        for index, value in enumerate(dice):
            if value >= FOUND_DICE:  # NaN is not
                self.found[index] = max(self.found[index], float(value))

    def start_anew(self) -> None:
        """After a retry: what was bad is over; the first loss and what was found stay."""
        self.above, self.silent = 0, [0] * len(self.silent)
        self._forget_part()
        self.looks, self.lowest = 0, math.inf if self.first is None else self.first

    def _forget_part(self) -> None:
        self._steps, self._losses, self._hits, self._missed = 0, [], [], []

    def state(self) -> dict[str, Any]:
        """What a restart needs."""
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Course:
        """Go on from `state`."""
        # JSON and torch make lists of pairs.
        return cls(**{**state, "_losses": [(int(steps), float(loss)) for steps, loss in state["_losses"]]})


def _sum(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Of two lists, one of which may be empty."""
    longer = max(len(first), len(second))
    padded = ([*each, *[0.0] * (longer - len(each))] for each in (first, second))
    return [a + b for a, b in zip(*padded, strict=True)]
