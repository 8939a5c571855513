"""Plans that a budget decided on are named by what was decided."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch
from bare_trainers import ABOUT, fingerprint_of
from given_machines import steps_take

from autoseg.data.dataset import load_dataset
from autoseg.data.synthetic import make_demo
from autoseg.pipeline.trial import plans_for
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Decision, Plan
from autoseg.planner.training_spec import TrainingSpec
from autoseg.tailoring.decided_name import decided_name, find_plan, row_name
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant
from autoseg.workspace import Workspace

FINGERPRINT = fingerprint_of((40, 64, 64))
BASE = plan_experiment(ABOUT, FINGERPRINT)


def plan_with(batch: int, train_s: float = 60.0, budget: bool = True) -> Plan:
    configuration = dataclasses.replace(BASE.configuration("2d"), batch_size=batch, patch_size=(64, 64))
    return dataclasses.replace(
        BASE,
        name="autosegPlans_12345678",
        configurations={"2d": configuration},
        decisions=(Decision("budget", {}, "", {}, ""),) if budget else (),
        training=TrainingSpec(trainer="nnunet", configuration="2d", train_s=train_s),
    )


def test_two_decisions_have_two_names_and_one_has_one() -> None:
    names = {decided_name(plan_with(*about)) for about in ((2,), (4,), (4, 90.0))}
    assert len(names) == 3
    assert all(name.startswith("autosegPlans_12345678_b") and "p64x64_" in name for name in names)
    assert decided_name(plan_with(4)) == decided_name(plan_with(4))


def test_without_a_budget_the_request_decides_and_names_stay() -> None:
    plan = plan_with(4, budget=False)
    assert decided_name(plan) == plan.name
    assert row_name("autosegPlans_1", [plan, plan]) == "autosegPlans_1"


def test_the_plan_of_a_request_is_found_and_no_other_of_its_kin(tmp_path: Path) -> None:
    assert find_plan(tmp_path / "none", "autosegPlans_1") is None
    others = ("autosegPlans_1_axis0", "autosegPlans_1_b2p64x64_abcdef_race00", "autosegPlans_12")
    for name in others:
        (tmp_path / f"{name}.json").write_text("{}")
    assert find_plan(tmp_path, "autosegPlans_1") is None
    older, newer = (tmp_path / f"autosegPlans_1_b{n}p64x64_abcdef.json" for n in (2, 4))
    for number, path in enumerate((older, newer)):
        path.write_text("{}")
        os.utime(path, (number, number))
    assert find_plan(tmp_path, "autosegPlans_1") == newer
    assert find_plan(tmp_path, "autosegPlans_1_race00") == tmp_path / f"{others[1]}.json"


def test_a_row_of_several_trainings_is_named_by_their_decisions() -> None:
    first, second = ([plan_with(n), plan_with(2)] for n in (2, 4))
    for each in (first, second):
        each[:] = [dataclasses.replace(plan, name=decided_name(plan)) for plan in each]
    names = {row_name("autosegPlans_1_race00", each) for each in (first, second)}
    assert len(names) == 2 and all(name.endswith("_race00") for name in names)


def test_a_plan_that_is_made_again_and_comes_out_otherwise_has_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slower machine, or a busy one, made another plan of the same name: its folds lay beside the old."""
    dataset = load_dataset(make_demo(tmp_path / "raw", cases=(5, 5))[0])
    fingerprint = dataclasses.replace(
        FINGERPRINT, spacings=FINGERPRINT.spacings[:5], shapes_after_crop=FINGERPRINT.shapes_after_crop[:5]
    )
    workspace = Workspace.locate(tmp_path / "workspace")
    variant = Variant(dataset, fingerprint, Choice("nnunet"), Request(torch.device("cpu"), run_s=600.0))
    names = []
    for seconds in (0.02, 2.0):
        steps_take(monkeypatch, lambda taken=seconds: taken)
        (plan,) = plans_for(variant, workspace)
        assert plans_for(variant, workspace) == (plan,), "it is made once"
        names.append(plan.name)
        workspace.plan_of(dataset.name, plan.name).unlink()
    assert names[0] != names[1]
