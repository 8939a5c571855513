"""Flags with their reasons, and the document."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from held_out_cases import DATASET, facts, held_out, inputs, profiles

from autoseg.data.image import Image
from autoseg.errors import RunError
from autoseg.trust.features import Facts
from autoseg.trust.fit import fitted
from autoseg.trust.quality_model import OK, REVIEW, UNLIKE, QualityModel, limit_of
from autoseg.trust.reasons import far_input, far_shape
from autoseg.trust.shape import Shape
from autoseg.trust.spread import spreads


@pytest.fixture(scope="module")
def model() -> QualityModel:
    return fitted(held_out(60), DATASET, profiles(60), {"model": "m"})


def good() -> Facts:
    return facts(np.random.default_rng(4), 0.95)


def test_a_usual_case_is_ok_without_a_reason(model: QualityModel) -> None:
    found = model.assess_facts("a", inputs(np.random.default_rng(8)), {"organ": good()}, 0.1)
    assert (found.flag, found.reasons) == (OK, ())


def test_a_doubtful_case_is_to_be_reviewed_and_the_reason_says_what_speaks_against_it(
    model: QualityModel,
) -> None:
    doubtful = replace(good(), evidence={"expected_dice": 0.7, "uncertainty": 0.6, "agreement": None})
    found = model.assess_facts("a", inputs(np.random.default_rng(8)), {"organ": doubtful}, 0.1)
    assert found.flag == REVIEW
    (reason,) = found.reasons
    assert reason.startswith("organ is expected to have a Dice of 0.")
    assert "its probabilities expect a low Dice" in reason or "undecided around the outline" in reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spacing z": np.log(5.0)}, "spacing z is 5 mm; in training 0.968 to 1.03 mm"),
        ({"MR: median intensity": 12.0}, "MR: median intensity is 8.14e+04; in training"),
    ],
)
def test_an_input_that_is_far_is_named_with_its_number(
    model: QualityModel, change: dict[str, float], said: str
) -> None:
    quantities = {**inputs(np.random.default_rng(8)), **change}
    found = model.assess_facts("a", quantities, {"organ": good()}, 0.1)
    assert found.flag == UNLIKE
    assert found.reasons[0].startswith(said)


def test_a_segmentation_that_is_far_is_named_with_its_number(model: QualityModel) -> None:
    huge = replace(good(), shape=replace(good().shape, size=40_000.0, surface=6 * 40_000 ** (2 / 3)))
    found = model.assess_facts("a", {}, {"organ": huge}, 0.1)
    assert found.flag == UNLIKE
    assert found.reasons[0].startswith("volume of organ is 40 ml; in training ")
    missing = Facts({"expected_dice": 0.9, "uncertainty": None, "agreement": None}, Shape(0.0), False)
    found = model.assess_facts("a", {}, {"organ": missing}, 0.1)
    assert "organ was not found; every training case has it" in found.reasons


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("components", 4, 1), "number of parts of organ is 4; in training 1"),
        (
            ("border", 0.4, 0.0),
            "share of the surface of organ on the image's border is 0.40; in training 0.00 to 0.03",
        ),
    ],
)
def test_usual_ranges_hold_nothing_that_cannot_be(change: tuple[str, float, float], said: str) -> None:
    name, value, usual = change
    shape = Shape(1000.0, 600.0, 1, 1.0, 0.0, (0.5, 0.5, 0.5))
    found, known = (replace(shape, **{name: each}).quantities(False)[name] for each in (value, usual))
    spread = spreads([{name: known}] * 3)[name]
    assert far_shape("organ", name, found, spread, "mm^3") == said


def test_shares_of_an_image_are_named_as_such() -> None:
    spread = spreads([{"MR: zero": 0.0}])["MR: zero"]
    assert far_input("MR: zero", 0.92, spread) == "MR: share of zeros is 0.92; in training 0.00 to 0.03"


def test_a_constant_channel_is_named(model: QualityModel) -> None:
    image = Image(np.full((1, 4, 4, 4), 3.0, np.float32), (1.0, 1.0, 1.0), {})
    found = model.assess("a", image, {"organ": good()}, 0.1)
    assert (found.flag, found.reasons[0]) == (UNLIKE, "MR has one value everywhere")


def test_the_model_says_how_well_it_works_on_its_own_cases(model: QualityModel) -> None:
    measured = model.measured
    assert (measured["cases"], measured["groups"], measured["level"]) == (60, 60, 0.9)
    assert measured["coverage_interval"][0] <= measured["coverage"] <= measured["coverage_interval"][1]
    areas = measured["aurc"]
    assert areas["best"] <= areas["expected"] < areas["none"]
    assert measured["curve"][-1] == [1.0, pytest.approx(areas["none"], abs=1e-5)]


def test_the_document_comes_back_whole_and_others_are_refused(model: QualityModel, tmp_path: Path) -> None:
    path = tmp_path / "quality.json"
    model.save(path)
    again = QualityModel.load(path)
    assert again.to_json() == model.to_json()
    changes = ({"structures": {"organ": {}}}, {"input_limit": 10**399}, {"cases": None})
    for wrong in ({"format": 99}, {}, [], *({**model.to_json(), **change} for change in changes)):
        with pytest.raises(RunError, match=r"quality\.json"):
            QualityModel.from_json(wrong)


def test_the_limit_is_where_nearly_all_training_cases_lie() -> None:
    assert limit_of([1.0] * 50) == 4.0
    assert limit_of([*[1.0] * 45, *[9.0] * 5]) == 9.0
    assert limit_of([]) == 4.0
