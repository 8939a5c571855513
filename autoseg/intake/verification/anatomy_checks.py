"""What the labels say of the anatomy: sides, labels upon nothing, the same anatomy twice, 2D beside 3D.

Each is a warning: a person has to look.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autoseg.data.dataset import Case, Labels
from autoseg.data.image import Array, Image
from autoseg.data.orientation import Directions, turned_to_body
from autoseg.data.world import voxel_to_world
from autoseg.intake.verification.findings import Finding, warning
from autoseg.intake.verification.speck_checks import Parts, check_specks, parts_of

# An image has a background where so large a part of it holds its least value.
BACKGROUND = 0.2
# From this part of its labelled voxels on the background, a label lies beside its object.
BESIDE = 0.5
# A voxel so many spans of the bulk (98 % of the values) beyond it is broken; metal in CT reaches about 15.
EXTREME = 50.0
_SAMPLE = 20_000
# Labels of fewer voxels are equal by chance.
LARGE_ENOUGH = 50
# Words of the left side with those of the right one; os and od are the eyes.
_RIGHT = {
    **{"left": "right", "lt": "rt", "l": "r", "lh": "rh", "os": "od"},
    **{"sinister": "dexter", "sinistra": "dextra", "sin": "dex", "links": "rechts", "gauche": "droite"},
}
_LEFT = re.compile(rf"(?<![a-z])({'|'.join(_RIGHT)})(?![a-z])")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class Anatomy:
    """What one case's label and image say together.

    Attributes:
        slices: of the first image.
        on_nothing: part of the labelled voxels where the first channel holds its background.
        sides: of each pair of structures, how far in mm the left one lies to the patient's left of the other.
        label: a hash of the label; "" for one of few voxels.
        parts: the components of each structure.
        extreme: how far beyond the bulk of its values the first image's most extreme voxel is, in spans of
            the bulk (from the 1st to the 99th percentile of what is not background).
    """

    slices: int = 0
    extreme: float = 0.0
    on_nothing: float = 0.0
    sides: Mapping[str, float] = field(default_factory=dict)
    label: str = ""
    parts: Mapping[str, Parts] = field(default_factory=dict)


def anatomy_of(labels: Labels, image: Image | None, label: Image | None, along: Directions | None) -> Anatomy:
    """Look at one case.

    Args:
        labels: of the data set.
        image: the first image, (channels, z, y, x).
        label: its segmentation, (1, z, y, x); of another shape, it has a finding of its own.
        along: the image's `directions_of`.
    """
    if image is None:
        return Anatomy()
    slices = int(image.array.shape[1]) if image.array.ndim == 4 else 0
    extreme = max(map(_extreme, image.array), default=0.0)
    if label is None or label.array.shape[1:] != image.array.shape[1:] or len(label.array) != 1:
        return Anatomy(slices, extreme)
    drawn = label.array[0]
    inside = (drawn > 0) if labels.ignore is None else (drawn > 0) & (drawn != labels.ignore)
    count = int(inside.sum())
    if count == 0:
        return Anatomy(slices, extreme)
    return Anatomy(
        slices,
        extreme,
        _on_nothing(image.array[0], inside),
        _sides(labels, drawn, image),
        _hash(drawn if along is None else turned_to_body(drawn, along)) if count >= LARGE_ENOUGH else "",
        parts_of(labels, drawn, label),
    )


def _extreme(channel: Array) -> float:
    flat = channel.reshape(-1)
    least, most = float(flat.min()), float(flat.max())
    some = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    some = some[some > least]
    # Beyond float32 there is another finding.
    if some.size < 100 or not max(abs(least), abs(most)) < float(np.finfo(np.float32).max):
        return 0.0
    low, high = map(float, np.percentile(some, [1, 99]))
    return max(most - high, low - least) / (high - low) if high > low else 0.0


def _on_nothing(channel: Array, inside: Array) -> float:
    least = channel.min()
    empty = channel == least
    return float(empty[inside].mean()) if empty.mean() >= BACKGROUND and least < channel.max() else 0.0


def _hash(drawn: Array) -> str:
    described = hashlib.blake2b(str(drawn.shape).encode(), digest_size=16)
    # The smallest type that holds the values, which depends on them alone.
    small = drawn.min(initial=0) >= 0 and drawn.max(initial=0) <= np.iinfo(np.uint8).max
    described.update(np.ascontiguousarray(drawn, np.uint8 if small else np.int32).data)
    return described.hexdigest()


def pairs_of_sides(labels: Labels) -> dict[str, tuple[int, int]]:
    """The left structure's name of each pair, and the values of the left and of the right one."""
    single = {
        _CAMEL.sub(" ", name).lower(): (name, values[0])
        for name, values in labels.structures.items()
        if len(values) == 1
    }
    found = {}
    for key, (name, value) in single.items():
        if match := _LEFT.search(key):
            other = key[: match.start()] + _RIGHT[match[1]] + key[match.end() :]
            if other in single:
                found[name] = (value, single[other][1])
    return found


def _sides(labels: Labels, drawn: Array, image: Image) -> dict[str, float]:
    pairs = pairs_of_sides(labels)
    affine = voxel_to_world(image) if pairs else None
    if affine is None:
        return {}
    found = {}
    for name, (left, right) in pairs.items():
        one, other = _centre(drawn == left), _centre(drawn == right)
        if one is not None and other is not None:
            # The patient's left is where x grows (LPS).
            found[name] = float((affine[:, :3] @ (one - other))[0])
    return found


def _centre(mask: Array) -> np.ndarray | None:
    """The mean index (x, y, z) of a mask (z, y, x)."""
    total = int(mask.sum())
    if not total:
        return None
    means = []
    for axis in range(3):
        along = mask.sum(axis=tuple(other for other in range(3) if other != axis))
        means.append(float(along @ np.arange(len(along))) / total)
    return np.array(means[::-1])


def check_anatomy(cases: Sequence[Case], found: Sequence[Anatomy]) -> Iterator[Finding]:
    """What is odd about the cases' anatomy, alone and beside each other.

    Args:
        cases: of the data set.
        found: of each case, what `anatomy_of` gives.
    """
    yield from _beside(cases, found)
    yield from _dimensions(cases, found)
    yield from _swapped(cases, found)
    yield from _same_label(cases, found)
    yield from _extremes(cases, found)
    yield from check_specks(cases, [each.parts for each in found])


def _beside(cases: Sequence[Case], found: Sequence[Anatomy]) -> Iterator[Finding]:
    for case, each in zip(cases, found, strict=True):
        if each.on_nothing >= BESIDE:
            message = (
                f"{each.on_nothing:.0%} of the labelled voxels lie where the image holds its background."
            )
            remedy = "Look at the label over its image; it may be turned, moved, or another case's."
            yield warning("label_on_background", message, remedy, case=case.identifier, file=case.label)


def _dimensions(cases: Sequence[Case], found: Sequence[Anatomy]) -> Iterator[Finding]:
    flat = [case for case, each in zip(cases, found, strict=True) if each.slices == 1]
    deep = [case for case, each in zip(cases, found, strict=True) if each.slices > 1]
    if flat and deep:
        few = min(flat, deep, key=len)
        what = "a single slice" if few is flat else "several slices"
        message = f"{len(few)} of {len(cases)} cases have {what}, unlike the others."
        remedy = "Make a data set of the pictures and one of the volumes, or put the odd ones aside."
        first = few[0]
        yield warning("mixed_dimensions", message, remedy, case=first.identifier, file=first.images[0])


def _swapped(cases: Sequence[Case], found: Sequence[Anatomy]) -> Iterator[Finding]:
    for name in dict.fromkeys(pair for each in found for pair in each.sides):
        known = [
            (case, each.sides[name]) for case, each in zip(cases, found, strict=True) if name in each.sides
        ]
        wrong = [case for case, shift in known if shift < 0]
        if not wrong:
            continue
        first = wrong[0]
        listed = ", ".join(case.identifier for case in wrong[:5]) + (" ..." if len(wrong) > 5 else "")
        message = (
            f"By the headers {name!r} lies to the patient's right of its partner in {len(wrong)} of "
            f"{len(known)} cases: {listed}."
        )
        remedy = (
            "Look whether the labels or the headers are exchanged; a model would learn both sides as one."
        )
        yield warning("sides_swapped", message, remedy, case=first.identifier, file=first.label)


def _same_label(cases: Sequence[Case], found: Sequence[Anatomy]) -> Iterator[Finding]:
    seen = defaultdict[str, list[Case]](list)
    for case, each in zip(cases, found, strict=True):
        if each.label:
            seen[each.label].append(case)
    for first, *others in seen.values():
        for case in others:
            if case.group is not None and case.group == first.group:
                continue
            message = f"Its label is that of {first.identifier}, voxel by voxel: the same anatomy twice."
            remedy = "Give both cases one group, so that no fold trains on one and validates on the other."
            yield warning("same_label", message, remedy, case=case.identifier, file=case.label)


def _extremes(cases: Sequence[Case], found: Sequence[Anatomy]) -> Iterator[Finding]:
    for case, each in zip(cases, found, strict=True):
        if each.extreme >= EXTREME:
            message = (
                f"Its most extreme voxel is {each.extreme:.0f} times as far from the others as 98 % of them "
                f"are from each other."
            )
            remedy = "Look for broken voxels: normalisation spreads over them, and the rest turns flat."
            yield warning("extreme_intensity", message, remedy, case=case.identifier, file=case.images[0])
