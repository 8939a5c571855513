"""The regression: the same as scikit-learn's, and never against a feature."""

import numpy as np
import pytest

from autoseg.trust.regression import RIDGE, fit_line


def test_it_is_scikit_learns_ridge_with_positive_weights() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn comes with nnunetv2")
    random = np.random.default_rng(0)
    features, weights = random.normal(size=(40, 4)), random.random(40) + 0.2
    targets = features @ [1.0, 0.4, -0.8, 0.0] + random.normal(size=40)
    found = fit_line(features, targets, weights)
    middle = np.average(features, axis=0, weights=weights)
    scale = np.sqrt(np.average((features - middle) ** 2, axis=0, weights=weights))
    ridge = linear.Ridge(alpha=RIDGE, positive=True, tol=1e-10).fit(
        (features - middle) / scale, targets, sample_weight=weights
    )
    expected = ridge.predict((features - middle) / scale)
    assert found(features) == pytest.approx(expected, abs=1e-3)
    assert min(found.weights) == 0.0
    assert found.weights[2] == 0.0


def test_a_feature_that_never_changes_gets_no_weight() -> None:
    random = np.random.default_rng(1)
    features = np.stack([random.normal(size=20), np.full(20, 3.0)], axis=1)
    found = fit_line(features, features[:, 0], np.ones(20))
    assert found.weights[0] > 0.8 and found.weights[1] == 0.0


def test_two_cases_give_their_mean() -> None:
    found = fit_line(np.array([[0.0], [1.0]]), np.array([1.0, 3.0]), np.array([1.0, 3.0]))
    assert found(np.array([[5.0]]))[0] == pytest.approx(2.5)
