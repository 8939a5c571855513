"""Intervals: coverage of new cases, groups, and too few of them."""

import math

import numpy as np
import pytest

from autoseg.trust.conformal import groups_needed, interval, rate_interval, upper_quantile
from autoseg.trust.regression import group_parts, group_weights


def test_a_level_needs_so_many_groups() -> None:
    assert [groups_needed(level) for level in (0.5, 0.8, 0.9, 0.95)] == [1, 4, 9, 19]


def test_with_too_few_groups_the_interval_is_infinite_and_with_enough_it_is_not() -> None:
    for count in (8, 9):
        low, high = interval(np.zeros(count), np.arange(count, dtype=float), np.ones(count))
        assert math.isinf(high) == math.isinf(low) == (count < 9)


def test_the_quantile_is_the_order_statistic_of_split_conformal() -> None:
    values = np.random.default_rng(0).normal(size=49)
    # ceil(0.9 * 50) = 45
    assert upper_quantile(values, np.ones(49), 0.9) == np.sort(values)[44]


def test_a_group_counts_once_however_many_cases_it_has() -> None:
    values = np.array([*range(19), *[100.0] * 50])
    groups = [*map(str, range(19)), *["large"] * 50]
    weights = group_weights(groups)
    assert weights.sum() == pytest.approx(20)
    assert upper_quantile(values, weights, 0.9) == 18
    assert upper_quantile(values, np.ones(69), 0.9) == 100


def test_new_cases_are_in_the_interval_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    hits = []
    for _ in range(400):
        misses, new = random.standard_t(3, 40), random.standard_t(3)
        low, high = interval(np.zeros(40), misses, np.ones(40))
        hits.append(low <= new <= high)
    # Of 400 draws at 0.9 all but one in 10^5 are in this range.
    assert 0.83 < np.mean(hits) < 0.96


def test_parts_never_divide_a_group() -> None:
    groups = ["a", "b", "a", "c", "b", "d"]
    parts = group_parts(groups, 3)
    assert parts == [0, 1, 0, 2, 1, 0]


def test_the_interval_of_a_rate() -> None:
    low, high = rate_interval(90, 100)
    assert (round(low, 3), round(high, 3)) == (0.824, 0.951)
    assert rate_interval(0, 0) == (0.0, 1.0)
