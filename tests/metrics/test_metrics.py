"""Counts, overlap, the register, and what empty segmentations are worth."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoseg.errors import DataError, UsageError
from autoseg.metrics import ALL_STRUCTURES, Score, score_case
from autoseg.metrics.register import METRICS, Scale, find, metric, select

SPACING = (2.5, 0.8, 0.8)
SHAPE = (6, 10, 12)
SHARES = ("dice", "iou", "sensitivity", "precision", "nsd", "nsd_voxel", "lesion_f1", "lesion_pq")
DISTANCES = ("hd95", "hd95_surfel", "hd", "hd_surfel", "assd", "assd_surfel", "masd", "masd_surfel")


def box(*corners: tuple[int, int], shape: tuple[int, ...] = SHAPE, label: int = 1) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(*corner) for corner in corners)] = label
    return labels


def scores(
    reference: np.ndarray, prediction: np.ndarray | None, structure: str = "a", **options: object
) -> dict[str, Score]:
    options.setdefault("structures", {"a": (1,)})
    options.setdefault("spacing_mm", SPACING[-reference.ndim :])
    found = score_case(reference, prediction, **options)  # type: ignore[arg-type]
    return {score.metric: score for score in found if score.structure == structure}


FULL = box((1, 4), (2, 8), (3, 9))
EMPTY = np.zeros(SHAPE, np.uint8)


def test_overlap_of_a_case_counted_by_hand() -> None:
    reference, prediction = box((0, 1), (0, 2), (0, 4)), box((0, 1), (0, 2), (2, 6))
    found = scores(reference, prediction)
    assert [found[name].value for name in ("tp", "fp", "fn", "tn")] == [4, 4, 4, reference.size - 12]
    expected = {"dice": 0.5, "iou": 1 / 3, "sensitivity": 0.5, "precision": 0.5, "relative_volume_error": 0.0}
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    assert found["pixel_accuracy"].value == pytest.approx(1 - 8 / reference.size)
    assert found["balanced_accuracy"].value == pytest.approx((0.5 + (720 - 12) / (720 - 8)) / 2)


def test_volume_error_is_signed_and_in_millilitres() -> None:
    found = scores(box((0, 2), (0, 5), (0, 5)), box((0, 1), (0, 5), (0, 5)))
    assert found["volume_error"].value == pytest.approx(-25 * 2.5 * 0.8 * 0.8 / 1000)
    assert found["relative_volume_error"].value == pytest.approx(0.5)


def test_area_error_of_2d_images_is_in_square_millimetres() -> None:
    found = scores(
        box((0, 4), (0, 5), shape=(8, 9)), box((0, 4), (0, 6), shape=(8, 9)), spacing_mm=(0.5, 0.5)
    )
    assert found["area_error"].value == pytest.approx(4 * 0.25)
    assert "volume_error" not in found


@pytest.mark.parametrize(
    ("reference", "prediction", "status", "share", "distance"),
    [
        (EMPTY, EMPTY, "empty_both", 1.0, 0.0),
        (FULL, EMPTY, "missing_prediction_structure", 0.0, "diagonal"),
        (EMPTY, FULL, "empty_reference", 0.0, "diagonal"),
        (FULL, None, "missing_file", 0.0, "diagonal"),
        (EMPTY, None, "missing_file", 0.0, "diagonal"),
        (FULL, FULL, "ok", 1.0, 0.0),
    ],
)
def test_empty_segmentations(
    reference: np.ndarray, prediction: np.ndarray | None, status: str, share: float, distance: float | str
) -> None:
    found = scores(reference, prediction)
    diagonal = math.hypot(*(n * s for n, s in zip(SHAPE, SPACING, strict=True)))
    assert {score.status for score in found.values()} == {status}
    assert {found[name].value for name in SHARES} == {share}
    expected = diagonal if distance == "diagonal" else distance
    assert [found[name].value for name in DISTANCES] == pytest.approx([expected] * len(DISTANCES))
    for name in DISTANCES:
        assert found[name].raw == (0.0 if status == "ok" else None)


def test_raw_values_are_what_the_formula_gives() -> None:
    assert scores(EMPTY, EMPTY)["dice"].raw is None
    assert scores(FULL, EMPTY)["dice"].raw == 0.0
    assert scores(FULL, EMPTY)["precision"].raw is None
    assert scores(EMPTY, FULL)["sensitivity"].raw is None
    assert scores(FULL, None)["dice"].raw is None


def test_a_missing_file_counts_as_an_empty_prediction_where_there_is_no_worst_value() -> None:
    found = scores(FULL, None)
    assert found["fn"].value == FULL.sum() and found["tp"].value == 0
    assert found["volume_error"].value == pytest.approx(-float(FULL.sum()) * 2.5 * 0.64 / 1000)


def test_missing_a_structure_never_improves_the_mean_distance() -> None:
    structures = {"a": (1,), "b": (2,)}
    reference = FULL + box((4, 6), (0, 2), (0, 2), label=2)
    poor = np.roll(reference, 4, axis=2)
    hidden = np.where(poor == 2, 0, poor)
    for name in ("hd95", "assd", "masd", "hd"):
        scored, missed = (
            scores(reference, prediction, "b", structures=structures)[name].value
            for prediction in (poor, hidden)
        )
        assert missed > scored


def test_a_region_is_one_mask_not_a_mean_of_labels() -> None:
    reference = box((0, 2), (0, 4), (0, 4)) + box((2, 3), (0, 4), (0, 4), label=2)
    prediction = np.where(reference > 0, 3 - reference, 0).astype(np.uint8)
    structures = {"whole": (1, 2), "a": (1,), "b": (2,)}
    assert scores(reference, prediction, "whole", structures=structures)["dice"].value == 1.0
    assert scores(reference, prediction, "whole", structures=structures)["hd"].value == 0.0
    assert scores(reference, prediction, "a", structures=structures)["dice"].value == 0.0


def test_ignored_voxels_change_no_score() -> None:
    reference = FULL.copy()
    reference[:, :, 7:] = 9
    rng = np.random.default_rng(0)
    plain = np.where(reference == 1, 1, 0).astype(np.uint8)
    plain[0, 0, :3] = 1
    noisy = np.where(reference == 9, rng.integers(0, 2, SHAPE), plain).astype(np.uint8)
    first, second = (scores(reference, p, ignore_label=9) for p in (plain, noisy))
    assert first == second
    assert (
        first["tp"].value + first["fp"].value + first["fn"].value + first["tn"].value
        == (reference != 9).sum()
    )


def test_case_metrics_weigh_structures_and_count_the_background() -> None:
    reference = box((0, 1), (0, 2), (0, 4)) + box((2, 3), (0, 2), (0, 2), label=2)
    prediction = np.where(reference == 1, 1, 0).astype(np.uint8)
    found = scores(reference, prediction, ALL_STRUCTURES, structures={"a": (1,), "b": (2,)})
    assert found["weighted_f1"].value == pytest.approx((8 * 1 + 4 * 0) / 12)
    assert found["label_accuracy"].value == pytest.approx(1 - 4 / reference.size)


@settings(deadline=None, max_examples=50)
@given(
    arrays(np.uint8, (4, 5, 6), elements=st.integers(0, 3)),
    arrays(np.uint8, (4, 5, 6), elements=st.integers(0, 3)),
)
def test_counts_agree_with_counting(reference: np.ndarray, prediction: np.ndarray) -> None:
    found = scores(
        reference, prediction, "r", structures={"r": (1, 3)}, metrics=("tp", "fp", "fn", "tn", "dice", "iou")
    )
    a, b = np.isin(reference, (1, 3)), np.isin(prediction, (1, 3))
    expected = [(a & b).sum(), (~a & b).sum(), (a & ~b).sum(), (~a & ~b).sum()]
    assert [found[name].value for name in ("tp", "fp", "fn", "tn")] == expected
    assert found["dice"].value == pytest.approx(2 * found["iou"].value / (1 + found["iou"].value))


def test_many_and_large_labels() -> None:
    reference, prediction = FULL.astype(np.int32) * 2035, np.roll(FULL, 1, axis=1).astype(np.float32) * 2035
    wide = scores(reference, prediction, structures={"a": (2035,)})
    narrow = scores(FULL, np.roll(FULL, 1, axis=1))
    assert wide == narrow


def test_more_labels_than_bytes_can_hold() -> None:
    rng = np.random.default_rng(0)
    known = np.concatenate([[0], rng.choice(np.arange(1, 60_000), 300, replace=False)])
    reference, prediction = rng.choice(known, (2, 12, 20, 20))
    chosen = [int(known[7]), int(known[200])]
    wide = scores(reference, prediction, structures={"a": chosen})
    masks = [np.isin(labels, chosen).astype(np.uint8) for labels in (reference, prediction)]
    assert wide == scores(*masks)


def test_a_single_slice_is_scored_in_2d() -> None:
    reference, prediction = FULL[2:3], np.roll(FULL[2:3], 1, axis=1)
    as_slice = scores(reference, prediction, spacing_mm=(999, 1, 1))
    assert as_slice == scores(reference[0], prediction[0], spacing_mm=(1, 1))
    assert as_slice["hd"].value == 1.0


@pytest.mark.parametrize(
    ("reference", "prediction", "spacing", "message"),
    [
        (FULL, FULL[1:], SPACING, "shape"),
        (FULL, FULL, (1, 1), "spacing"),
        (FULL, FULL, (1, 0, 1), "not positive"),
        (FULL, FULL * 0.5, SPACING, "fractions"),
        (FULL, FULL.astype(int) - 1, SPACING, "from -1"),
        (FULL[None], FULL[None], (1, *SPACING), "2D or 3D"),
    ],
)
def test_bad_input_is_refused(
    reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score_case(reference, prediction, {"a": (1,)}, spacing)


def test_metrics_are_chosen_by_name_or_definition() -> None:
    assert set(scores(FULL, FULL, metrics=("dice", "hd95.surfel.v1"))) == {"dice", "hd95_surfel"}
    with pytest.raises(UsageError, match="no metric 'dyce'"):
        scores(FULL, FULL, metrics=("dyce",))
    with pytest.raises(UsageError, match="2d images"):
        scores(FULL, FULL, metrics=("hc_error",))


def test_headlines() -> None:
    headlines = {name: METRICS[name].definition for name in ("dice", "iou", "nsd", "hd95", "assd")}
    assert headlines == {
        "dice": "dice.v1",
        "iou": "iou.v1",
        "nsd": "nsd.surfel.v1",
        "hd95": "hd95.voxel.v1",
        "assd": "assd.voxel.v1",
    }
    assert find("nsd.voxel.v1").name == "nsd_voxel"


def test_every_metric_declares_what_it_means() -> None:
    for each in select(None):
        assert each.unit and each.description and each.definition.endswith(".v1")
        if each.ranked:
            assert each.direction in ("higher", "lower") and each.best is not None
        assert not (each.group in ("secondary", "probabilities", "counts") and each.ranked)


def test_a_metric_that_forgets_something_fails_when_defined() -> None:
    with pytest.raises(TypeError, match="best"):
        Scale(unit="mm", worst=0.0, direction="lower")  # type: ignore[call-arg]
    share = Scale(unit="1", best=1.0, worst=0.0, direction="higher")
    with pytest.raises(TypeError, match="ranked"):
        metric("forgetful.v1", share, group="overlap")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="version"):
        metric("forgetful", share, group="overlap", ranked=True)
    with pytest.raises(ValueError, match="exists already"):
        metric("dice.v1", share, group="overlap", ranked=True)
    with pytest.raises(ValueError, match="direction"):
        signed = Scale(unit="mm", best=0.0, worst=None, direction="zero")
        metric("forgetful.v1", signed, group="overlap", ranked=True)
    with pytest.raises(ValueError, match="description"):
        metric("forgetful.v1", share, group="overlap", ranked=True)(lambda case: 1.0)
    assert "forgetful" not in METRICS


def test_tolerances_by_structure() -> None:
    structures = {"a": (1,), "b": (2,)}
    reference = FULL + box((0, 1), (0, 2), (0, 2), label=2)
    prediction = np.roll(reference, 2, axis=2)
    tight = scores(reference, prediction, structures=structures, tolerance_mm={"a": 0.5})
    default = scores(reference, prediction, structures=structures)
    assert tight["nsd"].value < default["nsd"].value == 1.0


def test_importing_metrics_is_cheap() -> None:
    code = "import sys, autoseg.metrics; print(sorted({'torch', 'scipy', 'edt', 'cc3d'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
