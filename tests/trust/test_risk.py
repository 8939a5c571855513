"""Risk-coverage curves, and the area under a ROC curve."""

import numpy as np
import pytest

from autoseg.trust.risk import aurc, auroc, risk_coverage


def test_the_curve_ends_at_the_mean_and_begins_at_the_surest() -> None:
    curve = risk_coverage([0.4, 0.1, 0.3], [1.0, 3.0, 2.0])
    assert curve == pytest.approx([0.1, 0.2, 0.8 / 3])


def test_equal_confidences_have_no_order() -> None:
    assert risk_coverage([0.0, 1.0], [1, 1]) == pytest.approx([0.5, 0.5])
    assert aurc([0.0, 1.0, 0.5], np.zeros(3)) == pytest.approx(0.5)


def test_no_order_is_better_than_that_of_the_risks() -> None:
    random = np.random.default_rng(0)
    risks = random.random(50)
    best = aurc(risks, -risks)
    assert all(aurc(risks, random.random(50)) > best for _ in range(20))


def test_auroc_counts_pairs() -> None:
    assert auroc([True, False, True, False], [3, 1, 2, 2]) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert np.isnan(auroc([True, True], [1, 2]))
