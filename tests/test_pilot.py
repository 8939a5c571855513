"""Minutes in both dimensions, where the rules leave it open."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from autoseg import pilot
from autoseg.choice import Choice, Request
from autoseg.fingerprint import Fingerprint
from autoseg.folds import Fold
from autoseg.plan import Decision
from autoseg.planner import plan_experiment
from autoseg.planner.dimension import DimensionChoice
from autoseg.planner.networks import Hardware
from autoseg.workspace import Workspace

REFERENCE = Path(__file__).parents[1] / "plans" / "reference"
FOLDS = tuple(Fold(n, (f"t{n}",), (f"v{n}",)) for n in range(5))
REQUEST = Request(torch.device("cpu"), run_seconds=1000.0)
RULES = DimensionChoice(Decision("dimension", "3d_fullres", "a rule", {"slices": 9}, "us"), (), "in doubt")
BOTH = ("3d_fullres", "2d")


def test_a_pilot_takes_a_tenth_of_the_time_or_does_not_happen() -> None:
    assert pilot.pilot_seconds(None) is None
    assert pilot.pilot_seconds(600.0) is None, "30 s each tell nothing"
    assert pilot.pilot_seconds(3600.0) == 180.0
    assert pilot.pilot_seconds(100 * 3600.0) == 900.0


def test_reported_cases_do_not_decide_where_there_are_others() -> None:
    assert pilot.pilot_fold(FOLDS, FOLDS[:1]).index == 4
    assert pilot.pilot_fold(FOLDS, FOLDS[4:]).index == 3
    assert pilot.pilot_fold(FOLDS, FOLDS).index == 4


def _record(dice: Any, status: str = "ok") -> Any:
    return SimpleNamespace(status=status, scores=SimpleNamespace(case_scores=lambda _: np.asarray(dice)))


@pytest.mark.parametrize(
    ("gain", "status", "expected"),
    [(0.1, "ok", "2d"), (-0.1, "ok", "3d_fullres"), (0.0, "ok", "3d_fullres"), (0.1, "failed", "3d_fullres")],
)
def test_only_what_is_told_apart_overturns_the_rules(
    gain: float, status: str, expected: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    dice = {"3d_fullres": random.uniform(0.6, 0.8, 20)}
    dice["2d"] = dice["3d_fullres"] + gain + random.normal(0, 0.02, 20)
    trained: list[Any] = []

    def run(cell: Any, place: Workspace, _: Any) -> Any:
        trained.append((cell.request.configuration, cell.request.run_seconds, place.results))
        return _record(dice[cell.request.configuration], status)

    prepared: Any = SimpleNamespace(
        dataset=SimpleNamespace(name="Dataset001_Small"), fingerprint=None, folds=FOLDS
    )
    workspace = Workspace.locate(tmp_path)
    found = pilot.race_dimensions(prepared, RULES, BOTH, FOLDS[4], REQUEST, workspace, None, run)
    assert found.value == expected
    assert found.inputs["slices"] == 9
    assert found.inputs["fold"] == 4
    assert [name for name, *_ in trained] == list(BOTH)
    assert all(workspace.results not in place.parents for *_, place in trained), "no rows of a leaderboard"


def test_what_a_pilot_found_is_planned_and_its_time_is_taken_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = Decision("dimension", "2d", "2d in place of 3d_fullres", {}, "a pilot")
    monkeypatch.setattr(pilot, "dimension_of", lambda *_: _in_doubt())
    monkeypatch.setattr(pilot, "race_dimensions", lambda *_: found)
    monkeypatch.setattr(pilot, "fewest_steps", lambda *_: 400)
    prepared: Any = SimpleNamespace(plan=None, fingerprint=None, folds=FOLDS)
    asked = (prepared, FOLDS[:1], (Choice("nnunet"),), REQUEST, 4000.0, Workspace.locate(tmp_path))
    assert pilot.with_pilot(*asked) == dataclasses.replace(REQUEST, dimension=found, run_seconds=900.0)
    own = (prepared, FOLDS[:1], (Choice("brainunet"),), *asked[3:])
    assert pilot.with_pilot(*own) is REQUEST, "a documented system has its own dimension"
    sure = SimpleNamespace(contenders=("3d_cascade_fullres", "3d_fullres"))
    monkeypatch.setattr(pilot, "dimension_of", lambda *_: sure)
    assert pilot.with_pilot(*asked) is REQUEST, "of a cascade full resolution is trained"
    named = dataclasses.replace(REQUEST, configuration="2d")
    assert pilot.with_pilot(*asked[:3], named, *asked[4:]) is named


def test_a_pilot_of_hardly_any_steps_does_not_happen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pilot, "dimension_of", lambda *_: _in_doubt())
    monkeypatch.setattr(pilot, "race_dimensions", lambda *_: pytest.fail("it raced"))
    monkeypatch.setattr(pilot, "hardware_of", lambda _: Hardware("cpu", 1e10))
    found = Fingerprint.load(REFERENCE / "Dataset004_Hippocampus" / "fingerprint.json")
    names = {"background": 0, "a": 1}
    about = {"channel_names": {"0": "MRI"}, "labels": names, "numTraining": 2, "file_ending": ".nii.gz"}
    plan = plan_experiment(about, found)
    prepared: Any = SimpleNamespace(plan=plan, fingerprint=found, folds=FOLDS)
    request = dataclasses.replace(REQUEST, run_seconds=3600.0)
    assert pilot.fewest_steps(plan, BOTH, request, 180.0) < 400
    asked = (prepared, FOLDS[:1], (Choice("nnunet"),), request, 3600.0, Workspace.locate(tmp_path))
    assert pilot.with_pilot(*asked) is request
    monkeypatch.setattr(pilot, "hardware_of", lambda _: Hardware("cpu", 1e12))
    assert pilot.fewest_steps(plan, BOTH, request, 180.0) >= 400


def _in_doubt() -> Any:
    return SimpleNamespace(contenders=BOTH, decision=RULES.decision)
