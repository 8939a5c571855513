"""Calibration and ROC AUC against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.metrics import score_case
from autoseg.metrics.calibration import calibration, roc_auc

RNG = np.random.default_rng(0)
SHAPE = (12, 40, 40)
REFERENCE = np.zeros(SHAPE, bool)
REFERENCE[3:9, 10:30, 10:30] = True
PROBABILITIES = np.clip(0.6 * REFERENCE + RNG.normal(0.2, 0.2, SHAPE), 0, 1).astype(np.float32)


def test_roc_auc_is_that_of_a_sort() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    exact = sklearn.roc_auc_score(REFERENCE.ravel(), PROBABILITIES.ravel())
    assert roc_auc(REFERENCE, PROBABILITIES) == pytest.approx(exact, abs=1e-5)


def test_roc_auc_of_perfect_useless_and_wrong_probabilities() -> None:
    truth = REFERENCE.astype(np.float32)
    assert roc_auc(REFERENCE, truth) == 1.0
    assert roc_auc(REFERENCE, np.full(SHAPE, 0.3)) == 0.5
    assert roc_auc(REFERENCE, 1 - truth) == 0.0
    assert roc_auc(np.zeros(SHAPE, bool), truth) is None


def test_calibrated_probabilities_have_no_error() -> None:
    given = RNG.random((200, 200))
    drawn = RNG.random(given.shape) < given
    found = calibration(drawn, given, (1.0, 1.0), margin_mm=500)
    assert found is not None and found.expected_error < 0.02
    assert found.brier == pytest.approx(1 / 6, abs=0.01)
    overconfident = calibration(drawn, np.round(given), (1.0, 1.0), margin_mm=500)
    assert overconfident is not None and overconfident.expected_error > 0.2


def test_only_the_surroundings_of_the_reference_count() -> None:
    from scipy.ndimage import distance_transform_edt

    spacing = (3.0, 1.0, 1.0)
    found = calibration(REFERENCE, PROBABILITIES, spacing, margin_mm=4)
    near = distance_transform_edt(~REFERENCE, sampling=spacing) <= 4
    p, y = PROBABILITIES[near].astype(float), REFERENCE[near]
    assert found is not None and found.brier == pytest.approx(np.mean((p - y) ** 2))
    bins = np.minimum((p * 15).astype(int), 14)
    gaps = [abs(p[bins == i].mean() - y[bins == i].mean()) * (bins == i).mean() for i in set(bins)]
    assert found.expected_error == pytest.approx(sum(gaps))
    assert calibration(np.zeros(SHAPE, bool), PROBABILITIES, spacing) is None


def test_ignored_voxels_do_not_count() -> None:
    ignored = np.zeros(SHAPE, bool)
    ignored[:, :20] = True
    changed = np.where(ignored, 0.9, PROBABILITIES)
    truth = REFERENCE & ~ignored
    assert roc_auc(truth, PROBABILITIES, ignored) == roc_auc(truth, changed, ignored)
    assert calibration(truth, PROBABILITIES, (1.0,) * 3, ignored) == calibration(
        truth, changed, (1.0,) * 3, ignored
    )


def test_scores_where_probabilities_are_given() -> None:
    labels = REFERENCE.astype(np.uint8)
    found = score_case(labels, labels, {"a": (1,), "b": (2,)}, (1, 1, 1), probabilities={"a": PROBABILITIES})
    scored = {s.metric: s.value for s in found if s.structure == "a"}
    assert scored["roc_auc"] == roc_auc(REFERENCE, PROBABILITIES)
    assert {"ece", "brier"} <= scored.keys()
    assert not {"ece", "roc_auc"} & {s.metric for s in found if s.structure == "b"}
    absent = score_case(0 * labels, labels, {"a": (1,)}, (1, 1, 1), probabilities={"a": PROBABILITIES})
    assert not {"ece", "roc_auc"} & {s.metric for s in absent}
