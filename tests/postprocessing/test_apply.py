"""Rules on small segmentations whose right answer is known, and nnU-Net's own function beside ours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoseg.data.labels import Labels
from autoseg.postprocessing.apply import postprocess
from autoseg.postprocessing.rules import PIXELS, Postprocessing, Rule, plain_rules

ORGAN = Rule("organ", (1,), inside=1)


def rules(*each: Rule, unit: str = "ml") -> Postprocessing:
    return Postprocessing(each, unit)


def test_only_the_largest_component_stays_and_others_are_left_alone() -> None:
    array = np.zeros((4, 10, 10), np.uint8)
    array[:2, :3, :3] = 1
    array[3, 8:, 8:] = 1
    array[3, 0, 0] = 2
    found = postprocess(array, rules(replace(ORGAN, largest=True)), (1, 1, 1))
    assert found[:2, :3, :3].all() and not (found[3, 8:, 8:] == 1).any() and found[3, 0, 0] == 2
    assert (array == 1).sum() == 18 + 4  # the input is left as it is


def test_a_size_is_physical_and_what_is_as_large_stays() -> None:
    array = np.zeros((3, 8, 8), np.uint8)
    array[0, 0, :5] = 1
    array[2, 4, :4] = 1
    spacing = (2.0, 5.0, 10.0)  # 0.1 ml a voxel
    keeps = {
        size: (postprocess(array, rules(replace(ORGAN, smallest=size)), spacing) == 1).sum()
        for size in (0.4, 0.41, 0.5, 0.51)
    }
    assert keeps == {0.4: 9, 0.41: 5, 0.5: 5, 0.51: 0}
    assert (postprocess(array, rules(replace(ORGAN, smallest=5.0), unit=PIXELS), spacing) == 1).sum() == 5


@pytest.mark.parametrize("shape", [(1, 9, 9), (9, 1, 9), (9, 9, 1)])
def test_a_hole_in_a_single_slice_is_closed(shape: tuple[int, ...]) -> None:
    flat = np.zeros((9, 9), np.uint8)
    flat[2:7, 2:7] = 1
    flat[4, 4], flat[4, 5] = 0, 2
    found = postprocess(flat.reshape(shape), rules(replace(ORGAN, fill=True)), (1, 1, 1))
    assert found.shape == shape and found.reshape(9, 9)[4, 4] == 1
    assert found.reshape(9, 9)[4, 5] == 2  # another structure is no hole
    assert (found == 0).sum() == 81 - 25


def test_a_ring_of_one_slice_in_a_volume_encloses_nothing() -> None:
    array = np.zeros((5, 9, 9), np.uint8)
    array[2, 2:7, 2:7] = 1
    array[2, 4, 4] = 0
    assert np.array_equal(postprocess(array, rules(replace(ORGAN, fill=True)), (1, 1, 1)), array)


def test_what_leaves_an_inner_region_belongs_to_the_outer() -> None:
    labels = Labels({"background": 0, "whole": (1, 2, 3), "core": (2, 3), "spot": (3,)}, (1, 2, 3))
    whole, core, spot = plain_rules(labels)
    assert [(r.structure, r.inside, r.outside) for r in (whole, core, spot)] == [
        ("whole", 1, 0),
        ("core", 2, 1),
        ("spot", 3, 2),
    ]
    array = np.zeros((1, 8, 12), np.uint8)
    array[0, 1:7, 1:11] = 1
    array[0, 2:6, 2:6] = 2
    array[0, 3, 3] = 3
    array[0, 3, 8] = 3  # a speck of the core that is a speck of the spot
    found = postprocess(array, rules(replace(core, largest=True)), (1, 1, 1))
    assert found[0, 3, 8] == 1 and found[0, 3, 3] == 3 and np.array_equal(found > 0, array > 0)


@pytest.mark.parametrize("values", [(1,), (1, 2)])
def test_the_largest_component_is_that_of_nnunet(values: tuple[int, ...]) -> None:
    from nnunetv2.postprocessing.remove_connected_components import apply_postprocessing

    from autoseg.nnunet import largest_components

    rng = np.random.default_rng(0)
    for _ in range(20):
        array = (rng.random((6, 12, 12)) < 0.2).astype(np.uint8) * rng.integers(1, 4, (6, 12, 12)).astype(
            np.uint8
        )
        rule = Rule("some", values, inside=1, largest=True)
        expected = apply_postprocessing(array, *largest_components([(values, 0)]))
        assert np.array_equal(postprocess(array, rules(rule), (1, 1, 1)), expected)


def test_json_and_back_and_what_is_no_rule() -> None:
    found = rules(replace(ORGAN, smallest=0.3, fill=True))
    assert Postprocessing.from_json(found.to_json()) == found
    assert found.words == ("organ: components from 0.3 ml, holes filled",)
    wrong_values = (
        {"values": []},
        {"values": [0]},
        {"values": [2**31]},
        {"inside": "x"},
        {"inside": 10**300},
    )
    for change in ({"outside": 1}, {"outside": 2**31}, {"smallest": -1}, *wrong_values):
        content = found.to_json()
        content["rules"][0].update(change)
        with pytest.raises(ValueError):
            Postprocessing.from_json(content)
    for wrong in ({}, [], {**found.to_json(), "format": 9}, {**found.to_json(), "unit": "mm"}):
        with pytest.raises(ValueError):
            Postprocessing.from_json(wrong)
