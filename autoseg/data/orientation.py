"""Along which axes images are stored, and whether those of a data set are stored alike.

Networks see arrays. A network that learnt from images stored from right to left takes left for right in one
that is stored the other way round, whatever its header says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import Any

import numpy as np

from autoseg.data.image import Array, Image
from autoseg.data.world import Turn, voxel_to_world

Directions = tuple[tuple[float, ...], ...]


def directions_of(image: Image) -> Directions | None:
    """The unit vectors along x, y and z of the array in the patient's space (LPS), as rows; None without."""
    affine = voxel_to_world(image)
    if affine is None:
        return None
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    if not (np.isfinite(affine).all() and lengths.all()):
        return None
    return tuple(tuple(row) for row in np.round((affine[:, :3] / lengths).T, 4).tolist())


def code_of(directions: Directions) -> str:
    """Where x, y and z lead, in letters: LPS is to the left, to the back, upwards."""
    along, flips = _nearest(np.array(directions))
    letters = (("L", "R"), ("P", "A"), ("S", "I"))
    return "".join(letters[axis][flip] for axis, flip in zip(along, flips, strict=True))


def summary_of(found: Sequence[Directions | None]) -> dict[str, Any]:
    """How the images of a data set are stored, for its fingerprint; empty without a place in the world.

    Returns:
        ``codes``: letters to number of cases; ``directions``: of the first image that is stored as most are;
        ``otherwise``: how many are stored along other axes than that one.
    """
    known = [each for each in found if each is not None]
    if not known:
        return {}
    common = most_common(known)
    return {
        "codes": dict(Counter(map(code_of, known)).most_common()),
        "directions": [list(row) for row in common],
        "otherwise": sum(stored_otherwise(each, common) for each in known),
    }


def most_common(found: Sequence[Directions]) -> Directions:
    """The directions of the first image that is stored as most of them are."""
    code = Counter(map(code_of, found)).most_common(1)[0][0]
    return next(each for each in found if code_of(each) == code)


def stored_otherwise(directions: Directions, common: Directions) -> bool:
    """Whether axes are permuted or flipped between two images; a smaller rotation is neither."""
    return _nearest(np.array(directions) @ np.array(common).T) != ((0, 1, 2), (False, False, False))


@dataclass(frozen=True)
class Turned:
    """An image turned to how a model's images are stored, and the way back.

    Attributes:
        image: with the turned array and its spacing; its place is that of the image it came from no longer.
        code: in letters, how the file is stored.
        back: turns a segmentation (z, y, x) back.
    """

    image: Image
    code: str
    back: Turn


def turned_as_learnt(image: Image, summary: Mapping[str, Any]) -> Turned | None:
    """An image turned as those of a data set are stored.

    Args:
        image: the image to predict.
        summary: `summary_of` the data set.

    Returns:
        None where it is stored like them, where they are not all stored alike, or where nothing is known.
    """
    own = directions_of(image)
    if own is None or not summary or summary["otherwise"]:
        return None
    turn = turn_towards(own, summary["directions"])
    if not turn.changes:
        return None
    spacing = [image.properties["spacing"][axis] for axis in turn.axes]
    z, y, x = (image.spacing[axis] for axis in turn.axes)
    turned = replace(
        image,
        array=turn.apply(image.array),
        spacing=(z, y, x),
        properties={**image.properties, "spacing": spacing},
        world={},
    )
    return Turned(turned, code_of(own), inverse(turn))


def turned_to_body(array: Array, own: Directions) -> Array:
    """An array (..., z, y, x) as LPS has it, so that one volume stored twice is one array.

    Args:
        array: on an image's grid.
        own: the image's `directions_of`.
    """
    turn = _turn_to_body(own)
    return turn.apply(array) if turn.changes else array


@lru_cache(maxsize=256)  # most images of a data set are stored along the same axes
def _turn_to_body(own: Directions) -> Turn:
    return turn_towards(own, np.eye(3).tolist())


def turn_towards(own: Directions, wanted: Sequence[Sequence[float]]) -> Turn:
    """The permutation and flips that bring an array's axes closest to others.

    Args:
        own: of the array, see `directions_of`.
        wanted: the same of the other axes.
    """
    along, flips = _nearest(np.array(own) @ np.array(wanted).T)
    # Of the file's axis k, along[k] is the wanted axis that it follows.
    axes = tuple(2 - along.index(2 - axis) for axis in range(3))
    return Turn(axes, tuple(flips[2 - axis] for axis in axes), 0.0)


def inverse(turn: Turn) -> Turn:
    """The turn that undoes another one."""
    axes = tuple(turn.axes.index(axis) for axis in range(3))
    return Turn(axes, tuple(turn.flips[axis] for axis in axes), 0.0)


def _nearest(cosines: Array) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """For each row the column that it follows, each column once, and whether it runs against it."""
    best = max(permutations(range(3)), key=lambda p: sum(abs(cosines[row, p[row]]) for row in range(3)))
    return best, tuple(bool(cosines[row, best[row]] < 0) for row in range(3))
