"""Training on few cases: seeded subsets that keep groups whole and lie within each other."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np

from autoseg.data.groups import members
from autoseg.errors import UsageError

log = logging.getLogger(__name__)

Size = int | float


def parse_cases(text: str) -> Size:
    """Read a number of cases, ``20``, or a percentage, ``10%``.

    Returns:
        An int for a number, a float above 0 and up to 1 for a percentage.

    Raises:
        UsageError: for anything else.
    """
    number, percent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
    try:
        size: Size = float(number) / 100 if percent else int(number)
    except ValueError:
        size = 0
    try:
        _check(size)
    except UsageError:
        raise UsageError(f"{text!r} is not a number of cases. Write 20, or 10%.") from None
    return size


def subset(
    training_cases: Sequence[str], groups: Mapping[str, str], size: Size, seed: int = 0
) -> tuple[str, ...]:
    """Choose some of the training cases.

    The groups are shuffled by the seed, and cases are taken group by group as long as there is room. So the
    subsets of one seed are nested, and no group is torn. At least one group is taken, even if it is larger.

    Args:
        training_cases: identifiers.
        groups: the group of each case; a case without one is a group of its own.
        size: an int is a number of cases; a float (0 to 1) is a part of them, rounded down (of 799 cases,
            10 % are 79, as published for the fetal head).
        seed: fixes the shuffle; the order of the cases does not matter.

    Returns:
        Identifiers, sorted.

    Raises:
        UsageError: if there are no cases, fewer than requested, or `size` makes no sense.
    """
    _check(size)
    cases = sorted(set(training_cases))
    # What floats make of 29 % of 100 cases is a hair below 29.
    wanted = size if isinstance(size, int) else max(1, math.floor(size * len(cases) + 1e-9))
    if wanted > len(cases):
        raise UsageError(f"{wanted} training cases are requested, and there are {len(cases)}. Request fewer.")
    together = members(cases, groups)
    order = np.arange(len(together))
    np.random.RandomState(seed).shuffle(order)
    chosen: list[str] = []
    for index in order.tolist():
        if chosen and len(chosen) + len(together[index]) > wanted:
            break
        chosen += together[index]
    if len(chosen) != wanted:
        log.info("%d cases instead of %d: groups stay whole.", len(chosen), wanted)
    return tuple(sorted(chosen))


def _check(size: Size) -> None:
    whole = isinstance(size, int) and not isinstance(size, bool) and size >= 1
    part = isinstance(size, float) and 0 < size <= 1
    if not (whole or part):
        raise UsageError(
            f"The size of a subset is {size!r}; expected a number of cases, or a part such as 0.1."
        )
