"""Out of memory: what counts as it, what gets smaller, what is remembered, and a training that goes on."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_trainers import ABOUT, fingerprint_of
from given_machines import steps_take
from hypothesis import given
from hypothesis import strategies as st

from autoseg import plugins
from autoseg.data.synthetic import make_demo
from autoseg.errors import RunError
from autoseg.pipeline.prepare import prepare
from autoseg.pipeline.settings import Settings
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Configuration, Plan
from autoseg.system.files import read_json
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.training.out_of_memory import MemoryLimits, changes, is_out_of_memory, smaller, voxels_of
from autoseg.workspace import Workspace

CPU = torch.device("cpu")
PLAN = plan_experiment(ABOUT, fingerprint_of((120, 160, 140)))
TORCH_ON_A_CPU = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"


@pytest.mark.parametrize(
    ("problem", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError(TORCH_ON_A_CPU), True),
        (RuntimeError("could not create a primitive"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_is_a_lack_of_memory(problem: Exception, is_it: bool) -> None:
    assert is_out_of_memory(problem) is is_it


def test_a_real_allocation_that_fails_is_one() -> None:
    with pytest.raises(RuntimeError) as found:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(found.value)


@given(st.sampled_from(["2d", "3d_fullres"]), st.integers(1, 64))
def test_steps_get_smaller_to_an_end_and_keep_their_network(name: str, batch: int) -> None:
    configuration = dataclasses.replace(PLAN.configuration(name), batch_size=batch)
    strides = [math.prod(c) for c in zip(*configuration.architecture.kwargs["strides"], strict=True)]
    seen: list[Configuration] = [configuration]
    while (found := smaller(seen[-1])) is not None:
        assert voxels_of(found) < voxels_of(seen[-1])
        assert found.batch_size < seen[-1].batch_size or found.batch_size == min(batch, 2)
        assert all(n % s == 0 and n >= 2 * s for n, s in zip(found.patch_size, strides, strict=True))
        assert found.architecture == configuration.architecture
        seen.append(found)
    assert seen[-1].patch_size == tuple(2 * s for s in strides)


def test_the_batch_goes_first_and_both_are_told() -> None:
    before = PLAN.configuration("2d")
    assert smaller(before) is not None and changes(before, smaller(before) or before) == [
        f"batch {before.batch_size} -> {before.batch_size // 2} (out of memory)"
    ]
    small = dataclasses.replace(before, batch_size=2)
    after = smaller(small)
    assert after is not None and "patch 160x" in changes(small, after)[0]


def test_what_did_not_fit_is_remembered_for_later_plans(tmp_path: Path) -> None:
    limits = MemoryLimits(tmp_path / "limits.json", "nnunet", CPU)
    assert limits.applied(PLAN, "2d") == PLAN
    lowered = limits.lowered(PLAN, "2d")
    again = MemoryLimits(tmp_path / "limits.json", "nnunet", CPU)
    assert again.applied(PLAN, "2d") == lowered
    assert again.applied(PLAN, "3d_fullres") == PLAN
    assert MemoryLimits(tmp_path / "limits.json", "unet", CPU).applied(PLAN, "2d") == PLAN
    wide = dataclasses.replace(PLAN.configuration("2d"), batch_size=4 * PLAN.configuration("2d").batch_size)
    later = dataclasses.replace(PLAN, configurations={"2d": wide})
    assert voxels_of(again.applied(later, "2d").configuration("2d")) <= voxels_of(lowered.configuration("2d"))


def test_there_is_an_end_which_says_so(tmp_path: Path) -> None:
    limits, plan = MemoryLimits(tmp_path / "limits.json", "nnunet", CPU), PLAN
    with pytest.raises(RunError, match=r"smallest step: batch 2, patch .*more memory"):
        for _ in range(40):
            plan = limits.lowered(plan, "3d_fullres")


class Hungry:
    """Makes a trainer's steps fail as long as they are larger than there is memory."""

    def __init__(self, trainer: type[Any], voxels: int, after: int = 0) -> None:
        self.given, self.voxels, self.after = trainer.train_step, voxels, after
        self.shapes: list[tuple[int, ...]] = []

    def step(self, trainer: Any, batch: Any) -> Any:
        shape = tuple(batch["data"].shape)
        self.shapes.append(shape)
        if shape[0] * math.prod(shape[2:]) > self.voxels and len(self.shapes) > self.after:
            raise RuntimeError(TORCH_ON_A_CPU)
        return self.given(trainer, batch)


@pytest.mark.parametrize("budget_s", [None, pytest.param(20.0, marks=pytest.mark.slow)])
def test_a_training_goes_on_with_smaller_steps_and_says_so(
    budget_s: float | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from autoseg.pipeline.trial import Trial, members_of, preprocess_member
    from autoseg.pipeline.trial_record import changes_of
    from autoseg.preprocessing.dataset import link_references
    from autoseg.training.training_run import train

    # Planned as on a fast machine, whatever else this one does meanwhile.
    steps_take(monkeypatch, lambda: 1e-4)
    root = make_demo(tmp_path / "raw", cases=(4, 8))[1]
    workspace = Workspace.locate(tmp_path / "workspace")
    for name, value in workspace.environment().items():
        monkeypatch.setenv(name, value)
    prepared = prepare(root, workspace, Settings(workers=1))
    dataset, fingerprint, folds = prepared.dataset, prepared.fingerprint, prepared.folds
    home = workspace.preprocessed_of(dataset.name)
    link_references(dataset, home / "gt_segmentations")
    choice = Choice.parse("resnet34_mlp:epochs=2:steps_per_epoch=2" if budget_s is None else "resnet34_mlp")
    trial = Trial(dataset, fingerprint, folds, choice, folds[0], Request(CPU, run_s=budget_s))
    (member,) = members_of(trial, workspace)
    preprocess_member(trial, member, workspace, 1)
    planned = member.plan.configuration(member.run.configuration)
    trainer = plugins.trainer_class(choice.name)
    # The first step goes well, so that there is something to go on from.
    most = int(0.6 * voxels_of(planned))
    hungry = Hungry(trainer, most, after=1)
    monkeypatch.setattr(trainer, "train_step", lambda self, batch: hungry.step(self, batch))
    train(member.run, workspace, CPU)
    cost = read_json(member.run.cost)
    assert member.run.final_checkpoint.is_file()
    assert most >= hungry.shapes[-1][0] * math.prod(hungry.shapes[-1][2:])
    told = changes_of(trial, (member,))
    assert any(change.endswith("(out of memory)") for change in told)
    assert [record.levelname for record in caplog.records if "ran out of memory" in record.message]
    assert workspace.memory_limits_of(dataset.name).is_file()
    trained = Plan.load(member.run.model_folder / "plans.json").configuration(planned.name)
    assert (trained.batch_size, *trained.patch_size) == (hungry.shapes[-1][0], *hungry.shapes[-1][2:])
    if budget_s is not None:
        assert cost["train_s"] < 2 * budget_s
    # The next fold starts with what fits.
    count = len(hungry.shapes)
    other = dataclasses.replace(trial, fold=folds[1])
    (second,) = members_of(other, workspace)
    train(second.run, workspace, CPU)
    assert hungry.shapes[count] == hungry.shapes[count - 1]
