"""Three planes through a case with the outlines of its structures, as small pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.image import Image
from autoseg.drawing.slices import Picture, draw, frame_around

Array = NDArray[Any]


@dataclass(frozen=True)
class Plane:
    """One picture.

    Attributes:
        picture: the image as a data URI.
        words: which slice it is.
    """

    picture: Picture
    words: str


def planes_of(
    image: Image,
    segmentation: Array,
    structures: Mapping[str, Sequence[int]],
    reference: Array | None = None,
) -> tuple[Plane, ...]:
    """Draw one plane of a picture, three of a volume: each where there is most to see.

    Args:
        image: (channels, z, y, x).
        segmentation: (z, y, x); its outlines are coloured.
        structures: the values of each by name.
        reference: (z, y, x); its outlines are dotted in white, and the planes show where it differs most.
    """
    found = []
    for axis in (0,) if image.array.shape[1] == 1 else (0, 1, 2):
        index = _slice_of(segmentation, reference, axis)
        spacing = [step for other, step in enumerate(image.spacing) if other != axis]
        plane = np.take(image.array, index, 1 + axis)
        cuts = [np.take(each, index, axis) for each in (segmentation, reference) if each is not None]
        frame = frame_around(cuts, plane, spacing)
        picture = draw(frame, cuts[0], cuts[1] if reference is not None else None, structures)
        length = image.array.shape[1 + axis]
        words = "the picture" if length == 1 else f"slice {index + 1} of {length} along {'zyx'[axis]}"
        found.append(Plane(picture, words))
    return tuple(found)


def _slice_of(segmentation: Array, reference: Array | None, axis: int) -> int:
    """The slice with most of what differs, else with most of what is segmented, else the middle one."""
    others = tuple(other for other in range(3) if other != axis)
    amounts = [] if reference is None else [segmentation != reference, reference > 0]
    for amount in (*amounts, segmentation > 0):
        counts = np.count_nonzero(amount, axis=others)
        if counts.any():
            return int(counts.argmax())
    return int(segmentation.shape[axis] // 2)
