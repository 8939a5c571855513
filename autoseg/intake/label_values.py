"""Which values labels hold, what they are called, and whether they have to be written anew.

nnU-Net wants 0 for the background and 1, 2, 3, ... without gaps. Other values are replaced in the copies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoseg.data.formats import TIFF_ENDINGS
from autoseg.data.image import Array, ImageError
from autoseg.data.readers import ALMOST_WHOLE
from autoseg.errors import DataError, UsageError
from autoseg.intake.contents import label_array
from autoseg.intake.incoming import PICTURES, Content, Incoming, Request, ending_of, some
from autoseg.intake.label_pictures import (
    Palette,
    numbers_in,
    palette_of_tiff,
    refuse_lossy,
    refuse_own_palettes,
)
from autoseg.intake.segment_names import one_meaning
from autoseg.intake.verification.label_checks import count_labels
from autoseg.system.guard import note
from autoseg.system.pool import each

# More than this are the numbers of single objects, or grey values that a lossy format left.
MOST_LABELS = 64
_PLAIN_MODES = ("L", "I;16", "I")


@dataclass(frozen=True)
class Coding:
    """What the values mean.

    Attributes:
        labels: name to value, as dataset.json has them.
        codes: value in the files to value in the data set; empty where they are the same.
        notes: what was decided.
    """

    labels: Mapping[str, int]
    codes: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundValues:
    """What one label holds.

    Attributes:
        values: whole numbers.
        rounded: whether they were whole but for rounding.
        palette: the colours that a picture shows them in.
        at_border: share of the border that is not 0, where a picture has two values.
    """

    values: frozenset[int]
    rounded: bool
    palette: Palette
    at_border: float = 0.0


def values_of(
    contents: Sequence[Content], workers: int | None, named: bool = False
) -> dict[Content, FoundValues]:
    """The values in each label.

    Args:
        contents: the labels.
        workers: processes.
        named: whether the user says what each value means.

    Raises:
        DataError: for a label that cannot be read, or whose values are none of labels.
    """
    names = [content.source.name for content in contents]
    found = each(_values_in, [(content, named) for content in contents], names, workers, "Read labels")
    return dict(zip(contents, found, strict=True))


def _values_in(job: tuple[Content, bool]) -> FoundValues:
    content, named = job
    array = label_array(content)
    refuse_lossy(content.source, array, named)
    whole = np.rint(array) if array.dtype.kind == "f" else array
    rounded = whole is not array and not np.array_equal(whole, array)
    if rounded and np.abs(array - whole).max() <= ALMOST_WHOLE:
        array = whole
    counts = count_labels(array)
    if counts is None:
        raise ImageError(
            content.source, "holds values that are no whole numbers", "Resample labels by nearest neighbour."
        )
    values = frozenset(counts)
    return FoundValues(values, rounded, _palette(content, values), _at_border(array, values))


def _palette(content: Content, values: frozenset[int]) -> Palette:
    ending = ending_of(content.source)
    if ending not in PICTURES or content.drawing is not None:
        return {}
    if ending in TIFF_ENDINGS:
        return palette_of_tiff(content.source, values)
    return numbers_in(content.source)[1]


def _at_border(array: Array, values: frozenset[int]) -> float:
    if array.ndim != 2 or len(values) != 2:
        return 0.0
    border = np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])
    return float(np.mean(border != 0))


def coding_of(
    found: Mapping[Content, frozenset[int]], names: Mapping[str, int], known: Mapping[int, str] | None = None
) -> Coding:
    """Decide names and values.

    Args:
        found: the values in each label file.
        names: what the user calls the values in the files; may leave out the background.
        known: what the source itself calls them.

    Raises:
        DataError: naming the file, where the values make no sense.
    """
    values = sorted({0}.union(*found.values()))
    _refuse_nonsense(values, found, bool(names or known))
    called = {value: name for name, value in names.items()} or dict(known or {})
    if unknown := [value for value in values if value and value not in called] if called else []:
        raise DataError(
            f"{_holder(found, unknown[0])} holds the label value {unknown[0]}, which has no name. "
            f"Name all of {some([v for v in values if v], 12)}: --labels NAME={unknown[0]},..."
        )
    used = sorted(value for value in called if value) if called else [value for value in values if value]
    if not used:
        raise DataError(
            f"No label of {some([c.source for c in found])} holds anything but 0. Check the labels."
        )
    codes = {0: 0, **{value: number for number, value in enumerate(used, 1)}}
    labels = {"background": 0}
    for value in used:
        labels[called.get(value) or _invented(value, used)] = codes[value]
    same = all(old == new for old, new in codes.items())
    return Coding(labels, () if same else tuple(codes.items()), _notes(codes, same, called, labels))


def _invented(value: int, used: Sequence[int]) -> str:
    return "foreground" if len(used) == 1 else f"label_{value}"


def _notes(
    codes: Mapping[int, int], same: bool, called: Mapping[int, str], labels: Mapping[str, int]
) -> tuple[str, ...]:
    notes = []
    if not same:
        changed = ", ".join(f"{old} to {new}" for old, new in codes.items() if old != new)
        notes.append(f"Label values are written anew: {changed}.")
    if not called:
        listed = ", ".join(f"{name} ({value})" for name, value in labels.items() if value)
        notes.append(
            f"The labels have no names here and are called {listed}. Name them with --labels NAME=VALUE,..."
        )
    return tuple(notes)


def _refuse_nonsense(values: Sequence[int], found: Mapping[Content, frozenset[int]], named: bool) -> None:
    if values[0] < 0:
        raise DataError(
            f"{_holder(found, values[0])} holds the negative label {values[0]}. Write 0, 1, 2, ..."
        )
    if len(values) > MOST_LABELS + 1 and not named:
        fullest = max(found, key=lambda content: len(found[content]))
        raise DataError(
            f"The labels hold {len(values)} different values, {fullest.source} alone "
            f"{len(found[fullest])}. A label image has few: if these are numbers of single objects, "
            f"write the class instead; if a lossy format (JPEG) or smooth edges made them, write it anew "
            f"with one value for each label."
        )
    if values == [0, 1, 255] and not named and not any({1, 255} <= there for there in found.values()):
        raise DataError(
            f"{_holder(found, 1)} has 1 where {_holder(found, 255)} has 255. Write the same value for one "
            f"thing or, if these are two, name them: --labels NAME=1,NAME=255"
        )


def _holder(found: Mapping[Content, frozenset[int]], value: int) -> str:
    return str(next(content.source for content, values in found.items() if value in values))


def with_labels(incoming: Incoming, request: Request, known: Mapping[int, str] | None = None) -> Incoming:
    """Read all labels, and name and number what is in them.

    Raises:
        DataError: as `coding_of`.
    """
    read = values_of(incoming.references, request.workers, bool(request.labels))
    refuse_own_palettes({content: one.palette for content, one in read.items()})
    found = {content: one.values for content, one in read.items()}
    said = None if known else one_meaning(found, request.labels)
    if said is not None:
        known = said.names
        found = {content: _translated(values, said.codes.get(content)) for content, values in found.items()}
    coding = coding_of(found, request.labels, known)
    plain = tuple((new, new) for new in coding.labels.values())

    def recoded(content: Content) -> Content:
        if said is not None and content in said.codes:
            again = dict(coding.codes)
            return replace(
                content, codes=tuple((old, again.get(new, new)) for old, new in said.codes[content])
            )
        if coding.codes:
            return replace(content, codes=coding.codes)
        # Readers take colours and palettes for channels.
        as_it_is = _is_plain(content) and not content.united and not read[content].rounded
        return content if as_it_is else replace(content, codes=plain)

    changed = incoming.with_contents(lambda content: content, recoded)
    notes = (*incoming.notes, *coding.notes)
    if said is not None:
        # Names of files may say who a patient is.
        notes = (*notes, said.note if incoming.private else f"{said.why} {said.note}".strip())
    full = sum(one.at_border > 0.95 for one in read.values())
    if full > 0.8 * len(read):
        notes = (
            *notes,
            f"{full} of {len(read)} masks have their label all along the border, as where foreground and "
            f"background are exchanged. If the object is 0 and all else is not, invert the masks.",
        )
    if rounded := sum(one.rounded for one in read.values()):
        notes = (*notes, f"{rounded} labels are whole numbers but for rounding; they are written as such.")
    return replace(changed, labels=coding.labels, notes=notes)


def _translated(values: frozenset[int], codes: tuple[tuple[int, int], ...] | None) -> frozenset[int]:
    return values if codes is None else frozenset(dict(codes)[value] for value in values)


def _is_plain(content: Content) -> bool:
    ending = ending_of(content.source)
    if ending not in PICTURES or ending in (".tif", ".tiff"):
        return True
    from PIL import Image

    note(content.source)
    with Image.open(content.source) as picture:
        return picture.mode in _PLAIN_MODES


def parse_labels(text: str) -> dict[str, int]:
    """``liver=1,tumour=2`` as names and values.

    Raises:
        UsageError: for anything else.
    """
    found: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(r"([^=]+)=(\d+)", part)
        if not match or match[1].strip() in found or int(match[2]) in found.values():
            raise UsageError(
                f"{part!r} is not a name and value of a label. Write liver=1,tumour=2, each once."
            )
        found[match[1].strip()] = int(match[2])
    return {name: value for name, value in found.items() if value}
