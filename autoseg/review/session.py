"""A review under way: what the page is told of its cases, and what it may store. Cases go by number."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from autoseg.data.formats import WITHOUT_SPACING
from autoseg.data.image import Array, Image, finite
from autoseg.data.labels import Labels
from autoseg.data.readers import read_images, read_segmentation, write_segmentation
from autoseg.drawing.slices import COLOURS
from autoseg.errors import DataError
from autoseg.review.cases import Review, ReviewCase
from autoseg.review.journal import Action, Journal, hash_of
from autoseg.review.upright import Upright, nifti_bytes, stored

# Cases whose arrays stay in memory: the one that is looked at, and the one before it.
_KEPT: Final = 2
# The page draws into a byte for each voxel.
_HIGHEST: Final = 255
# No structure is grey.
_IGNORED: Final = "#9a9a9a"
LAYERS: Final = ("reference", "prediction", "drawing")


@dataclass(frozen=True)
class Opened:
    """One case in memory.

    Attributes:
        image: as read.
        upright: its turn.
        layers: reference and prediction, those that there are, (z, y, x) in the file's order.
        base: the file that is judged, or None.
        of: its hash.
        problem: why it cannot be drawn on; empty if it can.
    """

    image: Image
    upright: Upright
    layers: Mapping[str, Array]
    base: Path | None
    of: str
    problem: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) in the file's order."""
        z, y, x = self.image.array.shape[1:]
        return z, y, x


class Session:
    """What the page's server asks: all of it by the number of a case, never by a name of a file.

    Args:
        review: what is reviewed.
        journal: where it is stored.
    """

    def __init__(self, review: Review, journal: Journal) -> None:
        self.review, self.journal = review, journal
        self._open: OrderedDict[int, Opened] = OrderedDict()
        self._lock = threading.Lock()

    # What the page is told.

    def overview(self) -> dict[str, Any]:
        """The review and all its cases."""
        review = self.review
        return {
            "title": review.title,
            "kind": review.kind,
            "order": review.order,
            "labels": self._labels(),
            "ignore": review.labels.ignore,
            "cases": [self._line(each) for each in review.cases],
        }

    def _labels(self) -> list[dict[str, Any]]:
        ignore, names = self.review.labels.ignore, _names(self.review.labels, self._values())
        shown = enumerate(value for value in sorted(names) if value not in (0, ignore))
        colours = {value: COLOURS[index % len(COLOURS)] for index, value in shown}
        if ignore is not None:
            colours[ignore] = _IGNORED
        return [
            {"value": value, "name": names[value], "colour": colours.get(value, "")}
            for value in sorted(names)
        ]

    def _line(self, case: ReviewCase) -> dict[str, Any]:
        state = self.journal.state(case.case)
        return {
            "case": case.case,
            "mark": case.mark,
            "reasons": list(case.reasons),
            "numbers": dict(case.numbers),
            "decision": state.decision,
            "comment": state.comment,
            "corrected": state.corrected is not None,
            "reviewer": state.reviewer,
            "time": state.time,
            "draft": self.journal.has_draft(case.case),
        }

    def line(self, index: int) -> dict[str, Any]:
        """One case as in the overview."""
        return self._line(self._case(index))

    def details(self, index: int) -> dict[str, Any]:
        """What the page needs to show a case: sizes are along x, y and z as the page has them."""
        case, opened = self._case(index), self._opened(index)
        array = opened.image.array
        z, y, x = opened.upright.there.apply(array[0]).shape
        unit = "pixel" if self.review.reader == WITHOUT_SPACING else "mm"
        return {
            **self._line(case),
            "shape": [x, y, z],
            "spacing": list(opened.upright.spacing),
            "unit": unit,
            "placed": opened.upright.placed,
            "colours": _in_colour(array),
            "channels": self._channels(array),
            "windows": [_window(channel) for channel in array],
            "layers": sorted(opened.layers),
            "problem": opened.problem,
        }

    def _channels(self, array: Array) -> list[str]:
        names = self.review.channels
        found = [names[index] if index < len(names) else str(index) for index in range(len(array))]
        return [", ".join(found)] if _in_colour(array) else found

    def image(self, index: int, channel: int) -> bytes:
        """A channel, or all three of a picture in colours, as NIfTI.

        Raises:
            DataError: if there is no such channel.
        """
        opened = self._opened(index)
        array, upright = opened.image.array, opened.upright
        if _in_colour(array):
            turned = upright.there.apply(array[:3].astype(np.uint8))
            return nifti_bytes(np.moveaxis(turned, 0, -1), upright.affine)
        if not 0 <= channel < len(array):
            raise DataError(f"{self._case(index).case} has {len(array)} channels; there is no {channel}.")
        values, slope, intercept = stored(array[channel])
        return nifti_bytes(upright.there.apply(values), upright.affine, slope, intercept)

    def layer(self, index: int, name: str) -> bytes:
        """Reference, prediction or the drawing under way, as NIfTI of uint8.

        Raises:
            DataError: if the case has none.
        """
        case, opened = self._case(index), self._opened(index)
        if name == "drawing":
            array = self._drawing(case, opened)
        elif name in opened.layers:
            array = opened.layers[name]
        else:
            raise DataError(f"{case.case} has no {name}.")
        return nifti_bytes(opened.upright.there.apply(_bytes(array)), opened.upright.affine)

    def _drawing(self, case: ReviewCase, opened: Opened) -> Array:
        """The drawing under way, else the latest correction, else what is judged."""
        draft = self.journal.draft(case.case, opened.of)
        if draft is not None and draft.shape == opened.shape:
            return draft
        corrected = self.journal.state(case.case).corrected
        if corrected is not None and corrected.is_file():
            found = read_segmentation(corrected, self.review.reader).array[0]
            if found.shape == opened.shape:
                return np.asarray(found)
        name = "reference" if self.review.kind == "labels" else "prediction"
        return opened.layers.get(name, np.zeros(opened.shape, np.uint8))

    # What the page stores.

    def decide(self, index: int, action: Action, reviewer: str, comment: str | None = None) -> dict[str, Any]:
        """Store a decision or a comment.

        Raises:
            DataError: for an action that is none of these.
        """
        case = self._case(index)
        if action not in ("accept", "reject", "undecide", "comment", "withdraw"):
            raise DataError(
                f"{action!r} is no decision. Expected accept, reject, undecide, comment or withdraw."
            )
        facts = {} if comment is None else {"comment": comment}
        self.journal.add(case.case, action, reviewer, **facts)
        if action == "withdraw":
            self.journal.drop_draft(case.case)
        return self._line(case)

    def save(self, index: int, body: bytes, reviewer: str) -> dict[str, Any]:
        """Store a drawing as a new file on the grid, in the format and with the header of what is corrected.

        Args:
            index: the case.
            body: a byte for each voxel, in the page's order, x fastest.
            reviewer: who drew it.

        Raises:
            DataError: if it has another size, or values that are no labels.
        """
        case, opened = self._case(index), self._opened(index)
        array = self._received(case, opened, body)
        like = opened.image.properties
        if opened.base is not None:
            like = read_segmentation(opened.base, self.review.reader).properties
        name = "reference" if self.review.kind == "labels" else "prediction"
        before = opened.layers.get(name, np.zeros(opened.shape, np.uint8))

        def write(path: Path) -> None:
            write_segmentation(array, path, like, self.review.reader)

        self.journal.correct(
            case.case,
            reviewer,
            self.review.file_ending,
            write,
            original=str(opened.base) if opened.base else "",
            of=opened.of,
            changed_voxels=int(np.count_nonzero(array != before)),
        )
        return self._line(case)

    def save_draft(self, index: int, body: bytes) -> dict[str, Any]:
        """Store a drawing that is under way; see `save`."""
        case, opened = self._case(index), self._opened(index)
        self.journal.save_draft(case.case, self._received(case, opened, body), opened.of)
        return self._line(case)

    def size(self, index: int) -> int:
        """How many bytes a drawing of the case has."""
        return int(np.prod(self._opened(index).shape))

    def _received(self, case: ReviewCase, opened: Opened, body: bytes) -> Array:
        if opened.problem:
            raise DataError(f"{case.case} cannot be drawn on: {opened.problem}")
        turned = opened.upright.there.apply(np.empty(opened.shape, np.uint8)).shape
        if len(body) != int(np.prod(turned)):
            raise DataError(
                f"The drawing of {case.case} has {len(body)} voxels, its image {int(np.prod(turned))}. "
                f"Load the page again."
            )
        array = opened.upright.back.apply(np.frombuffer(body, np.uint8).reshape(turned))
        known = np.zeros(256, bool)
        known[[value for value in self._values() if value <= _HIGHEST]] = True
        if not known[array].all():
            strange = sorted({int(value) for value in np.unique(array[~known[array]])})
            raise DataError(f"The drawing of {case.case} has the values {strange}, which are no labels.")
        return array

    # Reading.

    def _values(self) -> list[int]:
        ignore = self.review.labels.ignore
        return [*self.review.labels.all_values, *([] if ignore is None else [ignore])]

    def _case(self, index: int) -> ReviewCase:
        if not 0 <= index < len(self.review.cases):
            raise DataError(f"There is no case of number {index}; there are {len(self.review.cases)}.")
        return self.review.cases[index]

    def _opened(self, index: int) -> Opened:
        case = self._case(index)
        # One at a time: two requests for one case must not read it twice.
        with self._lock:
            if index not in self._open:
                self._open[index] = self._read(case)
                while len(self._open) > _KEPT:
                    self._open.popitem(last=False)
            self._open.move_to_end(index)
            return self._open[index]

    def _read(self, case: ReviewCase) -> Opened:
        reader, base = self.review.reader, self.review.judged(case)
        image = finite(read_images(case.images, reader), case.images)
        shape, layers, problems = image.array.shape[1:], {}, []
        for name, path in (("reference", case.reference), ("prediction", case.prediction)):
            if path is None or not path.is_file():
                continue
            found = read_segmentation(path, reader)
            array = found.array[0]
            if array.shape != shape:
                problems.append(f"its {name} has {_size(array.shape)} voxels, its image {_size(shape)}.")
                continue
            if name == "prediction" and self.review.as_written is not None:
                array = self.review.as_written(array, found.spacing)
            layers[name] = array
            if path == base:
                problems += self._unknown(array)
        if max(self._values()) > _HIGHEST:
            problems.append(f"labels above {_HIGHEST} cannot be drawn here.")
        of = hash_of(base) if base is not None and base.is_file() else ""
        return Opened(image, Upright.of(image), layers, base if of else None, of, " ".join(problems))

    def _unknown(self, array: Array) -> list[str]:
        values = np.unique(array)
        strange = [float(value) for value in values if value not in self._values()]
        if not strange:
            return []
        listed = ", ".join(f"{value:g}" for value in strange[:5])
        return [f"it holds values that are not declared as labels ({listed}). See autoseg verify."]


def _names(labels: Labels, values: Sequence[int]) -> dict[int, str]:
    """What each value is called: by the structures that hold it; by `alone` where another value has more."""
    held = {value: [name for name, of in labels.structures.items() if value in of] for value in values}
    found = {}
    for value, names in held.items():
        alone = names and any(set(names) < set(other) for other in held.values())
        found[value] = ", ".join(names) + (" alone" if alone else "") if names else str(value)
    if labels.ignore is not None:
        found[labels.ignore] = "ignore"
    return found | {0: "background"}


def _bytes(array: Array) -> Array:
    """Labels for viewing; of a file that cannot be drawn on, what is no label is not shown."""
    if array.dtype == np.uint8:
        return array
    usable = (array >= 0) & (array <= _HIGHEST) & (array == np.rint(array))
    return np.where(usable, array, 0).astype(np.uint8)


def _in_colour(array: Array) -> bool:
    flat = len(array) in (3, 4) and array.shape[1] == 1
    return bool(flat and array.min() >= 0 and 1 < array.max() <= _HIGHEST)


def _window(channel: Array) -> list[float]:
    """Grey values between the 1st and the 99.5th percentile, of at most a million voxels."""
    flat = channel.reshape(-1)
    low, high = np.percentile(flat[:: max(1, flat.size // 10**6)], [1, 99.5])
    return [float(low), float(high if high > low else low + 1)]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
