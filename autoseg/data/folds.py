"""Folds for cross-validation: which cases train and which validate."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.data.groups import members
from autoseg.errors import DataError, UsageError

logger = logging.getLogger(__name__)

# nnU-Net's seed and number, so that its splits and ours are the same file.
SEED = 12345
NUMBER = 5
# Of a fold's training cases, what watches a training that chooses by its validation loss.
WATCHING_FRACTION = 0.125


@dataclass(frozen=True)
class Fold:
    """One fold: the identifiers of its training and of its validation cases, sorted."""

    index: int
    training: tuple[str, ...]
    validation: tuple[str, ...]


def make_folds(dataset: Dataset, n_folds: int = NUMBER, seed: int = SEED) -> tuple[Fold, ...]:
    """Divide the cases of a data set for cross-validation.

    Without groups these are nnU-Net's folds (its `generate_crossval_split`). With groups no group spans two
    folds: the groups are shuffled by the seed, then, the largest first, each goes to the fold that has the
    fewest cases.

    Args:
        dataset: its cases and their groups; a case without a group is a group of its own.
        n_folds: how many folds are wanted; fewer are made where there are fewer cases or groups.
        seed: fixes the shuffle.

    Raises:
        UsageError: if fewer than two folds are wanted.
        DataError: if there are fewer than two cases or groups to divide.
    """
    if n_folds < 2:
        raise UsageError(
            f"Cross-validation needs at least 2 folds, not {n_folds}. "
            f"To train on all cases: autoseg train DATASET TRAINER --fold all."
        )
    cases = sorted(case.identifier for case in dataset.cases)
    together = members(cases, dataset.groups)
    what = "cases" if len(together) == len(cases) else "groups"
    if len(together) < 2:
        raise _indivisible(dataset)
    if len(together) < n_folds:
        logger.warning(
            "%s has %d %s: %d folds instead of %d", dataset.name, len(together), what, len(together), n_folds
        )
        n_folds = len(together)
    # nnU-Net knows no groups, so its folds only hold where no group joins two cases.
    parts = _equal_parts(cases, n_folds, seed) if what == "cases" else _grouped_parts(together, n_folds, seed)
    return tuple(
        Fold(index, tuple(case for case in cases if case not in part), tuple(sorted(part)))
        for index, part in enumerate(parts)
    )


def watching_cases(
    training: Sequence[str], groups: Mapping[str, str], seed: int = SEED
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Set cases apart that a training may look at, so that the fold's held-out cases stay unseen.

    Early stopping, a plateau's schedule and the choice of the best checkpoints all choose by a validation
    loss; taken from the cases that are reported, they would flatter the result.

    Args:
        training: the fold's training cases.
        groups: group of each case; a case without one is a group of its own. No group is divided.
        seed: fixes the draw.

    Returns:
        The cases to train on and those to watch, about `WATCHING_FRACTION` of all and at least one group;
        of a single group, the same cases twice, for there is nothing to set apart.
    """
    each = members(sorted(training), groups)
    if len(each) < 2:
        logger.warning("All training cases are of one group: the training is watched on what it learns from.")
        return tuple(sorted(training)), tuple(sorted(training))
    watching = set[str]()
    for index in _shuffled(len(each), seed):
        if len(watching) + len(each[index]) <= WATCHING_FRACTION * len(training):
            watching.update(each[index])
    watching = watching or set(each[int(np.argmin([len(group) for group in each]))])
    rest = tuple(case for case in sorted(training) if case not in watching)
    return rest, tuple(sorted(watching))


def _indivisible(dataset: Dataset) -> DataError:
    if len(dataset.cases) == 1:
        found = f"{dataset.name} has one case"
    else:
        found = f"all {len(dataset.cases)} cases of {dataset.name} are in one group"
    return DataError(
        f"Cross-validation is impossible: {found}, and at least two are needed, one to train on and one to "
        f"validate on. Train on all of it without validation: autoseg train {dataset.root} nnunet --fold all."
    )


def _equal_parts(cases: Sequence[str], number: int, seed: int) -> list[set[str]]:
    """Consecutive parts of the shuffled cases, the first ones larger by one: scikit-learn's KFold."""
    parts = np.array_split(_shuffled(len(cases), seed), number)
    return [{cases[index] for index in part.tolist()} for part in parts]


def _grouped_parts(groups: Sequence[Sequence[str]], number: int, seed: int) -> list[set[str]]:
    order = _shuffled(len(groups), seed)
    parts: list[set[str]] = [set() for _ in range(number)]
    for index in sorted(order, key=lambda index: -len(groups[index])):
        min(parts, key=len).update(groups[index])
    return parts


def _shuffled(count: int, seed: int) -> list[int]:
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    return [int(index) for index in order]


def folds_to_json(folds: Sequence[Fold]) -> list[dict[str, list[str]]]:
    """The content of nnU-Net's splits_final.json."""
    return [{"train": list(fold.training), "val": list(fold.validation)} for fold in folds]


def folds_from_json(content: Any) -> tuple[Fold, ...]:
    """Folds from the content of nnU-Net's splits_final.json, which may have been written by hand.

    Raises:
        DataError: if it is not a list of {"train": [...], "val": [...]}. A case on both sides of a fold is
            only logged, since nnU-Net allows it.
    """
    if not isinstance(content, list) or not content or not all(_is_split(split) for split in content):
        raise DataError(
            'The folds are not a list of {"train": [CASE, ...], "val": [CASE, ...]}, none of them empty. '
            "Correct the file, or delete it to have the folds made again."
        )
    folds = tuple(Fold(i, tuple(split["train"]), tuple(split["val"])) for i, split in enumerate(content))
    for fold in folds:
        if both := sorted(set(fold.training) & set(fold.validation)):
            logger.warning("Fold %d trains and validates on the same cases: %s", fold.index, ", ".join(both))
    return folds


def _is_split(split: Any) -> bool:
    if not isinstance(split, dict):
        return False
    sides = (split.get("train"), split.get("val"))
    return all(isinstance(side, list) and side and all(isinstance(c, str) for c in side) for side in sides)


def check_own_folds(folds: Sequence[Fold], dataset: Dataset, path: Path) -> None:
    """Check folds that somebody wrote by hand. Cases that no fold names are retained for another use.

    Raises:
        DataError: for names that no case has.
    """
    known = [case.identifier for case in dataset.cases]
    named = list(dict.fromkeys(case for fold in folds for case in (*fold.training, *fold.validation)))
    if unknown := [case for case in named if case not in set(known)]:
        close = get_close_matches(unknown[0], known, n=1)
        meant = f" (is {close[0]} meant?)" if close else ""
        raise DataError(
            f"{path} names {len(unknown)} cases that {dataset.name} does not have: "
            f"{', '.join(unknown[:5])}{meant}. Correct the names, or delete the file to have folds made."
        )
    groups = {case.identifier: case.group for case in dataset.cases if case.group is not None}
    for fold in folds:
        if both := {groups.get(c) for c in fold.training} & {groups.get(c) for c in fold.validation} - {None}:
            logger.warning(
                "Fold %d of %s trains and validates on the same group: %s",
                fold.index,
                path,
                min(map(str, both)),
            )
    if rest := [case for case in known if case not in set(named)]:
        logger.warning(
            "%s stays as it is: %d of %d cases are in no fold and are neither trained nor validated on (%s). "
            "Delete the file to have folds of all cases made.",
            path,
            len(rest),
            len(known),
            ", ".join(rest[:5]),
        )


def chosen_folds(folds: Sequence[Fold], indices: Sequence[int] | None) -> tuple[Fold, ...]:
    """The requested folds.

    Raises:
        UsageError: for a fold that does not exist.
    """
    if indices is None:
        return tuple(folds)
    if unknown := [index for index in indices if not 0 <= index < len(folds)]:
        raise UsageError(
            f"There is no fold {', '.join(map(str, unknown))}; this data set has folds 0 to {len(folds) - 1}."
        )
    return tuple(folds[index] for index in indices)
