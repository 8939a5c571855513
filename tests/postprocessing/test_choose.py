"""Choices among candidates that are worth nothing, or a known amount: what is reported has to be honest."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.postprocessing.choose import best, confirm, confirm_without, parts_of

CASES, CANDIDATES, PARTS = 50, 12, 5


def planted(seed: int, worth: float = 0.0, groups: int = CASES) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Gains of one structure's candidates: noise with a spread of 1, and the first is worth something."""
    rng = np.random.default_rng(seed)
    names = [f"g{case % groups}" for case in range(CASES)]
    noise = rng.normal(size=(1, CANDIDATES, groups))[:, :, np.arange(CASES) % groups]
    noise[0, 0] += worth
    return noise, np.arange(CASES) % groups % PARTS, names


def honest_gain(gains: np.ndarray, parts: np.ndarray, groups: list[str]) -> float:
    """Mean gain of each part by what the others decided."""
    without = confirm_without(gains, parts, groups)
    per_case = np.zeros(gains.shape[2])
    for part, chosen in without.items():
        for structure, candidate in chosen.items():
            per_case[parts == part] += gains[structure, candidate, parts == part]
    return float(per_case.mean())


def test_the_naive_choice_is_optimistic_by_a_known_amount_and_ours_is_not() -> None:
    runs = 200
    naive, ours, retained = [], [], 0
    for seed in range(runs):
        gains, parts, groups = planted(seed)
        naive.append(sum(gains[s, c].mean() for s, c in best(gains).items()))
        ours.append(honest_gain(gains, parts, groups))
        retained += bool(confirm(gains, groups).chosen)
    # The expected largest of 12 standard normal numbers is 1.629 (Harter, Biometrika 48, 1961).
    optimism = 1.629 / np.sqrt(CASES)
    assert np.mean(naive) == pytest.approx(optimism, abs=3 * np.std(naive) / np.sqrt(runs))
    error = np.std(ours) / np.sqrt(runs)
    assert abs(np.mean(ours)) < 3 * error + 1e-12 and 3 * error < optimism / 10
    assert retained <= 0.05 * runs


def test_what_is_worth_something_is_found_and_its_worth_reported() -> None:
    found, reported = 0, []
    for seed in range(40):
        gains, parts, groups = planted(1000 + seed, worth=1.0)
        found += confirm(gains, groups).chosen == {0: 0}
        reported.append(honest_gain(gains, parts, groups))
    assert found >= 39
    assert np.mean(reported) == pytest.approx(1.0, abs=3 * np.std(reported) / np.sqrt(40))


def test_a_group_is_one_observation() -> None:
    wrong = 0
    for seed in range(100):
        gains, _, groups = planted(seed, groups=10)
        wrong += bool(confirm(gains, groups).chosen)
    assert wrong <= 8


def test_too_few_cases_retain_nothing() -> None:
    gains = np.ones((1, 2, 4))
    assert not confirm(gains, list("abcd")).chosen
    assert confirm(np.ones((1, 2, 10)) + 0.01 * np.arange(10), list("abcdefghij")).chosen


def test_parts_are_folds_or_else_groups() -> None:
    assert parts_of([0, 1, 2, 0], list("abcd")).tolist() == [0, 1, 2, 0]
    dealt = parts_of([0] * 8, ["a", "a", "b", "b", "c", "d", "e", "f"])
    assert dealt[0] == dealt[1] and dealt[2] == dealt[3] and len(set(dealt)) == 5


def test_of_equals_the_first_and_nothing_where_nothing_helps() -> None:
    gains = np.array([[[0.1, 0.1], [0.1, 0.1]], [[0.0, 0.0], [-0.1, 0.05]]])
    assert best(gains) == {0: 0}
