"""Which candidate rules the cases confirm, and what the choice is worth on cases that had no part in it.

The best of many candidates looks better on the cases that chose it than on any others. Two things are done
about it. A candidate is retained only if a test confirms it that allows for all candidates of all structures
together: sign changes with the largest statistic (Westfall and Young, "Resampling-Based Multiple Testing",
1993). And its worth is measured on cases that had no part in choice or test: the whole of it is repeated
without each fold in turn, and what is retained there is applied to that fold (nested cross-validation; Varma
and Simon, BMC Bioinformatics 7:91, 2006).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from autoseg.leaderboard.statistics import ALPHA, BLOCK, RESOLUTION, group_means

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Chosen = dict[int, int]

FEWEST_PARTS, USUAL_PARTS = 3, 5
FLIPS = 8192


@dataclass(frozen=True)
class Confirmed:
    """What the cases confirm.

    Attributes:
        chosen: for a structure's index that of its candidate; structures without one are left out.
        p: of each structure the smallest of its candidates, adjusted for all.
    """

    chosen: Chosen
    p: Floats


def parts_of(folds: Sequence[Hashable], groups: Sequence[str]) -> Integers:
    """The part of each case: its fold, or where there are fewer than three, its group dealt into five.

    Args:
        folds: the fold of each case.
        groups: the group of each case; a case without one is its own.
    """
    names = list(dict.fromkeys(folds))
    if len(names) >= FEWEST_PARTS:
        return np.array([names.index(fold) for fold in folds])
    order = {name: number % USUAL_PARTS for number, name in enumerate(sorted(set(groups)))}
    return np.array([order[name] for name in groups])


def confirm(gains: Floats, groups: Sequence[str]) -> Confirmed:
    """Retain of each structure the candidate with the highest mean gain among those that pass the test.

    Args:
        gains: (structures, candidates, cases), the change of each case's score.
        groups: of each case; a group counts as one observation.
    """
    structures, number, cases = gains.shape
    units = group_means(gains.reshape(structures * number, cases), groups)
    p = _adjusted(units).reshape(structures, number)
    means = np.where(p < ALPHA, gains.mean(axis=2), 0.0)
    return Confirmed(_highest(means), p.min(axis=1))


def _adjusted(units: Floats) -> Floats:
    """One-sided p values of sign changes, adjusted by the largest statistic of all candidates.

    That a gain and a loss are equally likely is what is tested. Signs change for all candidates of a group
    together, so that candidates that do nearly the same count as little more than one.

    Args:
        units: (candidates, groups).
    """
    norms = np.sqrt((units**2).sum(axis=1))
    scaled = np.divide(units, norms[:, None], out=np.zeros_like(units), where=norms[:, None] > RESOLUTION)
    observed = scaled.sum(axis=1)
    reached = np.zeros(len(units))
    signs = _signs(units.shape[1])
    for start in range(0, len(signs), BLOCK):
        largest = (signs[start : start + BLOCK] @ scaled.T).max(axis=1)
        reached += (largest[:, None] >= observed - 1e-9).sum(axis=0)
    return reached / len(signs)


@lru_cache(maxsize=8)
def _signs(units: int) -> Floats:
    """All signs of few units, else random ones with the observed among them."""
    if 2**units <= FLIPS:
        bits = (np.arange(2**units)[:, None] >> np.arange(units)) & 1
        return np.where(bits, -1.0, 1.0)
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (FLIPS, units))
    signs[0] = 1.0
    return signs


def confirm_without(gains: Floats, parts: Integers, groups: Sequence[str]) -> Mapping[int, Chosen]:
    """What is confirmed without each part, by part: choice and test do not see its cases."""
    found: dict[int, Chosen] = {}
    for part in np.unique(parts):
        others = np.flatnonzero(parts != part)
        some = len(others) > 0
        found[int(part)] = (
            confirm(gains[:, :, others], [groups[int(case)] for case in others]).chosen if some else {}
        )
    return found


def best(gains: Floats) -> Chosen:
    """The candidate with the highest mean gain of each structure, if that is above 0; the first of equals."""
    return _highest(gains.mean(axis=2))


def _highest(means: Floats) -> Chosen:
    tops = means.max(axis=1)
    return {
        structure: int(np.flatnonzero(row >= top - RESOLUTION)[0])
        for structure, (row, top) in enumerate(zip(means, tops, strict=True))
        if top > RESOLUTION
    }
