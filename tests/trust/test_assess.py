"""quality.json and quality.csv of a folder of predictions."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from held_out_cases import DATASET, LABELS, held_out, profiles

from autoseg.data.image import Image
from autoseg.trust.assess import Assessor, table, worst_first
from autoseg.trust.fit import fitted
from autoseg.trust.quality_model import QualityModel


@pytest.fixture(scope="module")
def model() -> QualityModel:
    return fitted(held_out(40), DATASET, profiles(40), {}, measure=False)


def add(assessor: Assessor, case: str, sure: float) -> None:
    """A ball of about 1000 mm^3, segmented with so much certainty."""
    grid = np.indices((20, 20, 20)) - 9.5
    inside = (grid**2).sum(0) < 39
    image = Image(
        np.random.default_rng(0).normal(400, 20, (1, 20, 20, 20)), (1.0, 1.0, 1.0), {"sitk_stuff": {}}
    )
    evidence = assessor.evidence()
    evidence.add_logits(np.where(inside, sure, -sure)[None] * np.array([-1.0, 1.0])[:, None, None, None] / 2)
    assessor.add(case, image, inside.astype(np.uint8), evidence)


def test_the_worst_case_comes_first_in_both_files(model: QualityModel, tmp_path: Path) -> None:
    assessor = Assessor(model, LABELS, tmp_path)
    for case, sure in (("good", 9.0), ("bad", 0.3)):
        add(assessor, case, sure)
    assessor.save()
    document = json.loads((tmp_path / "quality.json").read_text())
    assert list(document["cases"]) == ["bad", "good"]
    organ = document["cases"]["good"]["structures"]["organ"]
    assert organ["unit"] == "ml" and organ["size"] == pytest.approx(1.0, abs=0.1)
    with (tmp_path / "quality.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["structure"]) for row in rows] == [("bad", "organ"), ("good", "organ")]
    assert float(rows[1]["dice_low"]) <= float(rows[1]["expected_dice"]) <= float(rows[1]["dice_high"])
    assert float(rows[0]["expected_dice"]) < float(rows[1]["expected_dice"])


def test_a_case_that_was_there_keeps_its_quality_unless_another_model_says_it(
    model: QualityModel, tmp_path: Path
) -> None:
    first = Assessor(model, LABELS, tmp_path)
    add(first, "a", 5.0)
    first.save()
    again = Assessor(model, LABELS, tmp_path)
    assert again.retain("a") and not again.retain("b")
    again.save()
    assert list(json.loads((tmp_path / "quality.json").read_text())["cases"]) == ["a"]
    other = fitted(held_out(30), DATASET, profiles(30), {}, measure=False)
    assert not Assessor(other, LABELS, tmp_path).retain("a")


def test_an_interruption_loses_no_quality(model: QualityModel, tmp_path: Path) -> None:
    def stored() -> set[str]:
        return set(json.loads((tmp_path / "quality.json").read_text())["cases"])

    first = Assessor(model, LABELS, tmp_path)
    for case in "bcd":
        add(first, case, 0.9)
    assert stored() == {"b", "c", "d"}
    # A later call that begins with a new case, and is stopped before it gets to the others.
    again = Assessor(model, LABELS, tmp_path)
    add(again, "a", 0.9)
    assert stored() == {"a", "b", "c", "d"}
    assert again.retain("b")
    again.save(whole=False)
    assert stored() == {"a", "b", "c", "d"}
    again.save()
    assert stored() == {"a", "b"}


def test_no_size_is_larger_than_the_image(model: QualityModel, tmp_path: Path) -> None:
    organ = model.structures["organ"]
    wide = replace(organ, size_misses=tuple(99.0 if miss is not None else None for miss in organ.size_misses))
    assessor = Assessor(replace(model, structures={"organ": wide}), LABELS, tmp_path)
    add(assessor, "a", 0.5)
    found = assessor.found["a"]["structures"]["organ"]
    assert found["size_interval"][1] == pytest.approx(8.0)  # 20 x 20 x 20 voxels of 1 mm, in ml
    assert found["size_interval"][0] < found["size"]


def test_files_that_are_written_again_hold_what_was_found_and_nothing_of_before(
    model: QualityModel, tmp_path: Path
) -> None:
    assessor = Assessor(model, LABELS, tmp_path)
    for case, sure in (("good", 9.0), ('two "quoted" words', 0.3), ("good", 0.5)):
        add(assessor, case, sure)
    assessor.save()
    document = json.loads((tmp_path / "quality.json").read_text())
    assert document["cases"] == json.loads(json.dumps(assessor.found))
    assert list(document["cases"]) == [case for case, _ in worst_first(assessor.found)]
    assert (tmp_path / "quality.csv").read_text() == table(assessor.found)


def test_nothing_is_written_for_no_case(model: QualityModel, tmp_path: Path) -> None:
    Assessor(model, LABELS, tmp_path).save()
    assert not list(tmp_path.iterdir())


def test_a_prediction_without_the_copies_that_calibration_had_is_warned_of_once(
    model: QualityModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    organ = model.structures["organ"]
    lines = tuple(replace(line, weights=(*line.weights, 0.1)) for line in organ.lines)
    with_copies = replace(
        organ, names=(*organ.names, "agreement"), neutral=(*organ.neutral, 3.0), lines=lines
    )
    assessor = Assessor(replace(model, structures={"organ": with_copies}), LABELS, tmp_path)
    add(assessor, "a", 5.0)
    add(assessor, "b", 5.0)
    assert sum("mirrored copies" in record.message for record in caplog.records) == 1
