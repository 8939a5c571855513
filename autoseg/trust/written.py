"""How a model's segmentations come to be what is written: expected quality is fitted on no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.labels import Labels

Array = NDArray[Any]

# Changes a segmentation (z, y, x) with its spacing (array order, mm), as the model's rules do.
Change = Callable[[Array, Sequence[float]], Array]
# Of a fold's folder.
EVIDENCE, PREDICTIONS = "evidence.json", "validation"


@dataclass(frozen=True)
class Written:
    """Between the networks of a fold and what is written of the cases that it held out.

    Attributes:
        change: what is done to the segmentations; None: nothing.
        predictions: the folder of a fold that has them.
        evidence: the file of a fold that says what the probabilities said of them.
        key: a hash of all of it; empty where segmentations are as the networks make them.
        words: the same for a reader.
    """

    change: Change | None = None
    predictions: str = PREDICTIONS
    evidence: str = EVIDENCE
    key: str = ""
    words: tuple[str, ...] = ()

    def apply(self, segmentation: Array, spacing: Sequence[float]) -> Array:
        """A segmentation as it is written."""
        return segmentation if self.change is None else self.change(segmentation, spacing)


PLAIN = Written()


def dices(prediction: Array, reference: Array, labels: Labels) -> dict[str, float]:
    """The Dice of each structure, 1 where neither has it; voxels with the ignore label do not count."""
    counted = None if labels.ignore is None else reference != labels.ignore
    found = {}
    for name, values in labels.structures.items():
        one, two = np.isin(prediction, list(values)), np.isin(reference, list(values))
        if counted is not None:
            one, two = one & counted, two & counted
        total = int(np.count_nonzero(one)) + int(np.count_nonzero(two))
        found[name] = 2 * int(np.count_nonzero(one & two)) / total if total else 1.0
    return found
