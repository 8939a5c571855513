"""Whole plans: those that nnU-Net made, and the decisions behind them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import PlanError, UsageError
from autoseg.planner import PRESETS, plan_experiment
from autoseg.planner.plan import Plan

SharedData = Callable[[str], Path]

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "plans" / "reference"
NAMES = sorted(path.name for path in REFERENCE.iterdir() if path.is_dir())
TASKS = ("002_Heart", "003_Liver", "004_Hippocampus", "005_Prostate", "009_Spleen")


def without_decisions(plan: Plan) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(plan.to_json()))
    del document["autoseg"]
    return document


def fingerprint(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], cases: int = 20
) -> Fingerprint:
    numbers = {"mean": 0.0, "median": 0.0, "std": 1.0, "min": 0.0, "max": 1.0}
    return Fingerprint(
        (spacing,) * cases,
        (shape,) * cases,
        {0: numbers | {"percentile_99_5": 1.0, "percentile_00_5": 0.0}},
        1.0,
    )


ABOUT = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 20,
    "file_ending": ".nii.gz",
}


@pytest.mark.parametrize("name", NAMES)
def test_plans_are_those_of_nnunet(name: str, shared_data: SharedData) -> None:
    about = json.loads((shared_data(name) / "dataset.json").read_text())
    plan = plan_experiment(about, Fingerprint.load(REFERENCE / name / "fingerprint.json"), dataset_name=name)
    assert without_decisions(plan) == json.loads((REFERENCE / name / "plan.json").read_text())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("preset", ["nnunet", "nnunet_resenc_m", "nnunet_resenc_l"])
def test_plans_are_the_published_ones(task: str, preset: str, shared_data: SharedData) -> None:
    folder = shared_data("msd_reference") / task
    published = json.loads((folder / f"plans_{preset}.json").read_text())
    plan = plan_experiment(
        json.loads((folder / "dataset.json").read_text()),
        Fingerprint.load(folder / "dataset_fingerprint.json"),
        preset,
        dataset_name=published["dataset_name"],
        plan_name=published["plans_name"],
    )
    assert without_decisions(plan) == published


def test_a_data_set_is_planned_like_its_description(shared_data: SharedData) -> None:
    from autoseg.data.dataset import load_dataset

    name = "Dataset018_FetalHead"
    dataset = load_dataset(shared_data(name))
    found = Fingerprint.load(REFERENCE / name / "fingerprint.json")
    assert plan_experiment(dataset, found) == plan_experiment(dataset.dataset_json, found, dataset_name=name)


def test_plans_follow_the_memory() -> None:
    found = fingerprint((300, 512, 512), (1.0, 0.7, 0.7))
    voxels = [
        math.prod(plan_experiment(ABOUT, found, memory_gb=gb).configuration("3d_fullres").patch_size)
        for gb in (4, 8, 16, 32)
    ]
    assert voxels == sorted(set(voxels))


def test_a_plan_says_why_it_is_as_it_is() -> None:
    plan = plan_experiment(ABOUT, fingerprint((300, 512, 512), (1.0, 0.7, 0.7)))
    decisions = {each.name: each for each in plan.decisions}
    assert len(decisions) == len(plan.decisions)
    patches = {f"{name}.patch_size" for name in plan.configurations if name != "3d_cascade_fullres"}
    assert patches | {"target_spacing", "transpose", "normalization", "dimensions", "3d_lowres"} <= set(
        decisions
    )
    for name in ("2d", "3d_fullres", "3d_lowres"):
        configuration = plan.configuration(name)
        assert decisions[f"{name}.patch_size"].value == list(configuration.patch_size)
        assert decisions[f"{name}.batch_size"].value == configuration.batch_size
        strides = configuration.architecture.kwargs["strides"]
        assert decisions[f"{name}.topology"].value["strides"] == strides
    assert all(each.rule and each.source and each.inputs for each in plan.decisions)
    json.dumps([each.to_json() for each in plan.decisions], allow_nan=False)
    assert plan.provenance == {"preset": "nnunet", "memory_gb": 8, "fingerprint": ""}


def test_spacing_axes_and_names_can_be_given() -> None:
    found = fingerprint((200, 200, 100), (1.0, 1.0, 3.0))
    usual = plan_experiment(ABOUT, found)
    assert usual.transpose == (2, 0, 1)
    asked = plan_experiment(
        ABOUT, found, spacing=(2.0, 2.0, 3.0), transpose=False, plan_name="Own", dataset_name="Dataset009_X"
    )
    assert asked.transpose == (0, 1, 2)
    assert asked.configuration("3d_fullres").spacing == (2.0, 2.0, 3.0)
    assert asked.configuration("3d_fullres").median_shape == (100.0, 100.0, 100.0)
    assert asked.configuration("2d").data_identifier == "Own_2d"
    assert (asked.name, asked.dataset) == ("Own", "Dataset009_X")


def test_one_slice_means_2d_only() -> None:
    plan = plan_experiment(ABOUT | {"file_ending": ".png"}, fingerprint((1, 300, 300), (999.0, 1.0, 1.0)))
    assert list(plan.configurations) == ["2d"]
    assert plan.image_reader_writer == "NaturalImage2DIO"


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"memory_gb": 0}, "memory target is 0"),
        ({}, {"memory_gb": 1e-7}, "No patch fits"),
        ({}, {"spacing": (1.0, -1.0, 1.0)}, "three positive numbers"),
        ({}, {"spacing": (1.0, 1.0)}, "three positive numbers"),
        ({"labels": None}, {}, "no 'labels' object"),
        ({"file_ending": None}, {}, "file_ending None"),
        ({"channel_names": None}, {}, "no 'channel_names' object"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        plan_experiment(ABOUT | changes, fingerprint((100, 100, 100), (1.0, 1.0, 1.0)), **options)


def test_a_fingerprint_without_cases_is_refused() -> None:
    with pytest.raises(PlanError, match="0 cases"):
        plan_experiment(ABOUT, Fingerprint((), (), {}, 1.0))


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UsageError, match="nnunet_resenc_xl"):
        plan_experiment(ABOUT, fingerprint((100, 100, 100), (1.0, 1.0, 1.0)), "nnunet_xxl")


def test_planning_is_quick() -> None:
    found = fingerprint((600, 1024, 1024), (0.5, 0.3, 0.3))
    start = time.process_time()
    for preset in PRESETS:
        plan_experiment(ABOUT, found, preset)
    assert time.process_time() - start < 4


def test_the_planner_needs_neither_torch_nor_nnunet() -> None:
    code = (
        "import sys, autoseg.planner, autoseg.data.fingerprint\n"
        "print([m for m in ('torch', 'nnunetv2', 'skimage', 'matplotlib') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert output.stdout.strip() == "[]"
