"""What every candidate rule would change in the Dice of one case that the model was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.postprocessing.apply import change, components_of, mask_of, staying, surrounding
from autoseg.postprocessing.rules import ML, Rule

Array = NDArray[Any]
Floats = NDArray[np.float64]

# Sizes that are tried, whatever the data: half decades.
SIZES = {
    ML: (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    "pixels": (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0),
}


def candidates(rule: Rule, unit: str) -> tuple[Rule, ...]:
    """All that may be done to one structure, the simplest first; doing nothing is not among them."""
    removals = [(False, None), (True, None), *((False, size) for size in SIZES[unit])]
    return tuple(
        replace(rule, largest=largest, smallest=smallest, fill=fill)
        for fill, (largest, smallest) in product((False, True), removals)
        if fill or largest or smallest is not None
    )


def dices(prediction: Array, reference: Array, rules: Sequence[Rule], ignore: int | None) -> Floats:
    """The Dice of each structure; 1 where neither has it."""
    counts = [_counts(prediction, reference, rule, ignore) for rule in rules]
    return np.array([_dice(each) for each in counts])


def gains(
    prediction: Array,
    reference: Array,
    rules: Sequence[Rule],
    voxel: float,
    unit: str,
    ignore: int | None = None,
) -> Floats:
    """The change of a case's mean Dice over structures by each candidate of each structure alone.

    Args:
        prediction: (z, y, x), made by networks that did not learn from the case.
        reference: of the same shape.
        rules: one that does nothing for each structure.
        voxel: size of a voxel in `unit`.
        unit: of the sizes.
        ignore: label of voxels in the reference that do not count.

    Returns:
        (structures, candidates).
    """
    before = [_counts(prediction, reference, rule, ignore) for rule in rules]
    table = np.zeros((len(rules), len(candidates(rules[0], unit))))
    for row, rule in enumerate(rules):
        # Of plain labels one alone changes; regions share voxels.
        touched = {*rule.values, rule.inside, rule.outside} - {0}
        affected = [n for n, other in enumerate(rules) if touched & set(other.values)]
        mask = mask_of(prediction, rule.values)
        if not mask.any():
            continue
        box = surrounding(mask)
        inner, part, truth = mask[box], prediction[box], reference[box]
        within = {n: _counts(part, truth, rules[n], ignore) for n in affected}
        marks, sizes = components_of(inner)
        known: dict[tuple[bytes, bool], float] = {(np.flatnonzero(sizes[1:] > 0).tobytes(), False): 0.0}
        for column, candidate in enumerate(candidates(rule, unit)):
            stays = staying(sizes, candidate, voxel)
            key = (np.flatnonzero(stays[1:]).tobytes(), candidate.fill)
            if key not in known:
                new = part.copy()
                change(new, inner, stays[marks], candidate)
                known[key] = sum(
                    _dice(before[n] - within[n] + _counts(new, truth, rules[n], ignore)) - _dice(before[n])
                    for n in affected
                )
            table[row, column] = known[key] / len(rules)
    return table


def _counts(prediction: Array, reference: Array, rule: Rule, ignore: int | None) -> NDArray[np.int64]:
    """Voxels in both, in the prediction, and in the reference."""
    found, true = mask_of(prediction, rule.values), mask_of(reference, rule.values)
    if ignore is not None:
        found = found & (reference != ignore)
    return np.array([np.count_nonzero(found & true), np.count_nonzero(found), np.count_nonzero(true)])


def _dice(counts: NDArray[np.int64]) -> float:
    both, predicted, true = map(int, counts)
    return 2 * both / (predicted + true) if predicted + true else 1.0
