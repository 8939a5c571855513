"""Checkpoints of other channels, classes, patches and kernels on real data: what is taken, in numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoseg.nnunet import read_checkpoint
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.single_stages import train_one
from autoseg.planner.plan import Plan
from autoseg.run import Run
from autoseg.system.files import read_json
from autoseg.workspace import Workspace

HIPPOCAMPUS, LESION, ORGANS = "Dataset004_Hippocampus", "Dataset030_MSLesion", "Dataset040_CTOrgans"
# One epoch of two steps, and a plan for little memory.
FEW = Settings(epochs=1, memory_gb=2.5, device="cpu", workers=1)
SHORT = "steps_per_epoch=2"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One for all tests, so that what is preprocessed once stays."""
    return Workspace.locate(tmp_path_factory.mktemp("checkpoints"))


def started(
    data: Callable[[str], Path], workspace: Workspace, first: tuple[str, str], second: tuple[str, str]
) -> tuple[dict[str, Any], Run, Run]:
    """Train a first run and a second that starts from it; the second's load report, and both."""
    before = train_one(data(first[0]), f"{first[1]}:{SHORT}", "all", workspace, FEW).run
    row = f"{second[1]}:{SHORT}:init={before.model_folder}"
    after = train_one(data(second[0]), row, "all", workspace, FEW).run
    (loss,) = read_checkpoint(after.final_checkpoint)["logging"]["train_losses"]
    assert math.isfinite(loss) and read_json(after.cost)["steps"] == 2
    report = read_json(after.folder / "initialisation.json")
    counted = [report[kind]["parameters"] for kind in ("loaded", "adapted", "random")]
    assert sum(counted) == read_json(after.cost)["parameters"], "every weight is accounted for"
    return report, before, after


def reasons(report: dict[str, Any], kind: str) -> set[str]:
    return set(report[kind]["reasons"].values()) - {""}


def test_four_channels_on_one(shared_data: Callable[[str], Path], workspace: Workspace) -> None:
    report, *_ = started(
        shared_data, workspace, (LESION, "brainunet:width=4"), (HIPPOCAMPUS, "brainunet:width=4")
    )
    # The first convolution of the main path and that of the shortcut.
    assert report["adapted"]["tensors"] == 2
    assert reasons(report, "adapted") == {"4 input channels to 1, summed"}
    assert report["random_parts"] == ["head"]  # two classes there, three here
    assert reasons(report, "random") == {"a head of 2 outputs in the file, 3 here"}


def test_three_classes_on_seven(shared_data: Callable[[str], Path], workspace: Workspace) -> None:
    report, before, after = started(
        shared_data, workspace, (HIPPOCAMPUS, "brainunet:width=4"), (ORGANS, "brainunet:width=4")
    )
    assert report["adapted"]["tensors"] == 0
    # Of the organs' larger patches come a level more and its decoder block, which the file does not have.
    assert report["random_parts"] == ["decoder1", "head"]
    why = list(report["random"]["reasons"].values())
    assert why.count("a head of 3 outputs in the file, 7 here") == 2  # its weights and its biases
    assert set(why) == {"a head of 3 outputs in the file, 7 here", "not in the file"}
    plans = [
        Plan.load(run.model_folder / "plans.json").configuration("3d_fullres") for run in (before, after)
    ]
    assert plans[0].spacing != plans[1].spacing


def test_another_patch_and_other_strides(shared_data: Callable[[str], Path], workspace: Workspace) -> None:
    report, before, after = started(
        shared_data, workspace, (HIPPOCAMPUS, "nnunet:width=8"), (ORGANS, "nnunet:width=8")
    )
    plans = [
        Plan.load(run.model_folder / "plans.json").configuration("3d_fullres") for run in (before, after)
    ]
    strides = [plan.architecture.kwargs["strides"] for plan in plans]
    assert plans[0].patch_size != plans[1].patch_size and strides[0] != strides[1]
    # All stages that both have are there; the head has seven outputs for three.
    assert report["loaded"]["parameters"] > 0.9 * before_parameters(before)
    assert "head" in report["random_parts"]


def before_parameters(run: Run) -> int:
    found: int = read_json(run.cost)["parameters"]
    return found


def test_small_kernels_in_large_ones(shared_data: Callable[[str], Path], workspace: Workspace) -> None:
    report, *_ = started(shared_data, workspace, (HIPPOCAMPUS, "mednext_s"), (HIPPOCAMPUS, "mednext_s_k5"))
    assert report["random"]["tensors"] == 0 and report["unused"] == []
    grown = reasons(report, "adapted")
    assert grown and all(reason.startswith("kernel 3x3x3 to 5x5x5, trilinear") for reason in grown)
