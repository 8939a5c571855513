"""Bootstrap resamples of cases, kept as counts: a byte for each resample and group, not eight for a case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

# Weights that are in memory at once: 16 MB of them.
_AT_ONCE = 2**21


@dataclass(frozen=True, eq=False)
class Resamples:
    """Draws of whole groups of cases, the same for all models.

    Attributes:
        counts: how often each group is drawn, shape (resamples, groups).
        membership: the group of each case, shape (cases,).
    """

    counts: NDArray[np.uint8]
    membership: Integers

    def __len__(self) -> int:
        return len(self.counts)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All weights, shape (resamples, cases); each row adds up to one."""
        found = np.concatenate([block for _, block in self._blocks()])
        return found if dtype is None else found.astype(dtype)

    def means(self, scores: Floats) -> Floats:
        """The mean of each resample.

        Args:
            scores: shape (models, cases).

        Returns:
            Shape (models, resamples).
        """
        found = np.empty((len(scores), len(self)))
        for rows, weights in self._blocks():
            found[:, rows] = scores @ weights.T
        return found

    def _blocks(self) -> Iterator[tuple[slice, Floats]]:
        for rows in _rows(len(self), len(self.membership)):
            weights = self.counts[rows][:, self.membership].astype(np.float64)
            weights /= weights.sum(axis=1, keepdims=True)
            yield rows, weights


def draw(membership: Integers, n_resamples: int, seed: int) -> Resamples:
    """Draw as many groups as there are, with replacement.

    Args:
        membership: the group of each case, counted from 0.
        n_resamples: number of draws.
        seed: of the random generator; the same seed gives the same draws.
    """
    n_groups = int(membership.max()) + 1
    generator = np.random.default_rng(seed)
    # A group is drawn once on average: of more than 255 groups, never so often that a byte does not hold it
    # (Poisson: below 10^-500).
    counts = np.empty((n_resamples, n_groups), np.uint8)
    for rows in _rows(n_resamples, n_groups):
        n_rows = rows.stop - rows.start
        drawn = generator.integers(0, n_groups, size=(n_rows, n_groups), dtype=np.int32)
        drawn += np.arange(n_rows, dtype=np.int32)[:, None] * n_groups
        counts[rows] = np.bincount(drawn.ravel(), minlength=n_rows * n_groups).reshape(n_rows, n_groups)
    return Resamples(counts, membership)


def groups_of(n_cases: int, groups: Sequence[str] | None) -> Integers:
    """The group of each case as a number; without groups each case is its own."""
    if groups is None:
        return np.arange(n_cases)
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.intp)


def _rows(n_rows: int, width: int) -> Iterator[slice]:
    """Rows of a wide table, as many at once as fit."""
    step = max(1, _AT_ONCE // max(width, 1))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
