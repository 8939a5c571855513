"""Turning arrays onto grids: permutations and flips, and nothing where the places differ."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.readers import read_segmentation
from autoseg.data.world import turn_between, turn_of

ARRAY = np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype(np.uint8)


def oblique() -> np.ndarray:
    a, b = np.deg2rad((17, -8))
    one = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    two = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return np.column_stack([one @ two * (0.7, 0.8, 2.5), (3.0, -40.0, 12.0)])


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_every_permutation_with_every_flip_comes_back(axes: tuple[int, ...]) -> None:
    wanted = oblique()
    for flips in product((False, True), repeat=3):
        # Of the stored array, axis k (array order) runs along the axis axes[k] of the wanted one.
        stored = ARRAY.transpose(axes)
        stored = stored[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
        columns, start = np.empty((3, 3)), wanted[:, 3].copy()
        for k, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
            step = wanted[:, 2 - axis]
            columns[:, 2 - k] = -step if flip else step
            start += step * (ARRAY.shape[axis] - 1) if flip else 0
        turn = turn_of(np.column_stack([columns, start]), stored.shape, wanted, ARRAY.shape)
        assert turn is not None
        assert turn.exact
        assert turn.changes == (axes != (0, 1, 2) or any(flips))
        np.testing.assert_array_equal(turn.apply(stored), ARRAY)


def test_other_places_are_no_turn() -> None:
    wanted = oblique()
    moved = wanted.copy()
    moved[:, 3] += wanted[:, 0] * 3
    turn = turn_of(moved, ARRAY.shape, wanted, ARRAY.shape)
    assert turn is not None
    assert not turn.exact
    assert not turn.changes
    assert turn.apart == pytest.approx(3)
    assert turn_of(wanted, ARRAY.shape, wanted, (4, 5, 7)) is None
    broken = wanted.copy()
    broken[:, 0] = np.nan
    assert turn_of(broken, ARRAY.shape, wanted, ARRAY.shape) is None


def test_readers_of_two_libraries_place_a_file_alike(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(ARRAY)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((3, -40, 12))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    turned = nibabel.as_closest_canonical(nibabel.load(tmp_path / "a.nii.gz"))
    nibabel.save(turned, tmp_path / "b.nii")
    one = read_segmentation(tmp_path / "a.nii.gz", "SimpleITKIO")
    for reader in ("NibabelIO", "NibabelIOWithReorient", "SimpleITKIO"):
        other = read_segmentation(tmp_path / "b.nii", reader)
        turn = turn_between(other, one)
        assert turn is not None
        assert turn.exact
        assert turn.changes
        np.testing.assert_array_equal(turn.apply(other.array)[0], ARRAY)
