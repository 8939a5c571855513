"""The two label maps of one case: how often each pair of labels meets, and where each label lies.

Both are found in one pass for all structures; a structure is then looked at in its own crop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import DataError
from autoseg.metrics.calibration import Probabilities
from autoseg.metrics.comparison import Bools, CaseCounts, Comparison, Counts, WholeImage
from autoseg.metrics.lesions import LesionRule

Labels = NDArray[np.unsignedinteger[Any]]
Box = tuple[slice, ...]

# Joint counts are taken over this many voxels at a time, which bounds the memory for large images.
VOXELS_AT_ONCE = 1 << 20
HIGHEST_LABEL = np.iinfo(np.uint16).max


class LabelMaps:
    """Reference and prediction of one case.

    Args:
        reference: labels, (z, y, x) or (y, x); a single slice (1, y, x) is looked at in 2D.
        prediction: labels of the same shape.
        spacing_mm: voxel size in array order, as many numbers as axes.
        ignore_label: reference value without a truth.

    Raises:
        DataError: if shapes and spacing do not fit each other, or the arrays hold no labels.
    """

    def __init__(
        self,
        reference: NDArray[Any],
        prediction: NDArray[Any],
        spacing_mm: Sequence[float],
        ignore_label: int | None = None,
    ) -> None:
        _check_grid(reference.shape, prediction.shape, spacing_mm)
        flat = reference.ndim == 3 and reference.shape[0] == 1
        self.spacing_mm = tuple(float(step) for step in spacing_mm[1 if flat else 0 :])
        self.reference = _as_labels(reference[0] if flat else reference, "reference")
        self.prediction = _as_labels(prediction[0] if flat else prediction, "prediction")
        self.values = self._dense_values()
        self.ignored: Bools | None = None
        if ignore_label is not None and ignore_label in self.values:
            ignored = self.reference == np.searchsorted(self.values, ignore_label)
            self.ignored = ignored if ignored.any() else None

    def _dense_values(self) -> NDArray[np.int64]:
        """The label behind each number in the maps; many labels are renumbered without gaps."""
        size = 1 + max(int(self.reference.max(initial=0)), int(self.prediction.max(initial=0)))
        if size <= 256:
            return np.arange(size)
        present = np.zeros(size, np.bool_)
        present[0] = True
        for piece in (*_pieces(self.reference), *_pieces(self.prediction)):
            present[piece] = True
        numbers = (np.cumsum(present) - 1).astype(np.uint16)
        self.reference, self.prediction = numbers[self.reference], numbers[self.prediction]
        return np.flatnonzero(present)

    @cached_property
    def _pairs(self) -> Labels:
        """The pair of labels at each voxel, as one number."""
        size = len(self.values)
        kind = np.min_scalar_type(size * size - 1)
        pairs: Labels = np.add(self.reference * kind.type(size), self.prediction, dtype=kind)
        return pairs

    @cached_property
    def joint(self) -> NDArray[np.int64]:
        """Voxels by (number in the reference, number in the prediction), ignored ones left out."""
        size = len(self.values)
        counts = np.zeros(size * size, np.int64)
        for piece in _pieces(self._pairs):
            counts += np.bincount(piece, minlength=counts.size)
        joint = counts.reshape(size, size)
        if self.ignored is not None:
            joint[self.reference[self.ignored][0]] = 0
        return joint

    @cached_property
    def _boxes(self) -> list[tuple[int, int, Box]]:
        """Number in the reference, number in the prediction, and where this pair lies."""
        from scipy.ndimage import find_objects

        found: Sequence[Box | None] = find_objects(self._pairs)
        return [
            (*divmod(pair, len(self.values)), box) for pair, box in enumerate(found, 1) if box is not None
        ]

    @property
    def diagonal(self) -> float:
        """Of the whole image, in mm: no distance in it is greater."""
        return math.hypot(*(n * s for n, s in zip(self.reference.shape, self.spacing_mm, strict=True)))

    def counts(self, values: Sequence[int]) -> Counts:
        """Voxel counts of the structure that these labels make up."""
        chosen = np.isin(self.values, values)
        tp, fp, fn, tn = (
            int(self.joint[np.ix_(a, b)].sum())
            for a, b in ((chosen, chosen), (~chosen, chosen), (chosen, ~chosen), (~chosen, ~chosen))
        )
        return Counts(tp, fp, fn, tn)

    def all_counts(self, structures: Mapping[str, Sequence[int]]) -> CaseCounts:
        """Voxel counts of all structures and of the labels as such."""
        each = tuple(self.counts(values) for values in structures.values())
        return CaseCounts(each, int(np.trace(self.joint)), int(self.joint.sum()))

    def compare(
        self,
        structure: str,
        values: Sequence[int],
        tolerance_mm: float = 2.0,
        lesion_rule: LesionRule | None = None,
        probabilities: Probabilities | None = None,
    ) -> Comparison:
        """Look at one structure.

        Args:
            structure: its name.
            values: its labels; several make a region.
            tolerance_mm: tolerance of the surface Dice.
            lesion_rule: what counts as a lesion.
            probabilities: probabilities of the structure, in the shape of the label maps.
        """
        numbers = np.flatnonzero(np.isin(self.values, values))
        box = self._box(numbers)
        ignored = None if self.ignored is None else self.ignored[box]
        whole = None
        if probabilities is not None:
            probabilities = np.asarray(probabilities).reshape(self.reference.shape)
            whole = WholeImage(probabilities, _pick(self.reference, numbers, None), self.ignored)
        return Comparison(
            structure=structure,
            counts=self.counts(values),
            reference=_pick(self.reference[box], numbers, ignored),
            prediction=_pick(self.prediction[box], numbers, ignored),
            ignored=ignored if ignored is not None and ignored.any() else None,
            spacing_mm=self.spacing_mm,
            diagonal=self.diagonal,
            tolerance_mm=tolerance_mm,
            lesion_rule=lesion_rule or LesionRule(),
            whole=whole,
        )

    def _box(self, numbers: NDArray[np.intp]) -> Box:
        """Where any of the labels lies in either map; where voxels are ignored, one voxel more."""
        present = [box for a, b, box in self._boxes if a in numbers or b in numbers]
        if not present:
            return tuple(slice(0, 0) for _ in self.spacing_mm)
        margin = 0 if self.ignored is None else 1
        return tuple(
            slice(max(0, min(s.start for s in axis) - margin), max(s.stop for s in axis) + margin)
            for axis in zip(*present, strict=True)
        )


def _check_grid(reference: tuple[int, ...], prediction: tuple[int, ...], spacing_mm: Sequence[float]) -> None:
    if reference != prediction:
        raise DataError(
            f"The prediction has the shape {prediction}, the reference {reference}. Resample the prediction "
            f"onto the reference's grid (nearest neighbour), then evaluate."
        )
    if len(reference) not in (2, 3) or len(spacing_mm) != len(reference):
        raise DataError(
            f"The shape {reference} and the spacing {tuple(spacing_mm)} do not fit. Give 2D or 3D label maps "
            f"and one number of spacing for each axis."
        )
    if not all(math.isfinite(step) and step > 0 for step in spacing_mm):
        raise DataError(f"The spacing {tuple(spacing_mm)} is not positive. Correct the image's header.")


def _as_labels(array: NDArray[Any], side: str) -> Labels:
    """The array in the smallest unsigned type that holds its labels."""
    lowest, highest = (array.min(), array.max()) if array.size else (0, 0)
    if not (lowest >= 0 and highest <= HIGHEST_LABEL):
        raise DataError(
            f"The {side} holds values from {lowest} to {highest}, but labels are whole numbers from 0 to "
            f"{HIGHEST_LABEL}. Renumber them."
        )
    labels: Labels = array.astype(np.uint8 if highest < 256 else np.uint16, copy=False)
    if array.dtype.kind == "f" and not np.array_equal(labels, array):
        raise DataError(f"The {side} holds fractions, which are no labels. Give a segmentation.")
    return np.ascontiguousarray(labels)


def _pieces(array: Labels) -> Iterator[Labels]:
    flat = array.reshape(-1)
    return (flat[i : i + VOXELS_AT_ONCE] for i in range(0, flat.size, VOXELS_AT_ONCE))


def _pick(labels: Labels, numbers: NDArray[np.intp], ignored: Bools | None) -> Bools:
    """Where any of the labels is, ignored voxels left out."""
    picked = np.zeros(labels.shape, np.bool_)
    for number in numbers:
        picked |= labels == number
    if ignored is not None:
        picked &= ~ignored
    return picked
