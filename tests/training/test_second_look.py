"""After its first twentieth, a training whose steps are not what was planned gets others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_trainers import ABOUT, fingerprint_of
from given_machines import steps_take

from autoseg.data.synthetic import make_demo
from autoseg.pipeline.prepare import prepare
from autoseg.pipeline.settings import Settings
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Decision, Plan
from autoseg.system.files import read_json
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.training.second_look import is_off, keep, kept, planned_anew, planned_step_s, words
from autoseg.training.step_timing import LEFT_OUT, StepTiming
from autoseg.workspace import Workspace

CPU = torch.device("cpu")
BASE = plan_experiment(ABOUT, fingerprint_of((40, 64, 64)))
LARGE, SMALL = (64, 64), (32, 32)


def planned(batch: int, patch: tuple[int, int] = LARGE, **more: Any) -> Plan:
    """A plan for a second a step of eight samples of 64x64, two seconds of prediction."""
    entry = {
        "fixed_s": 0.0,
        "sample_s": 0.0,
        "voxel_s": 1 / (8 * 64 * 64),
        "batches": [2, 4, 8],
        "patches": [
            {"patch_size": LARGE, "share": 1.0, "prediction_seconds": 2.0},
            {"patch_size": SMALL, "share": 0.25, "prediction_seconds": 8.0},
        ],
    }
    inputs = {
        "predicted_step_s": batch * patch[0] * patch[1] / (8 * 64 * 64),
        "second_look": {**entry, **more},
    }
    configuration = dataclasses.replace(BASE.configuration("2d"), batch_size=batch, patch_size=patch)
    decision = Decision("budget", {}, "", inputs, "")
    return dataclasses.replace(BASE, configurations={"2d": configuration}, decisions=(decision,))


def size(plan: Plan | None) -> tuple[int, tuple[int, ...]] | None:
    return (
        None if plan is None else (plan.configuration("2d").batch_size, plan.configuration("2d").patch_size)
    )


@pytest.mark.parametrize(
    ("ratio", "off"), [(1.0, False), (1.24, False), (1.26, True), (0.81, False), (0.79, True)]
)
def test_a_quarter_is_off(ratio: float, off: bool) -> None:
    assert is_off(ratio) is off


def test_slower_steps_make_a_smaller_batch_and_at_last_a_smaller_patch() -> None:
    plan = planned(8)
    assert planned_step_s(plan, "2d") == 1.0
    assert size(planned_anew(plan, "2d", 1.0, 1e6)) is None, "with time for everything nothing changes"
    assert size(planned_anew(plan, "2d", 2.0, 4000.0)) == (2, LARGE)
    assert size(planned_anew(plan, "2d", 20.0, 500.0)) == (2, SMALL)


def test_quicker_steps_get_the_patch_back() -> None:
    assert size(planned_anew(planned(2, SMALL), "2d", 0.1, 300.0)) == (2, LARGE)


def test_a_prediction_that_takes_the_time_keeps_the_patch_large() -> None:
    patches = [
        {"patch_size": LARGE, "share": 1.0, "prediction_seconds": 2.0},
        {"patch_size": SMALL, "share": 0.25, "prediction_seconds": 24.0},
    ]
    plan = planned(8, patches=patches)
    assert size(planned_anew(plan, "2d", 20.0, 500.0)) == (2, SMALL)
    assert size(planned_anew(plan, "2d", 20.0, 500.0, reserved_s=35.0)) == (2, LARGE)


def test_a_patch_that_loses_too_much_is_not_taken() -> None:
    """By the loss that the plan states; one from before there was a loss goes by its share."""
    for loss, patch in ((0.0, SMALL), (1.0, LARGE)):
        patches = [
            {"patch_size": LARGE, "loss": 0.0, "prediction_seconds": 2.0},
            {"patch_size": SMALL, "loss": loss, "prediction_seconds": 8.0},
        ]
        assert size(planned_anew(planned(8, patches=patches), "2d", 20.0, 500.0)) == (2, patch)


def test_what_memory_changed_is_not_planned_again() -> None:
    assert planned_anew(planned(3), "2d", 5.0, 500.0) is None
    bare = dataclasses.replace(planned(8), decisions=())
    assert planned_anew(bare, "2d", 5.0, 500.0) is None and planned_step_s(bare, "2d") is None


def test_what_was_planned_for_a_step_follows_its_batch_and_patch() -> None:
    """After a first look a step is compared with what was planned for its own size."""
    plan = planned(8)
    changed = planned_anew(plan, "2d", 20.0, 500.0)
    assert changed is not None and size(changed) == (2, SMALL)
    assert planned_step_s(changed, "2d") == pytest.approx(2 * 32 * 32 / (8 * 64 * 64))


def test_a_training_that_goes_on_keeps_what_a_look_changed(tmp_path: Path) -> None:
    """It went back to the planned batch, and the row lost what had been changed."""
    plan, changed = planned(8), planned(2, SMALL)
    assert kept(tmp_path, plan, "2d") == (plan, [])
    keep(tmp_path, changed, "2d", ["batch 8 -> 2 (a step took 2 of the planned time)"])
    found, said = kept(tmp_path, plan, "2d")
    assert size(found) == (2, SMALL) and said == ["batch 8 -> 2 (a step took 2 of the planned time)"]
    assert found.decisions == plan.decisions


def test_the_row_says_what_changed_and_why() -> None:
    assert words(planned(8), planned(2, SMALL), "2d", 2.04) == [
        "batch 8 -> 2 (a step took 2 of the planned time)",
        "patch 64x64 -> 32x32 (a step took 2 of the planned time)",
    ]
    assert words(planned(8), planned(8), "2d", 2.0) == []


def test_the_first_steps_are_not_timed() -> None:
    timing = StepTiming(on_cpu=True)
    for _ in range(LEFT_OUT):
        timing.begin()
        timing.end()
    assert timing.step_s is None and timing.computed_step_s is None
    timing.begin()
    sum(range(100_000))
    timing.end()
    assert timing.steps == 1 and timing.step_s and timing.computed_step_s
    gpu = StepTiming(on_cpu=False)
    gpu.steps, gpu.wall_s = 2, 3.0
    assert gpu.computed_step_s == gpu.step_s == 1.5


def test_a_training_planned_for_a_fast_machine_goes_on_as_on_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned for steps of a tenth of a millisecond, which no machine makes."""
    from autoseg.pipeline.trial import Trial, members_of, preprocess_member
    from autoseg.pipeline.trial_record import changes_of
    from autoseg.preprocessing.dataset import link_references
    from autoseg.training.training_run import train

    steps_take(monkeypatch, lambda: 1e-4)
    root = make_demo(tmp_path / "raw", cases=(4, 60))[1]
    workspace = Workspace.locate(tmp_path / "workspace")
    for name, value in workspace.environment().items():
        monkeypatch.setenv(name, value)
    prepared = prepare(root, workspace, Settings(workers=1))
    dataset = prepared.dataset
    link_references(dataset, workspace.preprocessed_of(dataset.name) / "gt_segmentations")
    request = Request(CPU, run_s=60.0)
    trial = Trial(dataset, prepared.fingerprint, prepared.folds, Choice("nnunet"), prepared.folds[0], request)
    (member,) = members_of(trial, workspace)
    preprocess_member(trial, member, workspace, 1)
    train(member.run, workspace, CPU)
    trained = Plan.load(member.run.model_folder / "plans.json").configuration(member.run.configuration)
    before = member.plan.configuration(member.run.configuration)
    assert trained.batch_size * trained.patch_size[0] < before.batch_size * before.patch_size[0]
    said = [change for change in changes_of(trial, (member,)) if "of the planned time)" in change]
    assert said
    assert read_json(member.run.cost)["steps"] > 0
    again, changes = kept(member.run.folder, member.plan, member.run.configuration)
    assert again.configuration(member.run.configuration) == trained and changes == said
