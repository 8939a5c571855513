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
# Logits that are taken in at a time.
_VALUES_AT_ONCE = 2**24
# Up to so many labels are counted one after the other: with 4 in 0.10 ms where a histogram takes 0.65, of
# 432,000 voxels; with 16 both take as long.
_FEW = 16
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
            chosen, near = flat > 0, _at((np.abs(flat) < _MARGIN).any(axis=0))
            self._add(
                np.count_nonzero(chosen, axis=1), _of(chosen, near), _sigmoid(_of(flat, near)), flat.shape[1]
            )
            return
        label, best, second = _two_largest(flat)
        # Where all others are below this, together they are below the cut.
        near = _at(second > best - np.float32(_MARGIN + np.log(max(len(flat) - 1, 1))))
        self._add_labels(label, near, _softmax(_of(flat, near)))

    def add_probabilities(self, slab: Floats) -> None:
        """Take in probabilities (heads, z, y, x); where all are 0, as outside a crop, it is background."""
        flat = slab.reshape(len(slab), -1)
        if self.has_regions:
            chosen, near = flat > 0.5, _at(((flat > CUT) & (flat < 1 - CUT)).any(axis=0))
            self._add(np.count_nonzero(chosen, axis=1), _of(chosen, near), _of(flat, near), flat.shape[1])
            return
        label, best, _ = _two_largest(flat)
        near = _at((best < 1 - CUT) & (best > 0))
        self._add_labels(label, near, _of(flat, near))

    def add_decided(self, slab: Floats, segmentation: Floats, labels: Labels) -> None:
        """Take in probabilities (heads, z, y, x) whose segmentation (z, y, x) is not that of the largest."""
        flat, label = slab.reshape(len(slab), -1), segmentation.ravel()
        if self.has_regions:
            chosen = np.stack([np.isin(label, list(values)) for values in labels.structures.values()])
            near = _at(((flat > CUT) & (flat < 1 - CUT)).any(axis=0))
            self._add(np.count_nonzero(chosen, axis=1), _of(chosen, near), _of(flat, near), flat.shape[1])
            return
        best = flat.max(axis=0)
        near = _at((best < 1 - CUT) & (best > 0))
        self._add_labels(label, near, _of(flat, near))

    def _add_labels(self, label: Floats, near: Floats, p: Floats) -> None:
        heads = len(self.heads)
        inside = label[near] == np.arange(heads)[:, None]
        self._add(_counts(label, heads), inside, p, label.size)

    def _add(self, segmented: Floats, inside: Floats, p: Floats, voxels: int) -> None:
        """Take in voxels that are near a decision by their probabilities, the others as certain.

        Args:
            segmented: (heads,): how many voxels each has.
            inside: (heads, voxels near a decision): which of them have these.
            p: their probabilities.
            voxels: how many there are in all.
        """
        p = p.astype(np.float32, copy=False)
        p = np.where(p < CUT, 0, np.where(p > 1 - CUT, 1, p))
        whole = _plogp(p)
        binary = whole + _plogp(1 - p)
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
        self.highest = np.maximum(self.highest, np.where(sure > 0, 1, p.max(axis=1, initial=0)))
        self.entropy += float((binary.mean(axis=0) if self.has_regions else whole).sum(dtype=np.float64))
        self.voxels += voxels

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


def seen_by(evidence: Evidence | None, slabs: Iterable[Floats], known: int = 0) -> Iterator[Floats]:
    """Slabs of logits (heads, z, y, x) as they come, each taken in first; with None they pass by.

    Args:
        evidence: takes them in some slices at a time: what that takes beside them stays small.
        slabs: of one strip along y.
        known: first rows that were taken in with another strip.
    """
    for slab in slabs:
        if evidence is not None and slab.shape[2] > known:
            step = max(1, _VALUES_AT_ONCE // max(1, slab[:, 0, known:].size))
            for first in range(0, slab.shape[1], step):
                evidence.add_logits(slab[:, first : first + step, known:])
        yield slab
        del slab  # not beside what is computed next


def head_of_each(labels: Labels) -> dict[str, int]:
    """The head of each structure: a region has its own, a label that of its value."""
    if labels.has_regions:
        return {name: index for index, name in enumerate(labels.structures)}
    values = list(labels.all_values)
    return {name: values.index(only) for name, (only,) in labels.structures.items()}


def _two_largest(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Of (heads, voxels): the head of each voxel's largest value, that value, and the second largest.

    Of equal ones the first head has it. Head by head, which is several times faster than over an axis of few.
    """
    best, label = values[0].copy(), np.zeros(values.shape[1], np.uint16)
    second = np.full_like(best, -np.inf)
    for head, row in enumerate(values[1:], 1):
        np.putmask(label, row > best, head)
        np.maximum(second, np.minimum(best, row), out=second)
        np.maximum(best, row, out=best)
    return label, best, second


def _at(mask: Any) -> Floats:
    """Where a mask is true, as indices: taking few of many voxels by them is several times faster."""
    return np.flatnonzero(mask)


def _of(values: Floats, near: Floats) -> Floats:
    """Some columns of (heads, voxels), head after head in memory: what follows adds up along the voxels.

    Indexed the usual way they lie voxel after voxel, and a softmax of two heads takes thirty times as long.
    """
    return values.take(near, axis=1)


def _counts(label: Floats, heads: int) -> Floats:
    """How many voxels have each label; of few labels one after the other, which is faster."""
    if heads > _FEW:
        return np.bincount(label, minlength=heads)
    return np.array([np.count_nonzero(label == head) for head in range(heads)])


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=0, initial=-np.inf))
    return np.asarray(shifted / shifted.sum(axis=0))


def _sigmoid(logits: Floats) -> Floats:
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1, small) / (1 + small))


def _plogp(p: Floats) -> Floats:
    """-p log p, 0 at 0."""
    return np.asarray(-p * np.log(np.maximum(p, np.finfo(p.dtype).tiny)))
