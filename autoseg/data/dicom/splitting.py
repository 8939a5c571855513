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
# Of a volume that lies between the slices of another one.
_LEAST_SLICES = 3

# What numbers repetitions, whatever the thickness of slices.
_TIME_POINTS = (
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "TemporalPositionTimeOffset"),
    *("DimensionIndexValues", "DimensionIndexValue1", "DimensionIndexValue2", "DimensionIndexValue3"),
)

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
    evenly spaced slices, and the whole does not or is several interleaved ones. Where no mark does, and all
    places have equally many slices, the first of each place are a volume, the second of each, and so on, by
    time or instance number; or the slices of each run from one end to the other. What cannot be told apart
    stays whole.
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
    return _by_rank(frames) or _by_runs(frames) or [(inorder, "")]


def _alike(one: Frame, other: Frame) -> bool:
    if (one.header.rows, one.header.columns) != (other.header.rows, other.header.columns):
        return False
    if not np.allclose(one.spacing, other.spacing, rtol=_SAME_PIXEL, atol=0):
        return False
    apart = np.reshape(np.subtract(one.cosines or (), other.cosines or ()), (2, 3))
    return bool(np.linalg.norm(apart, axis=1).max() <= SAME_PLANE_RAD)


def _candidates(frames: Sequence[Frame], pairs: bool = True) -> Iterator[tuple[str, ...]]:
    varying = [key for key in MARKS if len({frame.mark(key) for frame in frames}) > 1]
    yield from ((key,) for key in varying)
    # Times differ from slice to slice; with another mark they tell nothing more.
    if pairs:
        yield from combinations([key for key in varying if not key.endswith("Time")], 2)


def _by_marks(frames: Sequence[Frame], keywords: tuple[str, ...]) -> list[Part]:
    groups = defaultdict[tuple[str, ...], list[Frame]](list)
    for frame in frames:
        groups[tuple(frame.mark(key) for key in keywords)].append(frame)
    parts = []
    for number, values in enumerate(sorted(groups, key=_sortable), 1):
        # The date of an exam says something of the patient, and words end up in notes.
        shown = [
            str(number) if key.endswith("DateTime") else value
            for key, value in zip(keywords, values, strict=True)
        ]
        words = ", ".join(
            f"{MARKS[key]} {value or 'not stated'}" for key, value in zip(keywords, shown, strict=True)
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
    """Several acquisitions or time points whose slices lie between each other's, evenly by chance.

    Scanners also acquire one volume in several passes (odd slices, then even ones). Time points are volumes;
    others are where a slice is as thick as their own distances, not as the whole's; acquisitions also where
    instance numbers run on within each and jump between neighbours.
    """
    step = float(np.diff(along).mean()) if len(along) > 1 else 0.0
    for (key,) in _candidates(frames, pairs=False):
        parts = _by_marks(frames, (key,))
        if not _are_volumes(parts):
            continue
        jumps = not _runs_on(frames) and all(_runs_on(part) for part, _ in parts)
        if key in _TIME_POINTS or _is_thick(parts, step) or (key == "AcquisitionNumber" and jumps):
            return parts
    for parts in (_by_runs(frames), *_by_numbers(frames)):
        if _is_thick(parts, step):
            return parts
    return []


def _by_numbers(frames: Sequence[Frame]) -> Iterator[list[Part]]:
    """Volumes where each instance number is there equally often: a number for each time point, or each place.

    In the second case nothing but the places tells which of a number came first: they lie in that order.
    """
    groups = defaultdict[int, list[Frame]](list)
    for frame in ordered(frames)[0]:
        groups[frame.instance].append(frame)
    rounds = {len(group) for group in groups.values()}
    if len(rounds) > 1 or rounds == {1}:
        return
    numbered = [groups[number] for number in sorted(groups)]
    for volumes in (numbered, [list(one) for one in zip(*numbered, strict=True)]):
        parts = [(ordered(one)[0], f"repetition {number}") for number, one in enumerate(volumes, 1)]
        if _are_volumes(parts):
            yield parts


def _are_volumes(parts: Sequence[Part]) -> bool:
    """Whether these are several volumes that reach over one another."""
    return (
        len(parts) > 1
        and all(len(part) >= _LEAST_SLICES and _sound(part) for part, _ in parts)
        and _overlap(parts)
    )


def _is_thick(parts: Sequence[Part], step: float = 0.0) -> bool:
    """Whether slices are as thick as the distances within each part, and thicker than the whole's."""
    thickness = parts[0][0][0].thickness if parts else None
    if thickness is None:
        return False
    own = min(float(np.diff(ordered(part)[1]).mean()) for part, _ in parts)
    return thickness >= _FILLS * own and thickness > 1.5 * step


def _by_runs(frames: Sequence[Frame]) -> list[Part]:
    """Volumes acquired one after the other, each from its first slice to its last: by time, or by number."""
    if len(frames) < 2 * _LEAST_SLICES:
        return []
    for name, order in _ORDERS.items():
        keys = [order(frame) for frame in frames]
        known = [key for key in keys if key is not None]
        if len(set(known)) < len(frames):
            continue
        places = {id(frame): place for frame, place in zip(*ordered(frames), strict=True)}
        inorder = [frames[index] for index in np.argsort(known)]
        steps = np.diff([places[id(frame)] for frame in inorder])
        back = np.flatnonzero(steps * np.sign(np.median(steps)) <= 0) + 1
        runs = np.split(np.arange(len(inorder)), back)
        parts = [
            (ordered([inorder[n] for n in run])[0], f"{name} {number}") for number, run in enumerate(runs, 1)
        ]
        if _are_volumes(parts) and _is_thick(parts):
            return parts
    return []


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


def _time(*keywords: str) -> Callable[[Frame], float | None]:
    def order(frame: Frame) -> float | None:
        try:
            return float(next((text for keyword in keywords if (text := frame.mark(keyword))), ""))
        except ValueError:
            return None

    return order


# How repetitions in one place are put in order: the name of one, and its number by each frame.
_ORDERS: dict[str, Callable[[Frame], float | None]] = {
    "phase": _time("TriggerTime", "NominalCardiacTriggerDelayTime"),
    "time": _time("AcquisitionTime", "FrameAcquisitionDateTime", "AcquisitionDateTime"),
    "content time": _time("ContentTime"),
    "repetition": lambda frame: float(frame.instance),
}
