"""Label errors as they are made, one kind a function, and the rival that ranks labels by their pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

Planter = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def shifted_by(label: np.ndarray, voxels: int, random: np.random.Generator) -> np.ndarray:
    """By so many voxels along each of two axes."""
    axes = [axis for axis in range(3) if label.shape[axis] > 1]
    chosen = random.choice(axes, 2, replace=False)
    steps = [int(random.choice([-voxels, voxels])) for _ in chosen]
    return np.roll(label, steps, tuple(int(axis) for axis in chosen))


def _shifted(label: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """By two voxels along each of two axes."""
    return shifted_by(label, 2, random)


def _missing(label: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.where(label == random.choice(_present(label)), 0, label)


def _swapped(label: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    one, two = random.choice(_present(label), 2, replace=False)
    return np.where(label == one, two, np.where(label == two, one, label))


def _eroded(label: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each structure loses its outermost voxels, in a picture three layers."""
    return eroded_by(label, 3 if label.shape[0] == 1 else 1, random)


def eroded_by(label: np.ndarray, layers: int, random: np.random.Generator) -> np.ndarray:
    """Each structure loses so many layers of voxels."""
    cross = ndimage.generate_binary_structure(3, 1)
    if label.shape[0] == 1:
        cross[0] = cross[2] = False
    kept = np.zeros_like(label)
    for value in _present(label):
        kept[ndimage.binary_erosion(label == value, cross, layers)] = value
    return kept


def _of_another_case(label: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    found = np.zeros_like(label)
    box = tuple(slice(0, min(have, want)) for have, want in zip(other.shape, label.shape, strict=True))
    found[box] = other[box]
    return found


def _present(label: np.ndarray) -> np.ndarray:
    return np.unique(label[label > 0])


PLANTERS: dict[str, Planter] = {
    "shifted by 2": _shifted,
    "structure missing": _missing,
    "labels swapped": _swapped,
    "eroded": _eroded,
    "another case's": _of_another_case,
}


def kinds(structures: int) -> list[str]:
    """Those that a data set with so many structures can have."""
    return [name for name in PLANTERS if structures > 1 or name != "labels swapped"]


def cleanlab_score(label: np.ndarray, probabilities: np.ndarray) -> float:
    """cleanlab's quality of a segmentation's label, its defaults (softmin over pixels); larger is better.

    Args:
        label: (z, y, x).
        probabilities: (heads, z, y, x).
    """
    from cleanlab.segmentation.rank import get_label_quality_scores

    flat = label.astype(np.int64).reshape(1, label.shape[0] * label.shape[1], label.shape[2])
    by_class = probabilities.reshape(1, len(probabilities), *flat.shape[1:])
    scores, _ = get_label_quality_scores(flat, by_class.astype(np.float64), verbose=False)
    return float(np.asarray(scores)[0])


def dices(prediction: np.ndarray, label: np.ndarray, values: Sequence[Sequence[int]]) -> list[float]:
    """Dice of each structure; 1 where both are empty."""
    found = []
    for each in values:
        one, two = np.isin(prediction, list(each)), np.isin(label, list(each))
        total = int(one.sum()) + int(two.sum())
        found.append(2 * int((one & two).sum()) / total if total else 1.0)
    return found
