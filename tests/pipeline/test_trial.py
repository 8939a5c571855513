"""One trainer on one fold: its plans, and what its row says, without training anything."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from given_machines import steps_take

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.fingerprint import Fingerprint, extract_fingerprint
from autoseg.data.folds import make_folds
from autoseg.data.synthetic import make_demo
from autoseg.errors import PlanError
from autoseg.pipeline import trial
from autoseg.pipeline.trial import Member, Trial, members_of, plans_for, train_trial
from autoseg.pipeline.trial_record import changes_of, plan_content, row_cost
from autoseg.planner.plan import Plan
from autoseg.run import Checkpoint, Run
from autoseg.system.files import write_json
from autoseg.tailoring import fit_to_resources as fitting
from autoseg.tailoring.memory.footprint import MemoryCalibration
from autoseg.tailoring.request import Request
from autoseg.tailoring.tailored_plan import tailor
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant
from autoseg.training.training_run import LARGEST_CHECKPOINTS_FRACTION, checkpoints_that_fit
from autoseg.workspace import Workspace

Data = tuple[Dataset, Fingerprint]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Data]:
    """Generated volumes (3) and images (2), with their fingerprints."""
    roots = make_demo(tmp_path_factory.mktemp("raw"), cases=(5, 10))
    sets = [load_dataset(root) for root in roots]
    return {n: (each, extract_fingerprint(each, workers=1)) for n, each in zip((3, 2), sets, strict=True)}


@pytest.fixture
def step_s(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that a measured step takes, whatever the machine does."""
    measured = {"value": 1e-4}
    steps_take(monkeypatch, lambda: measured["value"])
    return measured


def plans(
    data: Data, workspace: Path, trainer: str = "deepmrseg", run_s: float | None = None
) -> tuple[Plan, ...]:
    request = Request(torch.device("cpu"), run_s=run_s)
    return plans_for(Variant(*data, Choice.parse(trainer), request), Workspace.locate(workspace))


def test_three_orientations_share_a_budget_and_a_name(
    data: dict[int, Data], step_s: dict[str, float], tmp_path: Path
) -> None:
    found = plans(data[3], tmp_path, run_s=900)
    requested = [re.sub(r"_b\d+p[\dx]+_[0-9a-f]{6}$", "", plan.name) for plan in found]
    row = requested[0].removesuffix("_axis0")
    assert requested == [f"{row}_axis{axis}" for axis in range(3)]
    assert [plan.transpose[0] for plan in found] == [0, 1, 2]
    assert len({plan.configuration("2d").data_identifier for plan in found}) == 3
    for plan in found:
        assert plan.require_training().run_s == pytest.approx(300)
        assert not any("orientations" in change for change in plan.require_training().changes)
    step_s["value"] = 1e9  # from disk, nothing is measured
    assert plans(data[3], tmp_path, run_s=900) == found


def test_a_budget_too_short_for_three_goes_to_one(
    data: dict[int, Data], step_s: dict[str, float], tmp_path: Path
) -> None:
    step_s["value"] = 8.0
    (alone,) = plans(data[3], tmp_path, run_s=900)
    assert alone.require_training().run_s == 900
    assert "orientations 3 -> 1" in alone.require_training().changes
    assert alone.decisions[-1].name == "orientations"
    step_s["value"] = 1e-4
    assert plans(data[3], tmp_path, run_s=900) == (alone,)
    step_s["value"] = 8.0
    assert len(plans(data[3], tmp_path, "deepmrseg:orientations=3", run_s=900)) == 3


def test_a_budget_that_allows_no_training_is_refused_with_one_that_does(
    data: dict[int, Data], step_s: dict[str, float], tmp_path: Path
) -> None:
    step_s["value"] = 1e4
    with pytest.raises(PlanError, match=r"900 s allow resnet34_mlp about 0 steps .* min a run"):
        plans(data[2], tmp_path, "resnet34_mlp", run_s=900)


@pytest.mark.parametrize(("each_s", "few"), [(3.0, True), (1e-3, False)])
def test_a_training_of_hardly_any_steps_says_so_when_it_begins(
    data: dict[int, Data],
    step_s: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    each_s: float,
    few: bool,
) -> None:
    step_s["value"] = each_s
    monkeypatch.setattr(trial, "preprocess_member", lambda *_: None)
    monkeypatch.setattr(trial, "train", lambda run, *_: Checkpoint(run, run.folder, 0))
    folds = make_folds(data[2][0])
    request = Request(torch.device("cpu"), run_s=900)
    asked = Trial(*data[2], folds, Choice("resnet34_mlp"), folds[0], request)
    train_trial(asked, Workspace.locate(tmp_path))
    assert ("900 s allow resnet34_mlp about" in caplog.text) is few
    assert ("is the least that makes sense. Give more time (--budget), or fewer folds" in caplog.text) is few
    # What holds for each fold is said once.
    train_trial(dataclasses.replace(asked, fold=folds[1]), Workspace.locate(tmp_path))
    assert caplog.text.count("is the least that makes sense") == few


@pytest.mark.parametrize(
    ("trainer", "dimensions"), [("nnunet", 3), ("brainunet", 3), ("deepmrseg", 3), ("resnet34_mlp", 2)]
)
def test_what_is_trained_is_what_the_memory_was_counted_for(
    data: dict[int, Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: str, dimensions: int
) -> None:
    calibration = MemoryCalibration("test", 1e9, 1.0, True)
    monkeypatch.setattr(fitting, "calibrate", lambda *_: calibration)
    dataset, fingerprint = data[dimensions]
    request = Request(torch.device("cpu"), memory_gb=2.2)
    plan = tailor(Variant(dataset, fingerprint, Choice(trainer), request))
    (configuration,) = plan.configurations.values()
    (fit,) = (each for each in plan.decisions if each.name == f"{configuration.name}.memory_fit")
    assert fit.value["patch_size"] == list(configuration.patch_size)
    assert fit.value["batch_size"] == configuration.batch_size
    assert fit.inputs["footprint_gb"]["total"] <= 2.2


def test_where_three_orientations_are_refused_one_is_trained(
    data: dict[int, Data], step_s: dict[str, float], tmp_path: Path
) -> None:
    step_s["value"] = 60.0
    (alone,) = plans(data[3], tmp_path, run_s=900)
    assert alone.require_training().run_s == 900
    with pytest.raises(PlanError, match="300 s allow"):
        plans(data[3], tmp_path, "deepmrseg:orientations=3", run_s=900)


def test_without_a_budget_and_by_option(data: dict[int, Data], tmp_path: Path) -> None:
    assert len(plans(data[3], tmp_path)) == 3
    assert len(plans(data[3], tmp_path, "deepmrseg:orientations=2")) == 2
    (single,) = plans(data[3], tmp_path, "deepmrseg:orientations=1")
    assert not single.require_training().changes
    assert len(plans(data[3], tmp_path, "resnet34_mlp:orientations=3")) == 3
    assert len(plans(data[3], tmp_path, "nnunet")) == 1


def test_images_have_one_orientation_and_miss_nothing(data: dict[int, Data], tmp_path: Path) -> None:
    (plan,) = plans(data[2], tmp_path)
    assert not plan.require_training().changes


def test_seeds_of_one_plan_are_one_row(
    data: dict[int, Data], step_s: dict[str, float], tmp_path: Path
) -> None:
    found = []
    for seed, options in ((0, ""), (1, ""), (0, ":learning_rate=0.1")):
        step_s["value"] *= 1.01  # what is measured on the way differs, and is not the plan
        request = Request(torch.device("cpu"), run_s=900, seed=seed)
        choice = Choice.parse(f"resnet34_mlp{options}")
        found += plans_for(Variant(*data[3], choice, request), Workspace.locate(tmp_path))
    assert len({plan.name for plan in found}) == 3
    assert plan_content(found[0]) == plan_content(found[1])
    assert plan_content(found[0]) != plan_content(found[2])


def members(data: Data, workspace: Path, costs: list[dict[str, Any]]) -> tuple[Trial, tuple[Member, ...]]:
    dataset, fingerprint = data
    folds = make_folds(dataset)
    choice = Choice.parse("deepmrseg" if len(costs) > 1 else "deepmrseg:orientations=1")
    trial = Trial(dataset, fingerprint, folds, choice, folds[0], Request(torch.device("cpu")))
    found = members_of(trial, Workspace.locate(workspace))
    for member, cost in zip(found, costs, strict=True):
        write_json(member.run.cost, cost)
    return trial, found


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ([5, 5, 5], ()),
        ([2, 2, 2], ("best checkpoints 5 -> 2",)),
        ([2, 5, 3], ("best checkpoints 5 -> 2 to 5",)),
        ([1, 1, 1], ("best checkpoints 5 -> 1",)),
        ([5], ()),
        ([1], ("best checkpoints 5 -> 1",)),
    ],
)
def test_a_row_says_what_predicted_together(
    data: dict[int, Data], tmp_path: Path, kept: list[int], told: tuple[str, ...]
) -> None:
    costs = [{"best_checkpoints": count, "changes": []} for count in kept]
    assert changes_of(*members(data[3], tmp_path, costs)) == told


def test_a_change_of_one_member_names_its_axis(data: dict[int, Data], tmp_path: Path) -> None:
    costs: list[dict[str, Any]] = [{"best_checkpoints": 5, "changes": ["all"]} for _ in range(3)]
    costs[1] = {"best_checkpoints": 5, "changes": ["all", "one"]}
    told = changes_of(*members(data[3], tmp_path, costs))
    assert told == ("all", "one (slices along axis 1)")


def test_costs_of_a_row_are_sums_and_the_largest_memory(data: dict[int, Data], tmp_path: Path) -> None:
    costs = [
        {
            "parameters": 100 + n,
            "trainable_parameters": 90,
            "checkpoint_mb": 1.5,
            "flops_per_patch": None if n == 1 else 7,
            "epochs": 20,
            "peak_memory_mb": 50.0 + n,
            "train_s": 30.25,
            "steps": 400 + n,
            "best_checkpoints": 5,
            "changes": [],
        }
        for n in range(3)
    ]
    _, found = members(data[3], tmp_path, costs)
    run = found[0].run
    row = Run(run.dataset, "row", run.configuration, run.trainer, run.fold, run.seed, run.results)
    write_json(
        row.inference,
        {"predict_s": 10.0, "inference_s_per_case": 2.0, "inference_s_per_case_p95": 3.0, "cases": 5},
    )
    cost = row_cost(row, found)
    assert cost.flops_per_case is None
    assert (cost.parameters, cost.trainable_parameters, cost.training_steps) == (303, 270, 1203)
    assert (cost.checkpoint_mb, cost.peak_memory_mb, cost.epochs) == (4.5, 52.0, 60)
    assert cost.train_s == pytest.approx(100.75)
    assert cost.flops_per_patch is None and cost.budget_s is None
    assert (cost.inference_s_per_case, cost.inference_s_per_case_p95) == (2.0, 3.0)


def test_as_many_checkpoints_predict_as_fit_their_share() -> None:
    share = LARGEST_CHECKPOINTS_FRACTION * 100
    assert checkpoints_that_fit(5, share / 5, 100) == 5
    assert checkpoints_that_fit(5, share / 4.5, 100) == 4
    assert checkpoints_that_fit(5, share / 1.5, 100) == 1
    assert checkpoints_that_fit(5, share * 3, 100) == 1
    assert checkpoints_that_fit(5, 0.0, 100) == 5


def test_operations_of_a_case_are_those_of_all_patches_of_all_members(
    data: dict[int, Data], tmp_path: Path
) -> None:
    numbers = (
        "parameters",
        "trainable_parameters",
        "checkpoint_mb",
        "epochs",
        "peak_memory_mb",
        "train_s",
        "steps",
    )
    costs = [{**dict.fromkeys(numbers, 1), "flops_per_patch": 10 + n, "changes": []} for n in range(3)]
    _, found = members(data[3], tmp_path, costs)
    row = found[0].run
    timings = {"predict_s": 1.0, "inference_s_per_case": 1.0, "inference_s_per_case_p95": 1.0}
    write_json(row.inference, {**timings, "patches_per_case": [2, 3, 4.5]})
    assert row_cost(row, found).flops_per_case == pytest.approx(10 * 2 + 11 * 3 + 12 * 4.5)
