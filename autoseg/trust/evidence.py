"""What a prediction's probabilities say of it: sums that are taken slab by slab, in numpy alone.

Everything here is of one prediction. How much the models of several folds disagree is left out on purpose:
on a training case all but one of them have seen it, on a new case none has, so that a threshold fitted on
the one does not hold for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.labels import Labels

Floats = NDArray[Any]

# A smaller probability counts as 0: millions of background voxels would outweigh a small structure.
CUT = 0.01
_MARGIN = float(np.log((1 - CUT) / CUT))


@dataclass
class Evidence:
    """Sums over the voxels of one case, on the grid that the networks predict on.

    Attributes:
        has_regions: whether heads are regions, each by itself, or labels that exclude each other.
        heads: (heads, 4): sums of probabilities p, of the segmentation s (0 or 1), of p s, and of the binary
            entropy of p in nats.
        highest: (heads,): the largest p of any voxel, 0 below `CUT`.
        copies: (heads, 3): of mirrored copies and their mean, voxels in both, in the copies, in the mean; 0
            where there are no copies.
        entropy: sum of the entropy of the voxels' distributions over the heads, nats.
        voxels: how many there were.
    """

    has_regions: bool
    heads: Floats
    highest: Floats
    copies: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    entropy: float = 0.0
    voxels: int = 0

    @classmethod
    def of(cls, labels: Labels) -> Evidence:
        """An empty one for the heads of a data set."""
        count = labels.num_heads
        return cls(labels.has_regions, np.zeros((count, 4)), np.zeros(count), np.zeros((count, 3)))

    def add_logits(self, slab: Floats) -> None:
        """Take in logits (heads, z, y, x)."""
        flat = slab.reshape(len(slab), -1)
        if self.has_regions:
            self._add(flat > 0, np.abs(flat) < _MARGIN, lambda near: _sigmoid(flat[:, near]))
            return
        # Where all others are below this, together they are below the cut.
        margin = _MARGIN + np.log(max(len(flat) - 1, 1))
        near = np.count_nonzero(flat > flat.max(axis=0) - margin, axis=0) > 1
        self._add(_largest(flat), near, lambda near: _softmax(flat[:, near]))

    def add_probabilities(self, slab: Floats) -> None:
        """Take in probabilities (heads, z, y, x); where all are 0, as outside a crop, it is background."""
        flat = slab.reshape(len(slab), -1)
        if self.has_regions:
            self._add(flat > 0.5, (flat > CUT) & (flat < 1 - CUT), lambda near: flat[:, near])
            return
        best = flat.max(axis=0)
        self._add(_largest(flat), (best < 1 - CUT) & (best > 0), lambda near: flat[:, near])

    def _add(self, chosen: Floats, near: Floats, probabilities: Any) -> None:
        """Voxels that are near a decision are counted by their probabilities, the others as certain."""
        undecided = near.any(axis=0) if near.ndim == 2 else near
        inside = chosen[:, undecided]
        p = probabilities(undecided).astype(np.float32, copy=False)
        p = np.where(p < CUT, 0, np.where(p > 1 - CUT, 1, p))
        binary = _plogp(p) + _plogp(1 - p)
        segmented = np.count_nonzero(chosen, axis=1)
        sure = segmented - np.count_nonzero(inside, axis=1)
        self.heads += np.stack(
            [
                p.sum(axis=1, dtype=np.float64) + sure,
                segmented,
                (p * inside).sum(axis=1, dtype=np.float64) + sure,
                binary.sum(axis=1, dtype=np.float64),
            ],
            axis=1,
        )
        top = p.max(axis=1, initial=0)
        self.highest = np.maximum(self.highest, np.where(sure > 0, 1, top))
        whole = binary.mean(axis=0) if self.has_regions else _plogp(p).sum(axis=0)
        self.entropy += float(whole.sum(dtype=np.float64))
        self.voxels += chosen.shape[1]

    def add_copies(self, both: Floats, copies: Floats, mean: Floats) -> None:
        """Take in how mirrored copies and their mean agree in some tiles, in voxels of each head."""
        self.copies += np.stack([both, copies, mean], axis=1)

    def of_head(self, head: int) -> dict[str, float | None]:
        """What is known of one head.

        Returns:
            ``expected_dice``: the Dice that the probabilities expect, 2 sum(ps) / (sum(p) + sum(s)); of an
            empty segmentation, how likely it is at most that the reference is empty too. ``uncertainty``:
            entropy for each segmented voxel, nats. ``agreement``: Dice of the mirrored copies and their mean,
            None without copies.
        """
        p, s, both, entropy = (float(value) for value in self.heads[head])
        shared, *parts = (float(value) for value in self.copies[head])
        return {
            "expected_dice": 2 * both / (p + s) if s else 1.0 - float(self.highest[head]),
            "uncertainty": entropy / s if s else None,
            "agreement": 2 * shared / sum(parts) if sum(parts) else None,
        }

    def to_json(self, labels: Labels) -> dict[str, Any]:
        """``structures`` by name, see `of_head`; ``entropy``: its mean over the voxels, nats."""
        heads = head_of_each(labels)
        return {
            "structures": {name: self.of_head(head) for name, head in heads.items()},
            "entropy": self.entropy / max(self.voxels, 1),
        }


def seen_by(evidence: Evidence | None, slabs: Iterable[Floats]) -> Iterator[Floats]:
    """Slabs of logits as they come, each taken in first; with None they pass by."""
    for slab in slabs:
        if evidence is not None:
            evidence.add_logits(slab)
        yield slab


def head_of_each(labels: Labels) -> dict[str, int]:
    """The head of each structure: a region has its own, a label that of its value."""
    if labels.has_regions:
        return {name: index for index, name in enumerate(labels.structures)}
    values = list(labels.all_values)
    return {name: values.index(only) for name, (only,) in labels.structures.items()}


def _largest(values: Floats) -> Floats:
    """(heads, voxels): whether a head has a voxel's largest value; of equal ones the first has it."""
    return np.asarray(values.argmax(axis=0) == np.arange(len(values))[:, None])


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=0, initial=-np.inf))
    return np.asarray(shifted / shifted.sum(axis=0))


def _sigmoid(logits: Floats) -> Floats:
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1, small) / (1 + small))


def _plogp(p: Floats) -> Floats:
    """-p log p, 0 at 0."""
    return np.asarray(-p * np.log(p, where=p > 0, out=np.zeros_like(p)))
