"""Minutes in both dimensions, where the rules leave it open."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from autoseg.data.folds import Fold
from autoseg.pipeline import pilot
from autoseg.planner.budget import Shape
from autoseg.planner.dimension import DimensionChoice
from autoseg.planner.plan import Decision
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant
from autoseg.workspace import Workspace

FOLDS = tuple(Fold(n, (f"t{n}",), (f"v{n}",)) for n in range(5))
REQUEST = Request(torch.device("cpu"), run_s=1000.0)
RULES = DimensionChoice(Decision("dimension", "3d_fullres", "a rule", {"slices": 9}, "us"), (), "in doubt")
BOTH = ("3d_fullres", "2d")


def test_a_pilot_takes_a_tenth_of_the_time_or_does_not_happen() -> None:
    assert pilot.pilot_seconds(None) is None
    assert pilot.pilot_seconds(600.0) is None, "30 s each tell nothing"
    assert pilot.pilot_seconds(3600.0) == pytest.approx((60, 120))
    assert pilot.pilot_seconds(100 * 3600.0) == pytest.approx((300, 600))


def test_reported_cases_do_not_decide_where_there_are_others() -> None:
    assert pilot.pilot_fold(FOLDS, FOLDS[:1]).index == 4
    assert pilot.pilot_fold(FOLDS, FOLDS[4:]).index == 3
    assert pilot.pilot_fold(FOLDS, FOLDS).index == 4


def _record(dice: Any, status: str = "ok") -> Any:
    return SimpleNamespace(status=status, scores=SimpleNamespace(case_scores=lambda _: np.asarray(dice)))


@pytest.mark.parametrize(
    ("gains", "status", "expected"),
    [
        ((0.1, 0.1), "ok", "2d"),
        ((0.05, 0.1), "ok", "2d"),
        ((0.1, 0.098), "ok", "2d"),  # catching up, but too slowly for the time there is
        ((0.1, 0.05), "ok", "3d_fullres"),
        ((-0.1, -0.1), "ok", "3d_fullres"),
        ((-0.1, -0.01), "ok", "3d_fullres"),  # by its trend 2D would lead one day, and does not yet
        ((0.0, 0.0), "ok", "3d_fullres"),
        ((0.1, 0.1), "failed", "3d_fullres"),
    ],
)
def test_only_what_is_told_apart_and_not_caught_up_with_overturns_the_rules(
    gains: tuple[float, float], status: str, expected: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    volumes = random.uniform(0.6, 0.8, 20)
    # The mean is as told to the digit, whatever the noise.
    noise = random.normal(0, 0.02, 20)
    slices = [volumes + gain + noise - noise.mean() for gain in gains]
    dice = {("3d_fullres", n): volumes for n in (0, 1)} | {("2d", n): slices[n] for n in (0, 1)}
    trained: list[Any] = []

    def run(trial: Any, place: Workspace, _: Any) -> Any:
        length = (40.0, 80.0).index(trial.request.run_s)
        trained.append((trial.request.configuration, length, place.results))
        return _record(dice[trial.request.configuration, length], status)

    prepared: Any = SimpleNamespace(
        dataset=SimpleNamespace(name="Dataset001_Small"), fingerprint=None, folds=FOLDS
    )
    workspace = Workspace.locate(tmp_path)
    about = (FOLDS[4], REQUEST, (40.0, 80.0), workspace, None, run)
    found = pilot.race_dimensions(prepared, RULES, BOTH, *about)
    assert found.value == expected
    assert found.inputs["slices"] == 9
    assert found.inputs["fold"] == 4
    assert [each[:2] for each in trained] == [(name, length) for length in (0, 1) for name in BOTH]
    assert all(workspace.results not in place.parents for *_, place in trained), "no rows of a leaderboard"


def test_a_lead_goes_on_changing_with_each_doubling() -> None:
    assert pilot.lead_after((0.064, 0.035), (1.0, 2.0), 8.0) == pytest.approx(0.035 - 2 * 0.029)
    assert pilot.lead_after((0.02, 0.02), (40.0, 80.0), 2000.0) == pytest.approx(0.02)
    assert pilot.lead_after((0.02, 0.01), (40.0, 80.0), 80.0) == pytest.approx(0.01)


def test_what_a_pilot_found_is_planned_and_its_time_is_taken_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = Decision("dimension", "2d", "2d in place of 3d_fullres", {}, "a pilot")
    monkeypatch.setattr(pilot, "dimension_of", lambda *_: _in_doubt())
    monkeypatch.setattr(pilot, "race_dimensions", lambda *_: found)
    monkeypatch.setattr(pilot, "objection", lambda *_: None)
    prepared: Any = SimpleNamespace(plan=None, fingerprint=None, folds=FOLDS)
    asked = (prepared, FOLDS[:1], (Choice("nnunet"),), REQUEST, 4000.0, Workspace.locate(tmp_path))
    assert pilot.with_pilot(*asked) == dataclasses.replace(REQUEST, dimension=found, run_s=900.0)
    own = (prepared, FOLDS[:1], (Choice("brainunet"),), *asked[3:])
    assert pilot.with_pilot(*own) is REQUEST, "a documented system has its own dimension"
    sure = SimpleNamespace(contenders=("3d_cascade_fullres", "3d_fullres"))
    monkeypatch.setattr(pilot, "dimension_of", lambda *_: sure)
    assert pilot.with_pilot(*asked) is REQUEST, "of a cascade full resolution is trained"
    named = dataclasses.replace(REQUEST, configuration="2d")
    assert pilot.with_pilot(*asked[:3], named, *asked[4:]) is named


@pytest.mark.parametrize(
    ("steps", "changed", "reason"),
    [
        (400, {}, None),
        (399, {}, "2d would make 399 steps in 120 s; 400 are needed at least"),
        (900, {"coarsening": 1.5}, "coarser grid"),
        (900, {"patch_share": 0.25}, "smaller patch"),
    ],
)
def test_a_pilot_too_short_to_tell_does_not_happen(
    steps: int, changed: dict[str, float], reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = dataclasses.asdict(Shape(2, 8, 1.0))

    def plan_for(variant: Variant, _: Workspace) -> Any:
        short = variant.request.configuration == "2d"
        value, inputs = {**shape, **(changed if short else {})}, {"predicted_steps": steps if short else 2000}
        return SimpleNamespace(decisions=(Decision("budget", value, "", inputs, "us"),))

    monkeypatch.setattr(pilot, "plan_for", plan_for)
    prepared: Any = SimpleNamespace(dataset=None, fingerprint=None)
    request = dataclasses.replace(REQUEST, run_s=120.0)
    found = pilot.objection(prepared, BOTH, request, Workspace.locate(tmp_path))
    assert found is None if reason is None else reason in str(found)


def test_a_walk_whose_pilot_would_tell_nothing_goes_on_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pilot, "dimension_of", lambda *_: _in_doubt())
    monkeypatch.setattr(pilot, "race_dimensions", lambda *_: pytest.fail("it raced"))
    monkeypatch.setattr(pilot, "objection", lambda *_: "too short")
    prepared: Any = SimpleNamespace(plan=None, fingerprint=None, folds=FOLDS)
    asked = (prepared, FOLDS[:1], (Choice("nnunet"),), REQUEST, 4000.0, Workspace.locate(tmp_path))
    with caplog.at_level("INFO"):
        assert pilot.with_pilot(*asked) is REQUEST
    assert "no pilot is run: too short" in caplog.text


def _in_doubt() -> Any:
    return SimpleNamespace(contenders=BOTH, decision=RULES.decision)


@pytest.mark.parametrize(
    ("trainer", "configuration", "confidence", "said"),
    [
        ("nnunet", "auto", "in doubt", True),
        ("nnunet", "auto", "clear", False),
        ("nnunet", "2d", "in doubt", False),
        ("brainunet", "auto", "in doubt", False),
    ],
)
def test_a_doubt_between_2d_and_3d_is_said_to_whoever_follows_the_data(
    trainer: str,
    configuration: str,
    confidence: Any,
    said: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = dataclasses.replace(RULES, confidence=confidence)
    monkeypatch.setattr(pilot, "dimension_of", lambda *_: found)
    prepared: Any = SimpleNamespace(plan=None, fingerprint=None)
    request = dataclasses.replace(REQUEST, configuration=configuration)
    with caplog.at_level("INFO", logger="autoseg"):
        pilot.say_doubt(prepared, (Choice(trainer),), request)
    assert ("is trained, but in doubt" in caplog.text) is said
