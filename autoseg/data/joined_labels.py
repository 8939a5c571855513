"""The structures that two data sets have in common, joined by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autoseg.data.labels import Labels
from autoseg.errors import UsageError


@dataclass(frozen=True)
class JoinedLabels:
    """What a model and a data set have in common.

    Attributes:
        pairs: the data set's name of each common structure to the model's.
        values: each value that the model writes to the data set's value; 0 where the data set has none.
        only_model, only_dataset: structures that the other lacks.
    """

    pairs: Mapping[str, str]
    values: Mapping[int, int]
    only_model: tuple[str, ...]
    only_dataset: tuple[str, ...]


def parse_renaming(text: str) -> dict[str, str]:
    """``HERE=THERE,...``: the data set's name of a structure and the model's.

    Raises:
        UsageError: if an entry has another form.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    pairs = [tuple(part.strip() for part in entry.split("=")) for entry in entries]
    if wrong := [
        entry for entry, pair in zip(entries, pairs, strict=True) if len(pair) != 2 or not all(pair)
    ]:
        raise UsageError(f"--map {wrong[0]!r} names no pair. Write DATASET'S=MODEL'S, such as liver=Liver_1.")
    return {pair[0]: pair[1] for pair in pairs}


def join_labels(model: Labels, dataset: Labels, renamed: Mapping[str, str] | None = None) -> JoinedLabels:
    """Join the structures of a model and of a data set by their names.

    Names are equal whatever their case, and whether words are parted by a space, a hyphen or an underscore.

    Args:
        model: labels of the data set that the model was trained on.
        dataset: labels of the data set that it is tried on.
        renamed: the data set's name of a structure to the model's, where they differ.

    Raises:
        UsageError: if a name of `renamed` is not there, nothing is in common, two structures of the one are
            the same of the other, or regions overlap, whose values stand for several structures.
    """
    renamed = dict(renamed or {})
    ours, theirs = model.structures, dataset.structures
    _known(renamed, list(theirs), "data set")
    _known(renamed.values(), list(ours), "model")
    by_word = {_word(name): name for name in ours}
    pairs = {
        name: found for name in theirs if (found := renamed.get(name) or by_word.get(_word(name))) is not None
    }
    if not pairs:
        raise UsageError(
            f"The model and the data set have no structure of the same name: {', '.join(ours)} and "
            f"{', '.join(theirs)}. Say which are the same: --map {next(iter(theirs))}={next(iter(ours))}."
        )
    if len(set(pairs.values())) < len(pairs):
        twice = next(name for name in pairs.values() if list(pairs.values()).count(name) > 1)
        same = [name for name, found in pairs.items() if found == twice]
        raise UsageError(f"{' and '.join(same)} are both joined to the model's {twice}. Map one of them.")
    return JoinedLabels(
        pairs,
        _values(model, dataset, pairs),
        tuple(name for name in ours if name not in pairs.values()),
        tuple(name for name in theirs if name not in pairs),
    )


def _values(model: Labels, dataset: Labels, pairs: Mapping[str, str]) -> dict[int, int]:
    if model.has_regions or dataset.has_regions:
        if model.structures != {pairs.get(name, ""): value for name, value in dataset.structures.items()}:
            raise UsageError(
                "Regions overlap, so that a value belongs to several of them: a model of regions can be "
                "tried on a data set of the same regions and values only. Write them alike in dataset.json."
            )
        return {}
    new = {ours: dataset.structures[theirs][0] for theirs, ours in pairs.items()}
    found = {values[0]: new.get(name, 0) for name, values in model.structures.items()}
    return {before: after for before, after in found.items() if before != after}


def _known(names: Iterable[str], there: list[str], whose: str) -> None:
    for name in names:
        if name not in there:
            raise UsageError(f"--map: the {whose} has no structure {name!r}. It has {', '.join(there)}.")


def _word(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
