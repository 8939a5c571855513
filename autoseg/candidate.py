"""What a selection chooses among: a model, or two that predict together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A model, or two that predict together.

    Attributes:
        name: of its row, or of both with a plus between them.
        models: their folders, as `autoseg predict` takes them.
        scores: mean Dice over structures of each out-of-fold case, (cases,).
        seconds: for one case; None: not measured.
        parameters: of all its networks; None: not known.
    """

    name: str
    models: tuple[Path, ...]
    scores: Floats = field(repr=False)
    seconds: float | None = None
    parameters: float | None = None

    @property
    def dice(self) -> float:
        """Mean over cases."""
        return float(self.scores.mean())

    @property
    def simplicity(self) -> tuple[float, ...]:
        """Smaller is simpler: number of models, time, size; what is not known counts as dearest."""
        unknown = float("inf")
        seconds = unknown if self.seconds is None else self.seconds
        parameters = unknown if self.parameters is None else self.parameters
        return len(self.models), seconds, parameters, -self.dice
