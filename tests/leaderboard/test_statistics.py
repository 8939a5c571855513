"""The statistics against scipy, theory and simulation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from autoseg.leaderboard import resamples, statistics
from autoseg.leaderboard.ranking.stability import (
    mean_then_rank,
    rank_stability,
    rank_then_mean,
    tied_with_best,
)


def _scores(seed: int, models: int, cases: int, gap: float = 0.0) -> np.ndarray:
    """Skewed like Dice: most cases good, a tail of bad ones; each model `gap` below the one before."""
    generator = np.random.default_rng(seed)
    difficulty = generator.beta(1.5, 8, cases)
    return 1 - difficulty + generator.normal(0, 0.02, (models, cases)) - gap * np.arange(models)[:, None]


# --- the signed-rank test ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cases", [5, 9, 13, 14, 30, 50, 51, 200])
@pytest.mark.parametrize("kind", ["plain", "zeros", "ties", "zeros and ties"])
def test_wilcoxon_is_scipys_choice_row_by_row(cases: int, kind: str) -> None:
    generator = np.random.default_rng(cases)
    rows = generator.normal(0.2, 1, (2 if cases < 14 else 6, cases))  # scipy's sign changes take seconds
    if "ties" in kind:
        rows = np.round(rows, 1) + 0.05
    if "zeros" in kind:
        rows[:, : max(1, cases // 5)] = 0.0
    expected = [stats.wilcoxon(row, zero_method="pratt").pvalue for row in rows]
    np.testing.assert_allclose(statistics.wilcoxon(rows), expected, atol=1e-12)


def test_wilcoxon_mixes_exact_and_approximate_rows() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(3, 20))
    rows[1, :4] = 0.0
    rows[2, 5] = rows[2, 6]
    expected = [stats.wilcoxon(row, zero_method="pratt").pvalue for row in rows]
    np.testing.assert_allclose(statistics.wilcoxon(rows), expected, atol=1e-12)


def test_differences_in_the_last_bits_are_no_differences() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-16, (1, 40))
    assert statistics.wilcoxon(noise)[0] == 1.0


def test_five_folds_alone_cannot_be_significant() -> None:
    assert statistics.wilcoxon(np.arange(1.0, 6.0)[None])[0] == pytest.approx(0.0625)


# --- Holm -------------------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    adjusted = statistics.holm(np.array([0.04, 0.01, 0.03]))
    np.testing.assert_allclose(adjusted, [0.06, 0.03, 0.06])


@given(arrays.arrays(float, st.integers(1, 30), elements=st.floats(0, 1)))
def test_holm_keeps_order_and_lies_between_raw_and_bonferroni(p: np.ndarray) -> None:
    adjusted = statistics.holm(p)
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * len(p)) + 1e-12).all()


# --- resampling and intervals -----------------------------------------------------------------------------


def test_resampling_draws_whole_groups_and_repeats_itself() -> None:
    groups = ["a", "a", "b", "c", "c", "c"]
    weights = np.asarray(statistics.resample(6, groups, 500, seed=3))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, 3], weights[:, 5])
    assert (weights[:, 2] == 0).any()
    np.testing.assert_array_equal(weights, statistics.resample(6, groups, 500, seed=3))


def test_draws_and_means_in_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """As numpy draws them at once: parts follow each other in the generator's stream."""
    groups = [f"p{i // 2:02}" for i in range(30)]
    drawn = np.random.default_rng(5).integers(0, 15, size=(100, 15), dtype=np.int32)
    counts = np.stack([np.bincount(row, minlength=15) for row in drawn])
    expected = np.repeat(counts, 2, axis=1) / 30
    scores = np.random.default_rng(1).normal(size=(3, 30))
    for at_once in (1, 7 * 30, 10**6):
        monkeypatch.setattr(resamples, "_AT_ONCE", at_once)
        found = statistics.resample(30, groups, 100, seed=5)
        np.testing.assert_array_equal(np.asarray(found), expected)
        np.testing.assert_allclose(found.means(scores), scores @ expected.T, atol=1e-13)


def test_a_case_more_takes_a_byte_a_resample() -> None:
    """Ten thousand cases and resamples: 800 MB as numbers of double precision, 100 MB as counts."""
    assert statistics.resample(300, n_resamples=1000).counts.nbytes == 300 * 1000


def test_mean_interval_agrees_with_scipys_bca() -> None:
    scores = _scores(1, 3, 80)
    found = statistics.mean_intervals(scores, statistics.resample(80, seed=1))
    for values, interval in zip(scores, found, strict=True):
        expected = stats.bootstrap((values,), np.mean, n_resamples=9999, rng=2).confidence_interval
        width = expected.high - expected.low
        assert interval.low == pytest.approx(expected.low, abs=0.05 * width)
        assert interval.high == pytest.approx(expected.high, abs=0.05 * width)


@settings(deadline=None, max_examples=40)
@given(arrays.arrays(float, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=st.floats(0, 1)))
def test_intervals_stay_within_the_scores(scores: np.ndarray) -> None:
    weights = statistics.resample(scores.shape[1], n_resamples=200)
    for values, interval in zip(scores, statistics.mean_intervals(scores, weights), strict=True):
        assert values.min() - 1e-6 <= interval.low <= interval.high <= values.max() + 1e-6


def test_grouped_intervals_are_wider_where_groups_are_alike() -> None:
    generator = np.random.default_rng(0)
    scores = np.repeat(generator.normal(size=(1, 20)), 5, axis=1)
    groups = [f"person {i // 5}" for i in range(100)]
    alone = statistics.mean_intervals(scores, statistics.resample(100))[0]
    whole = statistics.mean_intervals(scores, statistics.resample(100, groups), groups)[0]
    assert whole.high - whole.low > 1.8 * (alone.high - alone.low)


# --- pairs ------------------------------------------------------------------------------------------------


def test_identical_models_tie() -> None:
    scores = np.repeat(_scores(0, 1, 40), 3, axis=0)
    pairs = statistics.compare_pairs(scores, statistics.resample(40))
    assert [(pair.p, pair.p_holm, pair.mean, pair.lean) for pair in pairs] == [(1.0, 1.0, 0.0, 0)] * 3
    assert all(pair.equivalent(0.001) and not pair.significant for pair in pairs)
    order = mean_then_rank(scores)
    assert tied_with_best(order, pairs) == [True] * 3
    stability = rank_stability(scores, statistics.resample(40))
    assert stability.p_best == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("units", "pairs", "testable"),
    [(8, 15, False), (8, 6, True), (10, 15, True), (5, 1, False), (6, 1, True)],
)
def test_so_few_units_can_tell_so_many_pairs_apart(units: int, pairs: int, testable: bool) -> None:
    """The least p is 2^(1 - n), and the first of Holm's is multiplied by the number of pairs."""
    assert statistics.can_be_tested(units, pairs) is testable


def test_where_nothing_can_be_tested_the_interval_says_who_is_tied() -> None:
    scores = _scores(0, 3, 5)
    scores[1], scores[2] = (
        scores[0] - 0.3 + np.linspace(0, 0.01, 5),
        scores[0] + [0.02, -0.03, 0, 0.01, -0.01],
    )
    pairs = statistics.compare_pairs(scores, statistics.resample(5))
    assert not any(pair.significant for pair in pairs)
    assert [pair.apart for pair in pairs] == [True, False, True]
    order = mean_then_rank(scores)
    assert tied_with_best(order, pairs, 5) == [True, False, True]
    assert tied_with_best(order, pairs) == [True, True, True], "by the test alone nobody is behind"
    assert tied_with_best(order, pairs, 1) == [True, True, True], "one case tells nobody apart"


def test_pairs_are_first_minus_second() -> None:
    scores = _scores(0, 2, 60, gap=0.05)
    (pair,) = statistics.compare_pairs(scores, statistics.resample(60))
    assert pair.mean == pytest.approx((scores[0] - scores[1]).mean())
    assert pair.interval.low < pair.mean < pair.interval.high
    assert pair.significant and pair.lean == 1 and not pair.equivalent(0.01)


def test_groups_are_the_tests_unit() -> None:
    scores = np.repeat(_scores(5, 2, 12), 10, axis=1)
    groups = [f"person {i // 10}" for i in range(120)]
    (pair,) = statistics.compare_pairs(scores, statistics.resample(120, groups), groups)
    means = scores.reshape(2, 12, 10).mean(axis=2)
    assert pair.p == pytest.approx(stats.wilcoxon(means[0] - means[1], zero_method="pratt").pvalue)


def test_many_pairs_come_in_blocks_without_a_seam() -> None:
    scores = _scores(7, 30, 25, gap=0.001)
    weights = statistics.resample(25, n_resamples=300)
    pairs = statistics.compare_pairs(scores, weights)
    assert len(pairs) == 435 > statistics.BLOCK
    for pair in (pairs[0], pairs[255], pairs[256], pairs[-1]):
        alone = statistics.compare_pairs(scores[[pair.a, pair.b]], weights)[0]
        assert (pair.mean, pair.p) == pytest.approx((alone.mean, alone.p))
        assert (pair.interval.low, pair.interval.high) == pytest.approx(
            (alone.interval.low, alone.interval.high), abs=1e-7
        )


# --- ranks and stability ----------------------------------------------------------------------------------


def test_the_two_rankings_can_disagree() -> None:
    # The first is ahead in nine cases of ten and lost in one.
    scores = np.array([[0.9] * 9 + [0.0], [0.85] * 10])
    assert mean_then_rank(scores).tolist() == [2.0, 1.0]
    assert rank_then_mean(scores).tolist() == pytest.approx([1.1, 1.9])


def test_the_order_of_the_models_does_not_matter() -> None:
    scores = _scores(3, 5, 40, gap=0.003)
    weights = statistics.resample(40, n_resamples=500)
    shuffled = [3, 0, 4, 1, 2]
    one, other = (rank_stability(x, weights) for x in (scores, scores[shuffled]))
    assert [one.p_best[i] for i in shuffled] == pytest.approx(other.p_best)
    assert one.kendall_tau == pytest.approx(other.kendall_tau)


def test_kendall_tau_agrees_with_scipy() -> None:
    scores = _scores(4, 6, 30, gap=0.004)
    weights = statistics.resample(30, n_resamples=50)
    drawn = [row @ scores.T for row in np.asarray(weights)]
    expected = [stats.kendalltau(means, scores.mean(axis=1)).statistic for means in drawn]
    assert rank_stability(scores, weights).kendall_tau == pytest.approx(np.mean(expected))


def test_a_clear_order_is_stable_and_an_even_field_is_not() -> None:
    weights = statistics.resample(60)
    clear = rank_stability(_scores(0, 4, 60, gap=0.1), weights)
    assert clear.p_best[0] == 1.0 and clear.kendall_tau == 1.0
    assert [(item.low, item.high) for item in clear.rank_interval] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    even = rank_stability(_scores(0, 4, 60), weights)
    assert even.kendall_tau < 0.9 and max(even.p_best) < 0.99


def test_stability_of_seven_models_and_sixty_cases_is_quick() -> None:
    scores = _scores(0, 7, 60, gap=0.002)
    rank_stability(scores, statistics.resample(60, n_resamples=10))  # imports
    start = time.process_time()
    rank_stability(scores, statistics.resample(60))
    assert time.process_time() - start < 1.0


# --- simulations ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_type_one_error_is_five_per_cent_for_cases_and_for_groups() -> None:
    generator = np.random.default_rng(0)
    n, runs = 40, 4000
    plain = statistics.wilcoxon(generator.normal(size=(runs, n)))
    assert (plain < 0.05).mean() == pytest.approx(0.05, abs=0.012)
    # Three images of each person with an effect of the person: pooled as cases, the test errs.
    person = generator.normal(size=(runs, n, 1)) + 0.3 * generator.normal(size=(runs, n, 3))
    assert (statistics.wilcoxon(person.mean(axis=2)) < 0.05).mean() == pytest.approx(0.05, abs=0.012)
    assert (statistics.wilcoxon(person.reshape(runs, -1)) < 0.05).mean() > 0.2


@pytest.mark.slow
def test_holm_keeps_the_family_wise_error() -> None:
    generator = np.random.default_rng(1)
    weights = statistics.resample(40, n_resamples=50)
    wrong = [
        any(pair.significant for pair in statistics.compare_pairs(generator.normal(size=(5, 40)), weights))
        for _ in range(400)
    ]
    assert np.mean(wrong) < 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.slow
def test_power_is_what_theory_gives() -> None:
    """Normal differences: the Wilcoxon test has 3/pi of the t test's efficiency."""
    generator = np.random.default_rng(2)
    n, effect, runs = 60, 0.4, 4000
    found = (statistics.wilcoxon(generator.normal(effect, 1, (runs, n))) < 0.05).mean()
    noncentral = effect * np.sqrt(n * 3 / np.pi)
    critical = stats.t.ppf(0.975, n - 1)
    expected = 1 - stats.nct.cdf(critical, n - 1, noncentral)
    assert found == pytest.approx(expected, abs=0.03)


@pytest.mark.slow
def test_coverage_holds_with_many_cases_and_fails_with_few() -> None:
    generator = np.random.default_rng(3)
    truth = 1 - 0.12 / (0.12 + 1.1)

    def coverage(cases: int, runs: int = 600) -> float:
        scores = 1 - generator.beta(0.12, 1.1, (runs, cases))
        found = statistics.mean_intervals(scores, statistics.resample(cases, n_resamples=2000))
        return float(np.mean([item.low <= truth <= item.high for item in found]))

    assert coverage(200) > 0.91
    assert coverage(15) < 0.90  # why few cases bring a warning
