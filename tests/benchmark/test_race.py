"""Racing: who is dropped, who is not, and what that saves and costs on drawn learning curves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.benchmark.race import MARGIN, judge, run_race, slice_seconds
from autoseg.benchmark.race_paper import Trainers, draw_curves, paper_calculation
from autoseg.statistics import Floats


def scores(mean: float, cases: int = 40, seed: int = 0, own: float = 0.02) -> Floats:
    """Dice per case: a difficulty that all share, and noise of this trainer with exactly mean zero."""
    difficulty = 0.1 * np.random.default_rng(99).standard_normal(cases)
    noise = own * np.random.default_rng(seed).standard_normal(cases)
    return mean + difficulty + noise - noise.mean()


def still(**means: float) -> dict[str, Floats]:
    """Scores of trainers by their mean."""
    return {name: scores(mean, seed=i) for i, (name, mean) in enumerate(means.items())}


def test_only_what_is_clearly_behind_is_dropped() -> None:
    now = still(best=0.85, close=0.848, within=0.843, behind=0.80, far=0.50)
    leader, verdicts = judge(now, now, still=1)
    assert leader == "best"
    assert [name for name, verdict in verdicts.items() if verdict.drop] == ["behind", "far"]
    assert verdicts["behind"].behind == pytest.approx(0.05)
    assert 0 < verdicts["behind"].at_least < 0.05
    assert "not clearly behind" in verdicts["within"].reason


def test_the_leader_is_never_dropped_and_a_lone_trainer_leads() -> None:
    assert judge(still(only=0.3))[1]["only"].drop is False
    leader, verdicts = judge(still(a=0.2, b=0.9))
    assert leader == "b" and not verdicts["b"].drop


def test_one_that_is_catching_up_is_kept_and_one_that_is_not_is_dropped() -> None:
    before = still(best=0.80, riser=0.60, idler=0.70)
    now = still(best=0.82, riser=0.72, idler=0.72)
    _, verdicts = judge(now, before, still=2)
    assert not verdicts["riser"].drop and "catch up" in verdicts["riser"].reason
    assert verdicts["idler"].drop
    # At the end there is no time left to catch up in.
    assert judge(now, before, still=0)[1]["riser"].drop


def test_at_the_first_look_nobody_is_dropped_while_there_is_time() -> None:
    now = still(best=0.85, far=0.2)
    assert not judge(now, still=3)[1]["far"].drop
    assert judge(now, still=0)[1]["far"].drop


def test_few_cases_cannot_tell() -> None:
    now = {"best": scores(0.9, cases=7), "far": scores(0.2, cases=7, seed=1)}
    assert "7 cases cannot tell" in judge(now)[1]["far"].reason


def test_groups_are_the_units() -> None:
    generator = np.random.default_rng(3)
    groups = [f"g{i // 20}" for i in range(100)]
    shift = np.repeat(generator.normal(0.03, 0.06, 5), 20)
    best = np.full(100, 0.8) + 0.001 * generator.standard_normal(100)
    now = {"best": best, "rival": best - np.abs(shift)}
    # A hundred cases seem to tell them apart; five groups do not.
    assert judge(now)[1]["rival"].drop
    assert not judge(now, groups=groups)[1]["rival"].drop


@settings(max_examples=60, deadline=None)
@given(left=st.floats(1, 1e6), racing=st.integers(1, 30), rungs=st.integers(1, 8), eta=st.floats(1.0, 4.0))
def test_slices_add_up_to_what_there_is(left: float, racing: int, rungs: int, eta: float) -> None:
    total, rest = 0.0, left
    for rung in range(rungs):
        step = slice_seconds(rest, racing, rungs - rung, eta)
        rest -= step * racing
        total += step * racing
    assert total == pytest.approx(left)
    assert rest == pytest.approx(0, abs=1e-6 * left)


def test_freed_time_goes_to_the_rest_or_is_saved() -> None:
    means = {"a": 0.85, "b": 0.848, "c": 0.5, "d": 0.4}

    def flat(name: str, _: float) -> Floats:
        return scores(means[name], seed=ord(name))

    shared = run_race(list(means), flat, 4000.0)
    saved = run_race(list(means), flat, 4000.0, redistribute=False)
    assert shared.winner == saved.winner == "a"
    assert set(shared.survivors) == {"a", "b"}
    assert shared.total == pytest.approx(4000.0)
    assert shared.spent["a"] > 1500 > 1000 > shared.spent["d"]
    assert saved.spent["a"] == pytest.approx(1000.0)
    assert saved.total < 2600
    assert shared.spent["c"] == saved.spent["c"] < 1000


def test_equal_trainers_are_rarely_told_apart() -> None:
    kind = dataclasses.replace(Trainers(), spread=0.0, run=0.0, gain=0.0)
    dropped = 0
    for seed in range(40):
        curves = draw_curves(list("abcdef"), 40, 100.0, np.random.default_rng(seed), kind)
        dropped += len(run_race(list("abcdef"), curves.evidence, 600.0).survivors) < 6
    assert dropped <= 2  # 5 % of 40, and the margin on top


def test_a_race_finds_the_best_of_crossing_curves() -> None:
    """A slow starter that ends best is behind at the first look and must survive it."""
    ends = {"slow": 0.90, "fast": 0.85, "middle": 0.87, "hopeless": 0.55}
    gains = {"slow": 0.30, "fast": 0.0, "middle": 0.10, "hopeless": 0.10}

    def curve(name: str, seconds: float) -> Floats:
        return scores(ends[name] - gains[name] * (1 - seconds / 1000.0), seed=ord(name[0]))

    first = {name: curve(name, 1000 / 15).mean() for name in ends}
    assert max(first, key=lambda name: first[name]) != "slow"
    race = run_race(list(ends), curve, 4000.0, redistribute=False)
    assert race.winner == "slow"
    assert "hopeless" not in race.survivors


def test_on_paper_racing_halves_the_training_and_rarely_loses_the_best() -> None:
    found = paper_calculation(datasets=12, trainers=20, cases=30, seed=1)
    assert found.full_hours == 12 * 20 * 5 * 12
    assert 0.3 < found.saved < 0.8
    assert found.lost <= 1 / 12
    assert found.regret < MARGIN / 2
    assert 1 <= found.survivors < 15
