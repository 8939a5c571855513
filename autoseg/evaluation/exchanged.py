"""Predictions whose label values are exchanged among themselves, such as 1 for 2 and 2 for 1.

Every value is one that a label has, and the scores are those of a bad model: nothing else would tell. What is
found is told, never applied: a model may well have learnt it so.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from autoseg.data.dataset import Labels
from autoseg.data.image import Array

logger = logging.getLogger(__name__)

# How many voxels a reference's and a prediction's value have in common, by both values.
Overlap = Mapping[tuple[int, int], int]

# One case alone may be a model's own confusion of two structures.
FEWEST_CASES = 2
# Mean Dice of the values concerned, as they are and as they would be; and the least of any of them then.
BAD, GOOD, LEAST = 0.2, 0.6, 0.4


def overlap_of(labels: Labels, reference: Array, prediction: Array) -> dict[tuple[int, int], int]:
    """The voxels of every pair of declared values, those left out where the reference has the ignore label.

    Args:
        labels: what is declared.
        reference: label values, of any shape.
        prediction: label values of the same shape.
    """
    values = np.array(sorted({0, *labels.all_values}))
    # Most voxels of most images are background in both: these are only counted.
    drawn = (reference != 0) | (prediction != 0)
    pair = reference[drawn], prediction[drawn]
    rows, columns = (np.minimum(np.searchsorted(values, each), len(values) - 1) for each in pair)
    known = (values[rows] == pair[0]) & (values[columns] == pair[1])
    counts = np.bincount(rows[known] * len(values) + columns[known], minlength=len(values) ** 2)
    nothing = int(np.searchsorted(values, 0))
    counts[nothing * len(values) + nothing] = drawn.size - len(pair[0])
    return {
        (int(values[place // len(values)]), int(values[place % len(values)])): int(counts[place])
        for place in np.flatnonzero(counts)
    }


def exchanged(overlaps: Sequence[Overlap]) -> dict[int, int]:
    """The values of predictions that would agree far better with the references as other labels.

    Args:
        overlaps: `overlap_of` each case that has a prediction.

    Returns:
        Value in the predictions to the label that it seems to stand for; empty where nothing speaks for it.
    """
    if len(overlaps) < FEWEST_CASES:
        return {}
    together = Counter[tuple[int, int]]()
    for overlap in overlaps:
        together.update(overlap)
    values = sorted({value for pair in together for value in pair})
    dice = _dice(together, values)
    assigned = _assigned(dice)
    moved = [column for column, row in enumerate(assigned) if row != column]
    # Values that no prediction holds only make room for the others.
    held = [column for column in moved if any(pair[1] == values[column] for pair in together)]
    if not held:
        return {}
    found = {values[column]: values[assigned[column]] for column in held}
    # The background is large enough to agree with nearly anything: it counts only in exchange for one label.
    if any(found.get(label) != value for value, label in found.items() if 0 in (value, label)):
        return {}
    better = 0
    for overlap in overlaps:
        own = _dice(overlap, values)
        better += _speaks(own[held, held], own[[assigned[column] for column in held], held])
    return found if better > len(overlaps) / 2 and better >= FEWEST_CASES else {}


def warn_of_exchanged(overlaps: Sequence[Overlap], mapping: Mapping[int, int]) -> None:
    """Say which values seem to be exchanged, if any.

    Args:
        overlaps: `overlap_of` each case that has a prediction.
        mapping: what the user said that the predictions' values stand for; applied already.
    """
    if found := exchanged(overlaps):
        logger.warning("%s", _words(found, mapping))


def _words(found: Mapping[int, int], mapping: Mapping[int, int]) -> str:
    pairs = ", ".join(f"{value} for {label}" for value, label in found.items())
    told = (
        f"The predictions' label values seem to be exchanged ({pairs}): as they are they hardly agree with "
        f"the references, exchanged they would. "
    )
    if mapping:
        return f"{told}Look whether --map says the right thing; nothing was changed."
    listed = ",".join(f"{value}={label}" for value, label in found.items())
    return f"{told}If so, say it: --map {listed}. Nothing was changed."


def _dice(overlap: Overlap, values: Sequence[int]) -> Array:
    """Dice of each reference's value (rows) with each prediction's (columns); NaN where neither occurs."""
    places = {value: place for place, value in enumerate(values)}
    counts = np.zeros((len(values), len(values)))
    for (reference, prediction), count in overlap.items():
        counts[places[reference], places[prediction]] = count
    both = counts.sum(axis=1)[:, None] + counts.sum(axis=0)[None]
    dice: Array = np.divide(2 * counts, both, out=np.full(counts.shape, np.nan), where=both > 0)
    return dice


def _assigned(dice: Array) -> list[int]:
    """For each column the row of the assignment with the greatest sum; of equal ones, the one as it is."""
    from scipy.optimize import linear_sum_assignment

    gain = np.nan_to_num(dice, nan=0.0) + 1e-6 * np.eye(len(dice))
    rows, columns = linear_sum_assignment(gain, maximize=True)
    found = dict(zip(columns.tolist(), rows.tolist(), strict=True))
    return [found[column] for column in range(len(dice))]


def _speaks(as_it_is: Array, exchanged: Array) -> bool:
    """Whether one case speaks for the exchange: of the values concerned, those that occur in it count."""
    if np.isnan(as_it_is).all() or np.isnan(exchanged).all():
        return False
    far = np.nanmean(as_it_is) < BAD and np.nanmean(exchanged) > GOOD
    return bool(far and np.nanmin(exchanged) > LEAST)
