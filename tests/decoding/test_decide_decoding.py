"""What the held-out cases confirm of temperature and decoding, and what stands beside the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.labels import Labels
from autoseg.decoding.decide import Observed, decide_decoding
from autoseg.decoding.rules import BEST_DICE, CALIBRATED, LARGEST, Decoding
from autoseg.decoding.temperature import AS_THEY_ARE, Calibration, Sample
from autoseg.errors import DataError, RunError
from autoseg.run import DECODING


def observed(count: int, temperature: float) -> list[Observed]:
    """Cases of five folds, whose networks are too sure by a temperature."""
    random, found = np.random.default_rng(5), []
    for index in range(count):
        logits = random.normal(0, 2, 400)
        p = 1 / (1 + np.exp(-logits * temperature))
        true = random.uniform(size=400) < 1 / (1 + np.exp(-logits))
        sample = Sample(f"case_{index}", np.stack([1 - p, p], axis=1), np.stack([~true, true], axis=1))
        found.append(Observed(sample, index % 5, f"case_{index}"))
    return found


def test_what_helps_is_retained_with_its_evidence() -> None:
    seen: list[Sequence[Calibration]] = []

    def gains(temperatures: Sequence[Calibration]) -> dict[str, list[float]]:
        seen.append(temperatures)
        found = [0.01 + 0.002 * (index % 3) for index in range(len(temperatures))]
        return {BEST_DICE: found, CALIBRATED: [0.0] * len(found)}

    found = decide_decoding(observed(30, 2.0), False, gains)
    assert found.calibration.temperature == pytest.approx(2.0, rel=0.1)
    assert found.decide == BEST_DICE
    # Each case at the temperature of the other folds: as many as there are folds.
    assert len(set(seen[0])) == 5
    about = found.evidence
    assert about["after"]["expected_error"] < about["before"]["expected_error"]
    assert about["gain"] == pytest.approx(0.012, abs=1e-3)
    assert "Probabilities have the temperature" in about["in_words"][0]
    assert "decided for the best expected Dice: Dice +0.0120" in about["in_words"][1]
    assert "likeliest label of the calibrated probabilities: Dice +0.0000" in about["in_words"][2]


@pytest.mark.parametrize(("ahead", "way"), [(0.001, BEST_DICE), (0.0, CALIBRATED), (-0.001, CALIBRATED)])
def test_of_two_ways_that_help_the_better_is_retained_and_of_equals_the_simpler(
    ahead: float, way: str
) -> None:
    def gains(temperatures: Sequence[Calibration]) -> dict[str, list[float]]:
        found = [0.01 + 0.002 * (index % 3) for index in range(len(temperatures))]
        return {BEST_DICE: [each + ahead for each in found], CALIBRATED: found}

    found = decide_decoding(observed(30, 2.0), False, gains)
    assert (found.decide, found.changes_segmentations) == (way, True)
    assert found.evidence["gain"] == pytest.approx(0.012 + max(ahead, 0.0), abs=1e-3)


def test_the_likeliest_calibrated_label_is_another_by_a_bias() -> None:
    labels = Labels({"background": 0, "organ": 1})
    p = np.array([0.6, 0.45, 0.2]).reshape(1, 1, 1, 3)
    found = Decoding(Calibration(1.0, (0.0, 0.5)), CALIBRATED)
    given = found.calibrated(np.concatenate([1 - p, p]), labels)
    assert found.segmentation(given, labels).ravel().tolist() == [1, 1, 0]
    assert found.plain().segmentation(np.concatenate([1 - p, p]), labels).ravel().tolist() == [1, 0, 0]


def test_what_does_not_help_is_left() -> None:
    def gains(temperatures: Sequence[Calibration]) -> dict[str, list[float]]:
        assert set(temperatures) == {AS_THEY_ARE}
        found = [0.01 if index % 2 else -0.01 for index in range(len(temperatures))]
        return {BEST_DICE: found, CALIBRATED: [0.0] * len(found)}

    found = decide_decoding(observed(30, 1.0), False, gains)
    assert (found.calibration, found.decide) == (AS_THEY_ARE, LARGEST)
    assert found.evidence["gain"] == 0.0
    assert "stay as they are" in found.evidence["in_words"][0]


def test_without_a_case_nothing_is_decided() -> None:
    with pytest.raises(DataError, match="Finish a fold"):
        decide_decoding([], False, lambda temperatures: {})


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert Decoding.of_model(tmp_path) == Decoding()
    found = Decoding(Calibration(1.5, (0.0, -0.5)), BEST_DICE, {"n_cases": 3})
    found.save(tmp_path)
    assert Decoding.of_model(tmp_path) == found
    assert Decoding.of_model(tmp_path).plain().decide == LARGEST


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"format": 2, "temperature": 1, "bias": [], "decide": "largest", "evidence": {}}',
        '{"format": 1, "temperature": 1, "bias": [], "decide": "dice", "evidence": {}}',
        '{"format": 1, "temperature": 0, "bias": [], "decide": "largest", "evidence": {}}',
        '{"format": 1, "temperature": "hot", "bias": [], "decide": "largest", "evidence": {}}',
        '{"format": 1, "temperature": 1, "bias": [99], "decide": "largest", "evidence": {}}',
        '{"format": 1, "temperature": 1, "bias": 3, "decide": "largest", "evidence": {}}',
        '{"format": 1, "temperature": null, "bias": [], "decide": "largest", "evidence": {}}',
        pytest.param(
            f'{{"format": 1, "temperature": {"9" * 399}, "bias": [], "decide": "largest", "evidence": {{}}}}',
            id="a number beyond all floats",
        ),
    ],
)
def test_another_document_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / DECODING).write_text(text)
    with pytest.raises(RunError, match=r"decoding\.json cannot be read.*autoseg calibrate"):
        Decoding.of_model(tmp_path)
