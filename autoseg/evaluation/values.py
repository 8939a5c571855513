"""Label values that mean nothing here, such as 255 where the label is 1: they would score as misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Labels
from autoseg.data.image import Array, Image
from autoseg.errors import DataError, UsageError
from autoseg.evaluation.pair_files import Pair
from autoseg.names import whole_number

# Almost whole numbers, as a scaled header makes them, are meant whole.
ALMOST = 1e-3


@dataclass(frozen=True)
class Unknown:
    """What one case holds that is not declared.

    Attributes:
        file: the first file concerned: the reference, or else the prediction.
        values: values in that file that have no meaning.
        of_reference: whether it is the reference.
        seen: declared foreground values that the case's prediction holds.
    """

    file: Path
    values: frozenset[int]
    of_reference: bool
    seen: frozenset[int]


def mapped(array: Array, mapping: Mapping[int, int]) -> Array:
    """An array with its values replaced; those that are not named stay."""
    if not mapping:
        return array
    found = np.unique(array)
    new = np.array([mapping.get(int(value), value) for value in found]).astype(array.dtype)
    return np.asarray(new[np.searchsorted(found, array)])


def unknown_values(labels: Labels, pair: Pair, reference: Image, prediction: Image | None) -> Unknown | None:
    """The values of a case that are neither declared nor, of a prediction, in its reference."""
    declared = set(labels.all_values) | {0}
    ignore = {labels.ignore} - {None}
    known = _values(reference.array)
    if (rest := known - declared - ignore) and not known & (declared - {0}):
        return Unknown(pair.reference, frozenset(rest), True, frozenset())
    if prediction is None or pair.prediction is None:
        return None
    found = _values(prediction.array)
    if rest := found - declared - known - ignore:
        return Unknown(pair.prediction, frozenset(rest), False, frozenset(found & declared - {0}))
    if labels.ignore in found and not _only_where_ignored(labels, reference, prediction):
        return Unknown(pair.prediction, frozenset(found & ignore), False, frozenset())
    return None


def refuse_unknown(labels: Labels, found: Sequence[Unknown], cases: int) -> None:
    """Say what is unknown, and the mapping that would give it a meaning.

    Args:
        labels: what is declared.
        found: one entry for each case that holds an unknown value.
        cases: how many cases were read.

    Raises:
        DataError: if there is anything.
    """
    if not found:
        return
    declared = ", ".join(f"{name} {value}" for name, value in labels.names.items())
    references = [each for each in found if each.of_reference]
    listed = references or list(found)
    values = sorted(frozenset[int]().union(*(each.values for each in listed)))
    whose = "references hold" if references else "predictions hold"
    shown = ", ".join(map(str, values[:12])) + (" ..." if len(values) > 12 else "")
    message = (
        f"{len(listed)} of {cases} {whose} values that no label has: {shown}; the first is {listed[0].file}. "
        f"The labels are {declared}."
    )
    if labels.ignore in values:
        raise DataError(f"{message} The ignore label is not a prediction: write what the model says there.")
    if references:
        raise DataError(f"{message} Name the labels as the files have them, or import the data set anew.")
    raise DataError(f"{message} {_offer(labels, values, found)}")


def parse_mapping(text: str) -> dict[int, int]:
    """``255=1,4=3`` as values of predictions and the labels that they stand for.

    Raises:
        UsageError: for anything else.
    """
    found: dict[int, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        value, equals, label = part.partition("=")
        number, to = whole_number(value.strip()), whole_number(label.strip())
        if not equals or number is None or to is None or number in found:
            raise UsageError(
                f"{part!r} maps no value to a label. Write 255=1 or 85=1,170=2, each value once."
            )
        found[number] = to
    return found


def _offer(labels: Labels, values: Sequence[int], found: Sequence[Unknown]) -> str:
    if values[0] < 0:
        return (
            f"No label is negative: all values may be shifted by {-values[0]}. Write the files anew, with "
            f"the values of the labels."
        )
    seen = frozenset[int]().union(*(each.seen for each in found))
    free = [value for value in labels.all_values if value and value not in seen]
    if len(values) > len(free):
        return "Give predictions of these labels, or say what each value means: --map VALUE=LABEL,..."
    pairs = ",".join(f"{value}={label}" for value, label in zip(values, free, strict=False))
    return f"If they mean the labels in that order, say so: --map {pairs}"


def _only_where_ignored(labels: Labels, reference: Image, prediction: Image) -> bool:
    return bool((reference.array[prediction.array == labels.ignore] == labels.ignore).all())


def _values(array: Array) -> set[int]:
    """The whole numbers in an array; what is far from any is for the metrics to refuse."""
    if array.dtype.kind == "f":
        found = np.unique(array)
        found = found[np.isfinite(found) & (np.abs(found - np.rint(found)) <= ALMOST)]
        return {int(value) for value in np.rint(found)}
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint16).max:
        return {int(value) for value in np.unique(array)}
    present = np.zeros(high + 1, np.bool_)
    present[array.reshape(-1)] = True
    return {int(value) for value in np.flatnonzero(present)}
