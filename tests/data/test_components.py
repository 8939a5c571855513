"""Connected components: the size of one object of a class, without specks."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.data.components import Components, components_of, summary


def test_each_object_of_a_class_is_one_and_touching_classes_are_two() -> None:
    label = np.zeros((6, 8, 8), np.uint8)
    label[1:3, 1:3, 1:3] = 1
    label[4:6, 5:8, 5:8] = 1
    label[1:3, 3:5, 1:3] = 2  # beside the first object of 1
    found = components_of(label, {"organ": [1], "core": [2], "gone": [3]})
    assert found["organ"] == Components((18, 8), ((2, 3, 3), (2, 2, 2)))
    assert found["core"] == Components((8,), ((2, 2, 2),))
    assert "gone" not in found


def test_a_region_is_the_union_of_its_labels() -> None:
    label = np.zeros((3, 3, 6), np.int16)
    label[1, 1, 1:3], label[1, 1, 3:5] = 1, 2
    found = components_of(label, {"whole": [1, 2], "core": [2]})
    assert found["whole"] == Components((4,), ((1, 1, 4),))
    assert found["core"] == Components((2,), ((1, 1, 2),))


def test_voxels_that_touch_at_a_corner_are_one_object() -> None:
    label = np.zeros((1, 4, 4), np.float32)
    label[0, 1, 1] = label[0, 2, 2] = 1
    assert components_of(label, {"organ": [1]})["organ"] == Components((2,), ((1, 2, 2),))


def test_specks_are_no_objects() -> None:
    label = np.zeros((1, 40, 40), np.uint8)
    label[0, :20, :10] = 1  # 200 voxels, and four specks
    label[0, 30, [5, 15, 25, 35]] = 1
    assert components_of(label, {"organ": [1]})["organ"].voxels == (200,)
    many = np.zeros((1, 40, 40), np.uint8)
    many[0, ::2, ::2] = 1
    assert len(components_of(many, {"dot": [1]})["dot"].voxels) == 380, "95 % of 400 equal ones"


def test_an_empty_label_has_none() -> None:
    assert components_of(np.zeros((2, 3, 4), np.uint8), {"organ": [1]}) == {}


def test_the_summary_is_in_the_unit_of_each_case() -> None:
    found = [Components((10, 4), ((1, 5, 2), (1, 2, 2))), Components((6,), ((1, 3, 2),))]
    told = summary(found, [(1.0, 2.0, 2.0), (3.0, 1.0, 1.0)], [4.0, 3.0])
    assert told == {
        "per_case": 1.5,
        "median_voxels": 6.0,
        "median": pytest.approx(18.0),  # of 40, 16 and 18
        "extent": [1.0, 4.0, 4.0],
    }
