"""The segmentation with the best Dice that its probabilities expect.

The label with the largest probability is right most often in each voxel, which is not what Dice counts. For
one structure the set of n voxels with the best expected Dice holds the n likeliest ones, and about

    Dice(n) = 2 (sum of their probabilities) / (n + sum of all probabilities + 1)

is expected of it: the reciprocal moment approximation of RankSEG (Wang and Dai, RankSEG-RMA, NeurIPS 2025,
arXiv:2510.15362). The best n ends where a probability falls below half of the best Dice (Lipton, Elkan and
Naryanaswamy, ECML PKDD 2014), so that nothing is sorted but what lies between. Numpy alone: a bundle decides
as its model does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.labels import Labels

Array = NDArray[Any]
Floats = NDArray[Any]

# A structure that is nowhere more likely than not stays absent, as with the largest probability.
PRESENT = 0.5


@dataclass(frozen=True)
class Cut:
    """Where the best set of one structure ends.

    Attributes:
        threshold: probability from which on a voxel raises the expected Dice: half of it.
        gain: by how much a voxel raises it for each unit of probability above the threshold, halved.
        dice: expected.
    """

    threshold: float
    gain: float
    dice: float


def cut_of(probabilities: Floats) -> Cut | None:
    """The best cut of one structure.

    Args:
        probabilities: of any shape.

    Returns:
        None where no voxel is above `PRESENT`.
    """
    p = probabilities.ravel()
    sure = p[p > PRESENT]
    if not sure.size:
        return None
    count, inside, whole = sure.size, float(sure.sum(dtype=np.float64)), float(p.sum(dtype=np.float64))
    # What lies below half of a Dice that is reached already is in no better set.
    least = inside / (count + whole + 1)
    open_ones = np.sort(p[(p > least) & (p <= PRESENT)])[::-1]
    sums = inside + np.concatenate([[0.0], np.cumsum(open_ones, dtype=np.float64)])
    sizes = count + np.arange(len(sums))
    halves = sums / (sizes + whole + 1)
    best = int(np.argmax(halves))
    return Cut(float(halves[best]), 1 / float(sizes[best] + whole + 2), 2 * float(halves[best]))


def segment_for_dice(probabilities: Floats, labels: Labels) -> Array:
    """The segmentation with about the best mean of the structures' expected Dice.

    Where several structures want a voxel, the one has it whose expected Dice rises most; of regions each is
    decided by itself, as they overlap.

    Args:
        probabilities: (heads, z, y, x).
        labels: what the heads stand for.

    Returns:
        (z, y, x), uint8, or uint16 for 255 labels and more.
    """
    kind = np.uint8 if len(labels.all_values) - 1 < 255 else np.uint16
    found = np.zeros(probabilities.shape[1:], dtype=kind)
    if labels.has_regions and labels.region_order is not None:
        for channel, label in zip(probabilities, labels.region_order, strict=True):
            if (cut := cut_of(channel)) is not None:
                np.copyto(found, label, where=channel > cut.threshold)
        return found
    best = np.zeros(found.shape, dtype=np.float64)
    for label, channel in enumerate(probabilities[1:], 1):
        if (cut := cut_of(channel)) is None:
            continue
        rise = (channel - cut.threshold) * cut.gain
        better = rise > best
        np.copyto(best, rise, where=better)
        np.copyto(found, label, where=better)
    return found
