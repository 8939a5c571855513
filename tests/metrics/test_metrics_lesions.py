"""Lesions: components counted and matched by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.errors import UsageError
from autoseg.metrics import score_case
from autoseg.metrics.lesions import LesionRule, match_lesions

UNIT = (1.0, 1.0)


def row(*lesions: tuple[int, int], length: int = 40) -> np.ndarray:
    """Lesions as intervals in the middle one of three rows."""
    segmentation = np.zeros((3, length), bool)
    for start, stop in lesions:
        segmentation[1, start:stop] = True
    return segmentation


def test_matched_missed_and_invented_lesions() -> None:
    reference = row((0, 4), (10, 14), (20, 24))
    prediction = row((0, 4), (11, 15), (30, 34), (36, 38))
    found = match_lesions(reference, prediction, UNIT, LesionRule())
    assert found.matched == pytest.approx((1.0, 3 / 5)) and (found.missed, found.invented) == (1, 2)
    assert found.f1 == pytest.approx(4 / 7)
    assert found.segmentation_quality == pytest.approx(0.8)
    assert found.panoptic_quality == pytest.approx(0.8 * 4 / 7)


def test_an_iou_at_the_threshold_is_no_match() -> None:
    reference, prediction = row((0, 3)), row((1, 4))
    assert match_lesions(reference, prediction, UNIT, LesionRule()).matched == ()
    assert match_lesions(reference, prediction, UNIT, LesionRule(iou_threshold=0.49)).matched == (0.5,)


def test_below_one_half_the_best_pair_goes_first_and_each_lesion_matches_once() -> None:
    reference, prediction = row((0, 10)), row((0, 3), (4, 10))
    found = match_lesions(reference, prediction, UNIT, LesionRule(iou_threshold=0.1))
    assert found.matched == (0.6,) and (found.missed, found.invented) == (0, 1)


def test_small_lesions_are_left_out_on_both_sides() -> None:
    reference, prediction = row((0, 4), (10, 11)), row((0, 4), (20, 22))
    rule = LesionRule(minimum_volume=3 * 0.5)
    found = match_lesions(reference, prediction, (0.5, 1.0), rule)
    assert (len(found.matched), found.missed, found.invented) == (1, 0, 0)
    nothing = match_lesions(reference, prediction, UNIT, LesionRule(minimum_volume=100))
    assert (nothing.f1, nothing.segmentation_quality, nothing.panoptic_quality) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("connectivity", "lesions"), [(None, 1), (8, 1), (4, 2)])
def test_connectivity(connectivity: int | None, lesions: int) -> None:
    diagonal = np.eye(2, dtype=bool)
    found = match_lesions(diagonal, diagonal, UNIT, LesionRule(connectivity))
    assert len(found.matched) == lesions


def test_connectivity_in_3d() -> None:
    corners = np.zeros((2, 2, 2), bool)
    corners[0, 0, 0] = corners[1, 1, 1] = True
    counts = [
        len(match_lesions(corners, corners, (1.0,) * 3, LesionRule(c)).matched) for c in (6, 18, 26, None)
    ]
    assert counts == [2, 2, 1, 1]


def test_rules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="threshold"):
        LesionRule(iou_threshold=1.0)
    with pytest.raises(UsageError, match="connectivity"):
        LesionRule(connectivity=7)
    with pytest.raises(UsageError, match="2D"):
        match_lesions(np.eye(2, dtype=bool), np.eye(2, dtype=bool), UNIT, LesionRule(26))


def test_lesions_of_a_real_case(shared_data) -> None:  # type: ignore[no-untyped-def]
    import SimpleITK as sitk

    folder = shared_data("Dataset030_MSLesion") / "labelsTr"
    image = sitk.ReadImage(str(sorted(folder.glob("*.nii.gz"))[0]))
    reference = sitk.GetArrayFromImage(image)
    prediction = reference.copy()
    prediction[:, : reference.shape[1] // 2] = 0
    found = {
        s.metric: s for s in score_case(reference, prediction, {"lesion": (1,)}, image.GetSpacing()[::-1])
    }
    counted = sitk.ConnectedComponentImageFilter()
    counted.SetFullyConnected(True)
    counted.Execute(image == 1)
    total = counted.GetObjectCount()
    counted.Execute(sitk.GetImageFromArray(prediction) == 1)
    kept = counted.GetObjectCount()
    assert 0 < kept < total
    assert found["lesion_f1"].value <= 2 * kept / (kept + total)
    assert found["lesion_pq"].value == pytest.approx(found["lesion_f1"].value * found["lesion_sq"].value)
    assert found["precision"].value == 1.0 and found["sensitivity"].value < 1.0
