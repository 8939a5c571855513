"""Which frames of a series make one volume: by size, plane and place, and by what tells repetitions apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np

from autoseg.data.dicom.frames import MARKS, Frame
from autoseg.data.dicom.placing import ROUNDED_MM, is_even, ordered
from autoseg.data.image import Array

# Two slices of one stack: cosines that wobble by 1e-3 each turn a slice by up to 1.7e-3, two by twice that.
SAME_PLANE_RAD = 5e-3
_SAME_PIXEL = 1e-3
# Thickness of a slice over its distance from the next one; below, slices leave gaps.
_FILLS = 0.9

Part = tuple[list[Frame], str]


def by_plane(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Placed frames by size, pixel size and plane, each within its tolerance."""
    groups: list[list[Frame]] = []
    for frame in frames:
        fitting = next((group for group in groups if _alike(group[0], frame)), None)
        if fitting is None:
            groups.append([frame])
        else:
            fitting.append(frame)
    return groups


def volumes_of(frames: Sequence[Frame]) -> list[Part]:
    """Frames of one plane by volume, each with what tells it apart, in words.

    Several volumes are told apart by a mark (acquisition, echo, time point ...) if each of its values gives
    evenly spaced slices, and the whole does not or is two interleaved acquisitions. Where no mark does, and
    all places have equally many slices, the first of each place are a volume, the second of each, and so on,
    by time or instance number. What cannot be told apart stays whole.
    """
    inorder, along = ordered(frames)
    if is_even(along) and not (acquisitions := _interleaved(inorder, along)):
        return [(inorder, "")]
    if is_even(along):
        return acquisitions
    # Without a place that is there twice, parts one behind the other are one volume that lacks slices.
    twice = float(np.diff(along).min()) <= ROUNDED_MM
    for keywords in _candidates(frames):
        parts = _by_marks(frames, keywords)
        if len(parts) > 1 and all(_sound(part) for part, _ in parts) and (twice or _overlap(parts)):
            return parts
    return _by_rank(frames) or [(inorder, "")]


def _alike(one: Frame, other: Frame) -> bool:
    if (one.header.rows, one.header.columns) != (other.header.rows, other.header.columns):
        return False
    if not np.allclose(one.spacing, other.spacing, rtol=_SAME_PIXEL, atol=0):
        return False
    apart = np.reshape(np.subtract(one.cosines or (), other.cosines or ()), (2, 3))
    return bool(np.linalg.norm(apart, axis=1).max() <= SAME_PLANE_RAD)


def _candidates(frames: Sequence[Frame]) -> Iterator[tuple[str, ...]]:
    varying = [key for key in MARKS if len({frame.mark(key) for frame in frames}) > 1]
    yield from ((key,) for key in varying)
    # Times differ from slice to slice; with another mark they tell nothing more.
    yield from combinations([key for key in varying if not key.endswith("Time")], 2)


def _by_marks(frames: Sequence[Frame], keywords: tuple[str, ...]) -> list[Part]:
    groups = defaultdict[tuple[str, ...], list[Frame]](list)
    for frame in frames:
        groups[tuple(frame.mark(key) for key in keywords)].append(frame)
    parts = []
    for values in sorted(groups, key=_sortable):
        words = ", ".join(
            f"{MARKS[key]} {value or 'not stated'}" for key, value in zip(keywords, values, strict=True)
        )
        parts.append((ordered(groups[values])[0], words))
    return parts


def _sortable(values: tuple[str, ...]) -> tuple[tuple[float, str], ...]:
    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return float("inf")

    return tuple((number(value), value) for value in values)


def _sound(frames: Sequence[Frame]) -> bool:
    return len(frames) > 1 and is_even(ordered(frames)[1])


def _overlap(parts: Sequence[Part]) -> bool:
    """Whether all reach over one another along their normal."""
    spans = [(positions[0], positions[-1]) for positions in (ordered(part)[1] for part, _ in parts)]
    return bool(max(low for low, _ in spans) < min(high for _, high in spans))


def _interleaved(frames: Sequence[Frame], along: Array) -> list[Part]:
    """Two acquisitions whose slices lie between each other's, evenly by chance.

    Scanners also acquire one volume in several passes (odd slices, then even ones). Acquisitions are volumes
    where a slice is as thick as their own distances, not as the whole's; or where instance numbers run on
    within each and jump between neighbours.
    """
    parts = _by_marks(frames, ("AcquisitionNumber",))
    if len(parts) < 2 or not all(len(part) > 2 and _sound(part) for part, _ in parts):
        return []
    if not _overlap(parts):
        return []
    thickness = frames[0].thickness
    own = min(float(np.diff(ordered(part)[1]).mean()) for part, _ in parts)
    thick = (
        thickness is not None and thickness >= _FILLS * own and thickness > 1.5 * float(np.diff(along).mean())
    )
    jumps = not _runs_on(frames) and all(_runs_on(part) for part, _ in parts)
    return parts if thick or jumps else []


def _runs_on(frames: Sequence[Frame]) -> bool:
    steps = np.diff([frame.instance for frame in frames])
    return bool((steps > 0).all() or (steps < 0).all())


def in_one_place(frames: Sequence[Frame]) -> bool:
    """Whether several frames of one plane all lie in one place, as bolus tracking and films of a slice do."""
    return len(frames) > 1 and float(np.ptp(ordered(frames)[1])) < ROUNDED_MM


def _by_rank(frames: Sequence[Frame]) -> list[Part]:
    """Repetitions whose marks differ from slice to slice: the first of each place, the second of each ...

    Times of a heart beat are measured anew at each place; without times, instance numbers count.
    """
    inorder, along = ordered(frames)
    steps = np.diff(along)
    places = np.split(np.arange(len(inorder)), np.flatnonzero(steps > ROUNDED_MM) + 1)
    rounds = len(places[0])
    if rounds < 2 or len(places) < 2 or any(len(place) != rounds for place in places):
        return []
    for name, order in _ORDERS.items():
        keys = [[order(inorder[index]) for index in place] for place in places]
        if any(None in own or len(set(own)) < rounds for own in keys):
            continue
        ranked = [
            [place[n] for n in np.argsort(np.array(own))] for place, own in zip(places, keys, strict=True)
        ]
        parts = [[inorder[place[k]] for place in ranked] for k in range(rounds)]
        if all(_sound(part) for part in parts):
            return [(ordered(part)[0], f"{name} {k}") for k, part in enumerate(parts, 1)]
    return []


def _time(keyword: str) -> Callable[[Frame], float | None]:
    def order(frame: Frame) -> float | None:
        try:
            return float(frame.mark(keyword))
        except ValueError:
            return None

    return order


# How repetitions in one place are put in order: the name of one, and its number by each frame.
_ORDERS: dict[str, Callable[[Frame], float | None]] = {
    "phase": _time("TriggerTime"),
    "time": _time("AcquisitionTime"),
    "repetition": lambda frame: float(frame.instance),
}
