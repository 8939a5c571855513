"""Expected Dice and volume of one structure."""

import json
from dataclasses import replace

import numpy as np
import pytest
from held_out_cases import held_out, profiles

from autoseg.trust.features import Facts
from autoseg.trust.shape import Shape
from autoseg.trust.structure_model import StructureModel, fit_structure


def model(count: int, seed: int = 1, of_group: int = 1) -> StructureModel:
    references = [(each.shapes["organ"], False) for each in profiles(count).values()]
    return fit_structure([each.structures["organ"] for each in held_out(count, seed, of_group)], references)


def test_dice_and_volume_of_new_cases_are_in_their_intervals_as_often_as_said() -> None:
    dice, sizes, errors, scores = [], [], [], []
    for seed in range(12):
        fitted = model(60, seed)
        for case in held_out(40, 1000 + seed):
            new = case.structures["organ"]
            found = fitted.estimate(new.facts)
            assert found.dice_interval is not None and found.size_interval is not None
            dice.append(found.dice_interval[0] <= new.dice <= found.dice_interval[1])
            sizes.append(found.size_interval[0] <= new.reference_size <= found.size_interval[1])
            errors.append(found.dice - new.dice)
            scores.append((found.dice, new.dice))
    # 480 cases, 60 for each fit: 3 standard errors of both.
    assert 0.85 < np.mean(dice) < 0.97
    assert 0.85 < np.mean(sizes) < 0.97
    assert abs(np.mean(errors)) < 0.01
    assert np.corrcoef(np.transpose(scores))[0, 1] > 0.8


def test_more_doubt_never_raises_the_expected_dice() -> None:
    fitted = model(60)
    shape = Shape(1000.0, 600.0, 1, 1.0, 0.0, (0.5, 0.5, 0.5))
    expected = [
        fitted.estimate(Facts({"expected_dice": sure, "uncertainty": 2 * (1 - sure)}, shape, False)).dice
        for sure in (0.99, 0.95, 0.9, 0.7, 0.3)
    ]
    assert expected == sorted(expected, reverse=True)
    assert expected[0] > expected[-1] + 0.2


@pytest.mark.parametrize(
    ("count", "of_group", "known"), [(8, 1, False), (24, 4, False), (9, 1, True), (36, 4, True)]
)
def test_too_few_groups_give_no_interval_but_still_a_dice(count: int, of_group: int, known: bool) -> None:
    fitted = model(count, of_group=of_group)
    found = fitted.estimate(held_out(1, 9)[0].structures["organ"].facts)
    assert fitted.groups == count // of_group
    assert (found.dice_interval is not None) == (found.size_interval is not None) == known
    assert 0 < found.dice < 1


def test_one_case_is_enough_for_an_expectation() -> None:
    (only,) = held_out(1)
    fitted = model(1)
    found = fitted.estimate(held_out(1, 7)[0].structures["organ"].facts)
    assert found.dice == pytest.approx(only.dice)


def test_the_document_holds_numbers_and_names_alone_and_gives_the_same() -> None:
    fitted = model(30)
    again = StructureModel.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)))
    new = held_out(1, 5)[0].structures["organ"].facts
    assert again == fitted
    assert again.estimate(new) == fitted.estimate(new)


@pytest.mark.parametrize("entry", ["misses", "lines", "part", "neutral"])
def test_a_document_that_is_cut_short_is_refused(entry: str) -> None:
    content = model(30).to_json()
    content[entry] = content[entry][:-1]
    with pytest.raises((ValueError, KeyError, TypeError)):
        StructureModel.from_json(content)


def test_an_empty_segmentation_has_no_interval_of_its_volume() -> None:
    found = model(30).estimate(Facts({"expected_dice": 0.1, "uncertainty": None}, Shape(0.0), False))
    assert found.size_interval is None
    assert (found.dice, found.dice_interval, found.failure) == (0.0, (0.0, 1.0), 1.0)


def test_empty_segmentations_of_calibration_say_how_often_that_is_right() -> None:
    cases = [each.structures["organ"] for each in held_out(30)]
    nothing = Facts({"expected_dice": 0.9, "uncertainty": None}, Shape(0.0), False)
    empty = [replace(cases[index], facts=nothing, dice=float(index < 3)) for index in range(4)]
    shapes = [(each.shapes["organ"], False) for each in profiles(30).values()]
    fitted = fit_structure([*cases[4:], *empty], [*shapes, (Shape(0.0), False)])
    assert len(fitted.misses) == 26
    assert fitted.estimate(nothing).dice == pytest.approx((3 + 0.9) / 5)


@pytest.mark.parametrize("missed", [3, 12])
def test_a_structure_that_is_often_missed_is_a_likely_failure(missed: int) -> None:
    """A tenth of the cases have a Dice of 0, and nothing lies below their tenth percentile."""
    cases = [each.structures["organ"] for each in held_out(12)]
    cases = [replace(each, dice=0.0) if index < missed else each for index, each in enumerate(cases)]
    fitted = fit_structure(cases, [(each.shapes["organ"], False) for each in profiles(12).values()])
    found = [fitted.estimate(each.facts) for each in cases]
    assert all(each.failure == 1 for each in found if each.dice < 0.02)
    assert sum(each.failure for each in found) / 12 == pytest.approx(missed / 12, abs=0.1)
    stored = {**fitted.to_json(), "threshold": 0.0}
    assert StructureModel.from_json(stored) == fitted
