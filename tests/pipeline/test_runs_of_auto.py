"""What `auto` divides is planned: who would not learn is left out, and a choice is made once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoseg.errors import PlanError
from autoseg.pipeline import allocation, trial
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.trainer_choice import Chosen
from autoseg.planner.plan import Decision
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.workspace import Workspace

REQUEST = Request(torch.device("cpu"), run_s=100.0)
CHOICES = tuple(map(Choice, ("nnunet", "unet", "resnet34_mlp")))
FRACTIONS = {"nnunet": 0.5, "unet": 0.3, "resnet34_mlp": 0.2}


def planning(steps_per_second: dict[str, float]) -> Any:
    """Plans with as many steps as fit; below ten there is none."""

    def plans_for(variant: Any, _: Workspace) -> tuple[Any, ...]:
        steps = int(steps_per_second[variant.choice.name] * variant.request.run_s)
        if steps < 10:
            raise PlanError("too short.")
        decision = Decision("budget", {}, "", {"predicted_steps": steps}, "")
        return (SimpleNamespace(decisions=(decision,)),)

    return plans_for


def divided(
    steps_per_second: dict[str, float], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> dict[str, float | None]:
    monkeypatch.setattr(trial, "plans_for", planning(steps_per_second))
    prepared: Any = SimpleNamespace(dataset=None, fingerprint=None)
    found = allocation.requests_of(prepared, CHOICES, FRACTIONS, REQUEST, workspace)
    return {choice.name: request.run_s for choice, request in found}


def test_each_gets_its_part_of_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = dict.fromkeys(FRACTIONS, 100.0)
    found = divided(rates, Workspace.locate(tmp_path), monkeypatch)
    assert found == {"nnunet": 150.0, "unet": 90.0, "resnet34_mlp": 60.0}


@pytest.mark.parametrize("slow", [3.0, 0.01])
def test_the_time_of_who_is_left_out_goes_to_the_rest(
    slow: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rates = {"nnunet": 100.0, "unet": slow, "resnet34_mlp": 100.0}
    with caplog.at_level("INFO", logger="autoseg"):
        found = divided(rates, Workspace.locate(tmp_path), monkeypatch)
    assert found == {"nnunet": pytest.approx(214.3), "resnet34_mlp": pytest.approx(85.7)}
    assert "- unet: " in caplog.text and "Its time goes to the rest." in caplog.text


def test_one_is_trained_in_any_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = divided(dict.fromkeys(FRACTIONS, 0.01), Workspace.locate(tmp_path), monkeypatch)
    assert found == {"nnunet": 300.0}


def test_trainers_by_name_share_alike(tmp_path: Path) -> None:
    prepared: Any = None
    found = allocation.requests_of(prepared, CHOICES, {}, REQUEST, Workspace.locate(tmp_path))
    assert found == [(choice, REQUEST) for choice in CHOICES]


def test_a_choice_is_made_once_for_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def chosen(*about: Any) -> Chosen:
        made.append(about)
        return Chosen(CHOICES[:2], {"nnunet": 0.6, "unet": 0.4})

    monkeypatch.setattr(allocation, "chosen_trainers", chosen)
    prepared: Any = SimpleNamespace(
        dataset=SimpleNamespace(name="Dataset001_Small"), fingerprint=SimpleNamespace(hash="a")
    )
    folds: Any = [SimpleNamespace(index=0)]
    workspace = Workspace.locate(tmp_path)
    first = allocation.kept_choice(prepared, Settings(total_s=600.0), folds, workspace)
    again = allocation.kept_choice(prepared, Settings(total_s=600.0, workers=3), folds, workspace)
    assert again == first and len(made) == 1
    allocation.kept_choice(prepared, Settings(total_s=900.0), folds, workspace)
    allocation.kept_choice(prepared, Settings(total_s=600.0, trainers=("unet",)), folds, workspace)
    assert len(made) == 3
