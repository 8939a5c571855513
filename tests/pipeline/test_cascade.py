"""The parts of a cascade's first stage, without training anything."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from bare_trainers import fingerprint_of
from given_machines import steps_take
from model_folders import ABOUT, fingerprint

from autoseg.data.dataset import load_dataset
from autoseg.data.folds import Fold
from autoseg.data.readers import Image
from autoseg.data.synthetic import make_demo
from autoseg.errors import PlanError, RunError
from autoseg.pipeline import cascade
from autoseg.pipeline.cascade import check_folds, first_stage_runs, on_grid, with_cascade
from autoseg.pipeline.trainer_choice import is_runnable
from autoseg.pipeline.trial import plans_for
from autoseg.pipeline.trial_record import cascade_cost
from autoseg.planner import plan_experiment
from autoseg.planner.cascade import CASCADE, stage_of
from autoseg.planner.plan import Plan
from autoseg.planner.training_spec import TrainingSpec
from autoseg.preprocessing.blosc_store import read_stage, write_stage
from autoseg.preprocessing.fit_case import crop_case, fit_case
from autoseg.run import Run, stage_file
from autoseg.system.files import write_json
from autoseg.tailoring.fit_to_resources import predicted_steps
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant
from autoseg.workspace import Workspace

FOLDS = (Fold(0, ("b", "c"), ("a",)), Fold(1, ("a", "c"), ("b",)), Fold(2, ("a", "b"), ("c",)))


def cascade_plan() -> Plan:
    """A plan of a cascade on coarse slices, whose axes are turned."""
    plan = plan_experiment(ABOUT, fingerprint((24, 30, 20), (1.0, 1.0, 2.5)), dataset_name="Dataset001_Small")
    full = plan.configurations["3d_fullres"]
    low = dataclasses.replace(full, name="3d_lowres", spacing=(2.5, 2.0, 2.0), next_stage=CASCADE)
    second = dataclasses.replace(full, name=CASCADE, spacing=(2.0, 0.8, 0.8), previous_stage="3d_lowres")
    spec = TrainingSpec(trainer="nnunet", configuration=CASCADE)
    return dataclasses.replace(plan, configurations={"3d_lowres": low, CASCADE: second}, training=spec)


def test_a_segmentation_comes_to_the_grid_as_at_prediction() -> None:
    plan, rng = cascade_plan(), np.random.default_rng(3)
    assert plan.transpose != (0, 1, 2)
    array = np.zeros((1, 24, 30, 20), dtype=np.float32)
    array[:, 2:22, 3:28, 1:19] = rng.uniform(1, 100, (1, 20, 25, 18))
    blocks = rng.integers(0, 3, (6, 6, 5)).repeat(4, 0).repeat(5, 1).repeat(4, 2).astype(np.uint8)
    labels = np.where(array[0] > 0, blocks, 0).astype(np.uint8)
    raw = Image(array, (1.0, 1.0, 2.5), {"spacing": (1.0, 1.0, 2.5)})
    configuration = plan.configuration(CASCADE)
    cropped = crop_case(raw, Image(labels[None], raw.spacing, raw.properties), plan)
    data, expected = fit_case(cropped, plan, configuration)
    properties = {**raw.properties, **cropped.properties, "shape": data.shape[1:]}
    found = on_grid(labels, properties, plan, configuration)
    assert found.shape == data.shape[1:] and found.dtype == np.uint8 and set(np.unique(found)) == {0, 1, 2}
    for value in (1, 2):
        np.testing.assert_array_equal(found == value, expected[0] == value)


def test_a_stage_is_read_as_it_was_written(tmp_path: Path) -> None:
    import blosc2

    found = np.random.default_rng(0).integers(0, 3, (9, 11, 7)).astype(np.uint8)
    path = tmp_path / "new" / "a.b2nd"
    write_stage(path, found, (8, 8, 8))
    np.testing.assert_array_equal(read_stage(path, found.shape), found)
    np.testing.assert_array_equal(blosc2.open(str(path))[:], found)  # as nnU-Net reads it
    with pytest.raises(RunError, match=r"\(9, 11, 7\), the case \(9, 11, 8\)"):
        read_stage(path, (9, 11, 8))
    with pytest.raises(RunError, match="Train the first stage again"):
        read_stage(tmp_path / "b.b2nd", found.shape)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RunError, match="made again"):
        read_stage(path, found.shape)


def test_folds_that_never_hold_a_case_out_are_refused() -> None:
    check_folds(FOLDS)
    with pytest.raises(PlanError, match=r"2 cases are held out by no fold \(a, b\)"):
        check_folds(FOLDS[2:])


@pytest.mark.parametrize(
    ("requested", "planned", "folds", "trained", "expected"),
    [
        ("auto", True, FOLDS, FOLDS, 1.0),
        ("auto", True, FOLDS, FOLDS[:1], 3.0),
        ("auto", True, FOLDS[2:], FOLDS[2:], 0.0),  # of cases never held out there is no first stage
        ("auto", False, FOLDS, FOLDS, 0.0),
        (CASCADE, False, FOLDS, FOLDS, 1.0),  # refused where it is planned, with the reason
    ],
)
def test_how_many_first_trainings_there_are_for_a_second(
    requested: str, planned: bool, folds: Any, trained: Any, expected: float
) -> None:
    plan = SimpleNamespace(configurations={CASCADE: None} if planned else {})
    prepared: Any = SimpleNamespace(plan=plan, folds=folds)
    request = Request(torch.device("cpu"), configuration=requested)
    assert with_cascade(prepared, trained, request).first_stages == expected


def test_a_budget_is_divided_among_its_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps_take(monkeypatch, lambda: 0.1)
    root, _ = make_demo(tmp_path / "raw", cases=(2, 2))
    dataset, large = load_dataset(root), fingerprint_of((400, 512, 512))
    request = Request(torch.device("cpu"), run_s=36000, configuration=CASCADE, first_stages=5.0)
    assert is_runnable(Choice("nnunet"), plan_experiment(dataset, large), CASCADE)
    variant = Variant(dataset, large, Choice("nnunet"), request)
    (plan,) = plans_for(variant, Workspace.locate(tmp_path))
    low = stage_of(plan, "3d_lowres")
    for each, name in ((plan, CASCADE), (low, "3d_lowres")):
        assert each.trained_configuration().name == name
        assert each.require_training().run_s == pytest.approx(36000 / 6)
        assert predicted_steps(each) is not None
    # Another share of the time is another plan; without a cascade in reach it is refused, with what to do.
    halved = variant.with_request(dataclasses.replace(request, first_stages=1.0))
    assert halved.plan_name != variant.plan_name
    with pytest.raises(PlanError, match="not in a race or a suite"):
        plans_for(
            variant.with_request(dataclasses.replace(request, first_stages=0.0)), Workspace.locate(tmp_path)
        )
    small = Variant(dataset, fingerprint_of((40, 50, 40)), Choice("nnunet"), request)
    with pytest.raises(PlanError, match=r"has no 3d_cascade_fullres: a patch .* sees enough"):
        plans_for(small, Workspace.locate(tmp_path))
    tuned = Variant(dataset, large, Choice.parse("nnunet:cases=1"), request)
    with pytest.raises(PlanError, match="starts from random weights and trains on all cases"):
        plans_for(tuned, Workspace.locate(tmp_path))


def test_a_row_bears_its_part_of_the_first_stages(tmp_path: Path) -> None:
    plan = cascade_plan()
    document = plan.to_json()
    own = {"training": {"trainer": "nnunet", "run_seconds": 30.0}, "configuration": "3d_lowres"}
    document["autoseg"]["provenance"]["first_stage"] = {**own, "decisions": []}
    document["autoseg"]["provenance"]["training"]["run_seconds"] = 30.0
    plan = Plan.from_json(document)
    row = Run("Dataset001_Small", plan.name, CASCADE, "nnunet", 1, 0, tmp_path)
    member: Any = SimpleNamespace(run=row, plan=plan)
    first = first_stage_runs(member, FOLDS)
    assert [(run.configuration, run.fold) for run in first] == [("3d_lowres", n) for n in range(3)]
    for run, train_s in zip((row, *first), (100.0, 10.0, 20.0, 30.0), strict=True):
        cost = {"train_s": train_s, "steps": train_s, "parameters": 5, "trainable_parameters": 5, "epochs": 1}
        write_json(run.cost, {**cost, "checkpoint_mb": 2.0, "flops_per_patch": 7, "peak_memory_mb": train_s})
        seconds = {"inference_s_per_case": 2.0, "inference_s_per_case_p95": 3.0, "patches_per_case": [4]}
        write_json(run.inference, {**seconds, "predict_s": 1.0})
    request = Request(torch.device("cpu"), first_stages=3.0)
    cost = cascade_cost(row, member, first, request)
    assert cost.train_s == 101 + 11 + 21 + 31, "the only row bears all of them"
    assert cost.budget_s == 30 + 3 * 30 and cost.training_steps == 160
    assert (cost.parameters, cost.flops_per_case, cost.inference_s_per_case) == (10, 56, 4.0)
    assert cost.peak_memory_mb == 100
    shared = cascade_cost(row, member, first, dataclasses.replace(request, first_stages=1.0))
    assert shared.train_s == pytest.approx(101 + 63 / 3) and shared.budget_s == 60


@pytest.mark.parametrize("seconds", [100, -100])
def test_a_segmentation_that_was_made_again_replaces_its_stage_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    run = Run("Dataset001_Small", "plans", "3d_lowres", "nnunet", 0, 0, tmp_path)
    plan, made = cascade_plan(), []

    def read(path: Path, reader: str) -> Any:
        made.append(path.name)
        return SimpleNamespace(array=np.full((1, 4, 4, 4), int(path.read_text()), np.uint8))

    monkeypatch.setattr(cascade, "read_preprocessed", lambda *_, **__: (None, {}))
    monkeypatch.setattr(cascade, "read_segmentation", read)
    monkeypatch.setattr(cascade, "on_grid", lambda found, *_: found)
    source = run.predictions / "a.png"
    source.parent.mkdir(parents=True)
    given = (run, FOLDS[0], SimpleNamespace(configuration=CASCADE), plan, Workspace.locate(tmp_path), ".png")
    for text in ("1", "1", "2"):
        if not source.exists() or source.read_text() != text:
            source.write_text(text)
            os.utime(source, (1e9, 1e9) if text == "1" else (1e9 + seconds, 1e9 + seconds))
        cascade.write_held_out(*given)  # type: ignore[arg-type]  # of the second run only a name is read
    stage = stage_file(run.model_folder, CASCADE, "a")
    assert len(made) == 2 and (read_stage(stage, (4, 4, 4)) == 2).all()
