"""Decisions from files: what is planted in predictions is found, and what it is worth is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.labels import Labels
from autoseg.errors import DataError
from autoseg.postprocessing.apply import postprocess, voxel_size
from autoseg.postprocessing.decide import OutOfFold, decide_postprocessing
from autoseg.postprocessing.measure import candidates, dices, gains
from autoseg.postprocessing.rules import ML, Postprocessing, plain_rules

LABELS = Labels({"background": 0, "ball": 1, "cube": 2})
REGIONS = Labels({"background": 0, "all": (1, 2), "core": (2,)}, (1, 2))
SPACING = (2.0, 1.0, 1.0)


def write(path: Path, array: np.ndarray) -> Path:
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    image.SetSpacing(SPACING[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def reference(rng: np.random.Generator) -> np.ndarray:
    array = np.zeros((10, 24, 24), np.uint8)
    y, x = rng.integers(2, 5, 2)
    array[2:6, y : y + 8, x : x + 8] = 1
    array[6:8, 12:18, 12:18] = 2
    return array


def out_of_fold(folder: Path, cases: int, specks: bool) -> list[OutOfFold]:
    """Predictions with errors at the rim; with specks, far from the ball, in every case."""
    found = []
    for number in range(cases):
        rng = np.random.default_rng(number)
        truth = reference(rng)
        predicted = truth.copy()
        predicted[2, :, :8][rng.random((24, 8)) < 0.3] = 0
        if specks:
            predicted[9, 20:23, 20:23] = 1
        name = f"case{number:02d}"
        files = (
            write(folder / "p" / f"{name}.nii.gz", predicted),
            write(folder / "r" / f"{name}.nii.gz", truth),
        )
        found.append(OutOfFold(name, number % 5, name, *files))
    return found


def test_planted_specks_are_found_and_their_worth_is_reported(tmp_path: Path) -> None:
    cases = out_of_fold(tmp_path, 15, specks=True)
    found = decide_postprocessing(cases, LABELS, "SimpleITKIO")
    (rule,) = found.rules
    assert rule.structure == "ball" and (rule.largest or rule.smallest is not None)
    # Exactly what taking out the nine voxels is worth, which is nothing that had to be chosen.
    worth = []
    for each in cases:
        predicted, truth = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (each.prediction, each.reference)
        )
        clean = predicted.copy()
        clean[9, 20:23, 20:23] = 0
        both = (
            np.count_nonzero((a == 1) & (truth == 1)) * 2 / ((a == 1).sum() + (truth == 1).sum())
            for a in (clean, predicted)
        )
        worth.append(np.subtract(*both) / 2)
    about = found.evidence
    assert about["gain"] == pytest.approx(np.mean(worth), rel=1e-6)
    assert about["interval"][0] <= about["gain"] <= about["interval"][1]
    assert about["structures"]["ball"]["p"] < 0.05 <= about["structures"]["cube"]["p"]
    assert "ball: " in about["in_words"][0]
    path = found.save(tmp_path)
    assert Postprocessing.of_model(tmp_path) == found and path.is_file()


def test_where_nothing_helps_nothing_is_retained(tmp_path: Path) -> None:
    found = decide_postprocessing(out_of_fold(tmp_path, 15, specks=False), LABELS, "SimpleITKIO")
    assert not found.rules and found.evidence["gain"] == 0
    assert found.evidence["in_words"][0].startswith("None")


def test_without_cases_or_on_other_grids_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Finish a fold"):
        decide_postprocessing([], LABELS, "SimpleITKIO")
    (case,) = out_of_fold(tmp_path, 1, specks=False)
    write(case.prediction, np.zeros((3, 4, 5)))
    with pytest.raises(DataError, match="Predict this case again"):
        decide_postprocessing([case], LABELS, "SimpleITKIO")


@pytest.mark.parametrize("labels", [LABELS, REGIONS])
@pytest.mark.parametrize("ignore", [None, 3])
def test_measured_gains_are_those_of_the_rules_applied(labels: Labels, ignore: int | None) -> None:
    rng = np.random.default_rng(1)
    rules = plain_rules(labels)
    for _ in range(3):
        truth = reference(rng)
        predicted = np.where(rng.random(truth.shape) < 0.05, rng.integers(0, 3, truth.shape), truth)
        if ignore:
            truth[5, :, :10] = ignore
        voxel = voxel_size(SPACING, ML)
        table = gains(predicted, truth, rules, voxel, ML, ignore)
        before = dices(predicted, truth, rules, ignore)
        for row, rule in enumerate(rules):
            for column, candidate in enumerate(candidates(rule, ML)):
                after = postprocess(predicted, Postprocessing((candidate,)), SPACING)
                change = (dices(after, truth, rules, ignore) - before).mean()
                assert table[row, column] == pytest.approx(change, abs=1e-12)
