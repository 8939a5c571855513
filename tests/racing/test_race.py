"""Racing: who is dropped, who is not, and what that saves and costs on drawn learning curves."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.errors import UsageError
from autoseg.leaderboard.statistics import Floats
from autoseg.racing.paper import Trainers, draw_curves, look_at, paper_calculation
from autoseg.racing.race import Look, Race, Rules, Rung, Seen, Stretch, next_stretch, run_race
from autoseg.racing.state import RaceFile
from autoseg.racing.verdict import MARGIN, LookRules, Verdict, judge


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
    leader, verdicts = judge(now, now, LookRules(still=1))
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
    _, verdicts = judge(now, before, LookRules(still=2))
    assert not verdicts["riser"].drop and "catch up" in verdicts["riser"].reason
    assert verdicts["idler"].drop
    # At the end there is no time left to catch up in.
    assert judge(now, before, LookRules(still=0))[1]["riser"].drop


def test_few_cases_cannot_tell() -> None:
    now = {"best": scores(0.9, cases=7), "far": scores(0.2, cases=7, seed=1)}
    assert "7 cases are too few to decide" in judge(now)[1]["far"].reason


def test_groups_are_the_units() -> None:
    generator = np.random.default_rng(3)
    groups = [f"g{i // 20}" for i in range(100)]
    shift = np.repeat(generator.normal(0.03, 0.06, 5), 20)
    best = np.full(100, 0.8) + 0.001 * generator.standard_normal(100)
    now = {"best": best, "rival": best - np.abs(shift)}
    # A hundred cases seem to tell them apart; five groups do not.
    assert judge(now)[1]["rival"].drop
    assert not judge(now, look=LookRules(groups=groups))[1]["rival"].drop


@settings(max_examples=60, deadline=None)
@given(
    starters=st.integers(2, 9),
    stopped=st.integers(0, 8),
    run_s=st.floats(1, 1e6),
    runs=st.integers(1, 10),
    freed=st.sampled_from(["share", "save"]),
)
def test_the_time_of_all_is_never_exceeded(
    starters: int, stopped: int, run_s: float, runs: int, freed: Literal["share", "save"]
) -> None:
    stopped = min(stopped, starters - 1)
    names = [f"t{i}" for i in range(starters)]
    rules = Rules(freed=freed)
    first = next_stretch([], starters, run_s, rules, runs)
    assert first.until_s == pytest.approx(0.1 * run_s) and first.run_s == run_s
    seen = {name: Seen(np.zeros(1), 0.25 * run_s * runs) for name in names}
    verdicts = {name: Verdict(0, 0, 1, 0, i < stopped, "") for i, name in enumerate(names)}
    second = next_stretch([Rung(first, names[-1], verdicts, seen)], starters, run_s, rules, runs)
    going = starters - stopped
    spent = 0.25 * run_s * runs * stopped + second.run_s * runs * going
    assert spent <= starters * runs * run_s * (1 + 1e-9)
    if freed == "share":
        assert spent == pytest.approx(starters * runs * run_s)
    assert second.last == (going == 1)
    assert second.from_s == first.until_s <= second.until_s


def flat(means: dict[str, float]) -> Look:
    """Trainers that are at their end from the start."""
    return look_at(lambda name, _: scores(means[name], seed=ord(name)))


def test_freed_time_goes_to_the_rest_or_is_saved() -> None:
    means = {"a": 0.85, "b": 0.848, "c": 0.75, "d": 0.74}
    shared = run_race(list(means), flat(means), 1000.0)
    saved = run_race(list(means), flat(means), 1000.0, Rules(freed="save"))
    assert shared.winner == saved.winner == "a"
    assert set(shared.survivors) == {"a", "b"}
    assert shared.total == pytest.approx(4000.0)
    assert shared.spent["a"] > 1500 > 1000 > shared.spent["d"]
    assert saved.spent["a"] == pytest.approx(1000.0)
    assert saved.total < 2900


def test_the_tied_stop_only_where_asked_and_only_at_the_last_look() -> None:
    means = {"a": 0.85, "b": 0.849, "c": 0.848}
    assert len(run_race(list(means), flat(means), 1000.0).survivors) == 3
    race = run_race(list(means), flat(means), 1000.0, Rules(ties="stop", freed="save"))
    assert race.survivors == ("a",)
    *first, last, _ = race.rungs
    assert not any(verdict.drop for rung in first for verdict in rung.verdicts.values())
    assert last.verdicts["b"].tied and "ahead" in last.verdicts["b"].reason


def test_one_in_its_steep_part_is_not_judged_before_the_last_look() -> None:
    now = still(best=0.85, steep=0.40, near=0.75)
    _, verdicts = judge(now, look=LookRules(steep=0.8))
    assert not verdicts["steep"].drop and "steep part" in verdicts["steep"].reason
    assert verdicts["near"].drop
    race = run_race(["a", "b"], flat({"a": 0.85, "b": 0.3}), 1000.0)
    assert [rung.verdicts["b"].drop for rung in race.rungs[:3]] == [False, False, True]


def test_without_a_pace_nobody_stops_unless_blindly() -> None:
    means = {"a": 0.85, "b": 0.75}
    race = run_race(["a", "b"], flat(means), 1000.0)
    assert [rung.verdicts["b"].drop for rung in race.rungs[:2]] == [False, True]
    assert "pace" in race.rungs[0].verdicts["b"].reason
    assert run_race(["a", "b"], flat(means), 1000.0, Rules(blind=True)).rungs[0].verdicts["b"].drop


def test_one_that_breaks_off_leaves_the_race_to_the_others_and_its_time_counts(tmp_path: Path) -> None:
    def look(name: str, stretch: Stretch) -> Seen:
        if name == "b" and stretch.rung == 1:
            time.sleep(0.05)
            raise RuntimeError("no memory left")
        return flat({"a": 0.85, "b": 0.848})(name, stretch)

    race = run_race(["a", "b"], look, 1000.0)
    assert race.rungs[1].failed == {"b": "RuntimeError: no memory left"}
    assert race.winner == "a" and race.rungs[2].stretch.last
    assert race.spent["b"] == pytest.approx(race.rungs[0].seen["b"].spent_s + race.rungs[1].failed_s["b"])
    assert 0.05 <= race.rungs[1].failed_s["b"] < 5
    file = RaceFile.of(tmp_path, {"trainers": ["a", "b"]})
    file.save(race.rungs)
    assert Race(file.load()).total == pytest.approx(race.total)
    none = run_race(["b"], lambda *_: 1 / 0, 1000.0)  # type: ignore[arg-type, return-value]
    assert none.winner == "" and none.rungs[0].failed and none.rungs[0].stretch.last


def test_an_interrupted_race_goes_on_after_the_rungs_that_are_decided(tmp_path: Path) -> None:
    means = {"a": 0.85, "b": 0.848, "c": 0.75}
    whole = run_race(list(means), flat(means), 1000.0)
    asked: list[tuple[str, int]] = []

    def look(name: str, stretch: Stretch) -> Seen:
        asked.append((name, stretch.rung))
        return flat(means)(name, stretch)

    file = RaceFile.of(tmp_path, {"trainers": list(means)})
    assert file.load() == ()
    file.save(whole.rungs[:1])
    again = run_race(list(means), look, 1000.0, known=file.load(), report=file.save)
    assert asked[:4] == [("a", 1), ("b", 1), ("c", 1), ("a", 2)] and asked[-2:] == [("a", 3), ("b", 3)]
    assert again.spent == pytest.approx(whole.spent) and again.winner == whole.winner
    assert [rung.stretch for rung in file.load()] == [rung.stretch for rung in whole.rungs]
    assert [dict(rung.verdicts) for rung in file.load()] == [dict(rung.verdicts) for rung in whole.rungs]


@pytest.mark.parametrize("rungs", [(), (0.0, 0.5), (0.4, 0.2), (0.9,)])
def test_rungs_must_rise_and_leave_time_for_the_prediction(rungs: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="rungs"):
        Rules(rungs=rungs)


def test_equal_trainers_are_rarely_told_apart() -> None:
    kind = dataclasses.replace(Trainers(), spread=0.0, run=0.0, gain=0.0)
    dropped = 0
    for seed in range(40):
        curves = draw_curves(list("abcdef"), 40, 100.0, np.random.default_rng(seed), kind)
        dropped += len(run_race(list("abcdef"), look_at(curves.evidence), 100.0).survivors) < 6
    assert dropped <= 2  # 5 % of 40, and the margin on top


def test_a_race_finds_the_best_of_crossing_curves() -> None:
    """A slow starter that ends best is behind at the first look and must survive it."""
    ends = {"slow": 0.90, "fast": 0.85, "middle": 0.87, "hopeless": 0.55}
    gains = {"slow": 0.30, "fast": 0.0, "middle": 0.10, "hopeless": 0.10}

    def curve(name: str, seconds: float) -> Floats:
        left = ((seconds / 1000.0) ** -0.5 - 1) / (0.1**-0.5 - 1)
        return scores(ends[name] - gains[name] * left, seed=ord(name[0]))

    first = {name: curve(name, 200).mean() for name in ends}
    assert max(first, key=lambda name: first[name]) != "slow"
    race = run_race(list(ends), look_at(curve), 1000.0, Rules(freed="save"))
    assert race.winner == "slow"
    assert "hopeless" not in race.survivors


def test_on_paper_racing_halves_the_training_and_rarely_loses_the_best() -> None:
    found = paper_calculation(datasets=12, trainers=20, cases=30, seed=1)
    assert found.full_hours == 12 * 20 * 5 * 12
    assert 0.3 < found.saved < 0.8
    assert found.lost <= 1 / 12
    assert found.regret < MARGIN / 2
    assert 1 <= found.survivors < 15


def close_curves(name: str, seconds: float) -> Floats:
    """Seven trainers that no test tells apart."""
    return scores(0.8 + 0.001 * ord(name[0]) - 80 / (seconds + 100), seed=ord(name[0]), own=0.05)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 0.9), st.integers(3, 12), st.integers(1, 3))
def test_a_race_keeps_to_its_cap_even_where_all_are_tied(cap: float, trainers: int, runs: int) -> None:
    names = [chr(ord("a") + number) for number in range(trainers)]

    def look(name: str, stretch: Stretch) -> Seen:
        until_s = min(stretch.until_s, stretch.run_s)
        # A run's time holds its last prediction; a look comes on top.
        looking = 0.0 if stretch.last else 4.0
        return Seen(close_curves(name, until_s), runs * (until_s - stretch.from_s + looking))

    rules = Rules(rungs=(0.1, 0.3), freed="save", cap=cap)
    race = run_race(names, look, 200.0, rules, runs=runs)
    whole = trainers * runs * 200.0
    # Whatever the cap: a look at everybody, a second one at two, and one run to its end.
    least = runs * (trainers * 24.0 + 2 * 44.0 + 140.0)
    assert race.total <= max(cap * whole, least) + 1e-6
    assert race.winner in race.survivors
    first = race.rungs[0]
    kept = [first.verdicts[name].behind for name in first.kept]
    late = [each.behind for each in first.verdicts.values() if each.capped and each.drop]
    assert not late or (max(kept) <= min(late) and len(kept) >= 2)


def crossing(name: str, seconds: float) -> Floats:
    """One starts low and ends best; the rest lies far below."""
    means = {
        "early": 0.7 + 0.0004 * seconds,
        "late": 0.25 + 0.3 * np.log(seconds / 20),
        "low": 0.1,
        "lower": 0.05,
    }
    return scores(means[name], seed=len(name), own=0.02)


def test_time_that_a_cap_leaves_after_a_blind_look_is_spent_on_the_least_behind() -> None:
    rules = Rules(rungs=(0.15, 0.4), freed="save", steep=0.0, blind=True, ties="stop")
    names = ["early", "late", "low", "lower"]
    thrifty = run_race(names, look_at(crossing), 200.0, rules)
    assert thrifty.rungs[0].kept == ("early",)  # the test is sure
    saved = run_race(names, look_at(crossing), 200.0, dataclasses.replace(rules, cap=0.45))
    assert saved.rungs[0].kept == ("early",)
    race = run_race(names, look_at(crossing), 200.0, dataclasses.replace(rules, cap=0.45, spend=True))
    first, second, _ = race.rungs
    assert first.kept == ("early", "late")
    assert first.verdicts["late"].capped
    assert not first.verdicts["early"].capped
    assert "for there is time" in first.verdicts["late"].reason
    # One of the two has time; it is who is expected to end ahead, not who leads.
    assert second.leader == "early"
    assert second.kept == ("late",)
    assert second.verdicts["early"].capped
    assert race.winner == "late"
    assert race.total <= 0.45 * 4 * 200.0


def test_the_reference_goes_to_the_second_look_and_no_further_for_that() -> None:
    means = {"a": 0.85, "b": 0.75, "r": 0.5, "d": 0.4}
    rules = Rules(rungs=(0.15, 0.4), freed="save", steep=0.0, blind=True, reference="r")
    free = run_race(list(means), flat(means), 200.0, rules)
    assert free.rungs[0].kept == ("a", "r")
    assert "compared with it" in free.rungs[0].verdicts["r"].reason
    assert free.rungs[1].kept == ("a",)
    # With a cap it has the place of a second one, and who is better the third if there is time.
    for cap, kept in ((0.36, ("a", "r")), (0.5, ("a", "b", "r"))):
        own = dataclasses.replace(rules, cap=cap, spend=True)
        capped = run_race(list(means), flat(means), 200.0, own)
        assert capped.rungs[0].kept == kept
        assert capped.winner == "a"
    absent = run_race(["a", "b"], flat(means), 200.0, rules)
    assert absent.rungs[0].kept == ("a",)


def test_looks_at_some_cases_and_the_end_at_all() -> None:
    def look(name: str, stretch: Stretch) -> Seen:
        seen = flat({"a": 0.85, "b": 0.848, "c": 0.5})(name, stretch)
        several = ("one", "one", *map(str, range(38)))
        if stretch.last:
            return Seen(seen.scores, seen.spent_s, several)
        return Seen(seen.scores[::4], seen.spent_s)

    race = run_race(["a", "b", "c"], look, 200.0, Rules(freed="save", look_cases=10))
    assert [len(rung.seen["a"].scores) for rung in race.rungs] == [10, 10, 10, 40]
    assert race.survivors == ("a", "b")
    with pytest.raises(UsageError, match="at least 8"):
        Rules(look_cases=5)


def test_without_a_cap_ties_go_on_and_with_a_wide_one_too() -> None:
    names = ["a", "b", "c"]
    free = run_race(names, look_at(close_curves), 200.0, Rules(freed="save"))
    wide = run_race(names, look_at(close_curves), 200.0, Rules(freed="save", cap=1.0))
    assert free.survivors == wide.survivors == tuple(names)
    with pytest.raises(UsageError, match="freed: save"):
        Rules(cap=0.4)
