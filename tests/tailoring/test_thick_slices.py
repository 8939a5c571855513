"""What a short time makes of volumes of few, thick slices: the patch shrinks across them, not along."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from given_machines import file_of

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.fingerprint import Fingerprint, extract_fingerprint
from autoseg.data.synthetic import make_demo
from autoseg.planner.patch import shrunk
from autoseg.planner.plan import Plan
from autoseg.planner.topology import pooled
from autoseg.system.machine_model import VARIABLE
from autoseg.tailoring.request import Request
from autoseg.tailoring.steps_in_time import seconds_beside_steps, steps_within
from autoseg.tailoring.tailored_plan import tailor
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Fingerprint]:
    """Short-axis hearts: 10 slices of 10 mm, 1.5 mm in them; the ring is as large as a ball of 48 mm."""
    dataset = load_dataset(make_demo(tmp_path_factory.mktemp("raw"), cases=(5, 5))[0])
    made = extract_fingerprint(dataset, workers=1)
    ring = {"per_case": 1.0, "median_voxels": 2600.0, "median": 58000.0, "extent": [80.0, 62.0, 62.0]}
    sizes = {"unit": "mm^3", "structures": {"ring": {"median": 58000.0, "components": ring}}}
    cases = len(made.spacings)
    return dataset, dataclasses.replace(
        made,
        spacings=((10.0, 1.5, 1.5),) * cases,
        shapes_after_crop=((10, 256, 224),) * cases,
        class_sizes=sizes,
    )


def fitted(hearts: tuple[Dataset, Fingerprint], seconds: float, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv(VARIABLE, str(file_of("slow")))
    request = Request(torch.device("cpu"), run_s=seconds, configuration="3d_fullres")
    return tailor(Variant(*hearts, Choice("nnunet"), request))


@pytest.mark.parametrize(
    ("seconds", "patch", "steps"),
    [(36000.0, (8, 192, 160), 3933), (360.0, (8, 96, 80), 496), (120.0, (8, 64, 64), 270)],
)
def test_short_of_time_the_patch_shrinks_as_far_as_it_holds_the_ring(
    hearts: tuple[Dataset, Fingerprint],
    seconds: float,
    patch: tuple[int, ...],
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At 5.7 s a step, its ten slices kept from shrinking, it made 53 steps in 6 minutes and Dice 0.025."""
    plan = fitted(hearts, seconds, monkeypatch)
    configuration = plan.configuration("3d_fullres")
    decided = next(each for each in plan.decisions if each.name == "budget")
    assert configuration.patch_size == patch
    assert decided.inputs["predicted_steps"] == steps
    assert configuration.spacing == (10.0, 1.5, 1.5)
    extents = zip(configuration.patch_size, configuration.spacing, strict=True)
    assert min(n * step for n, step in extents) >= 48


def test_slices_that_cannot_give_way_keep_no_axis_from_it() -> None:
    before = pooled((10.0, 1.5, 1.5), (10, 256, 224), 4)
    after = shrunk(before, (10, 256, 224), math.prod(before.patch_size) / 16)
    assert math.prod(after.patch_size) <= math.prod(before.patch_size) / 16
    assert min(after.patch_size) >= 8


@pytest.mark.parametrize(
    ("seconds", "patch", "windows"), [(180.0, (8, 64, 64), 1344), (360.0, (8, 64, 64), 1344)]
)
def test_the_windows_of_many_cases_are_taken_off_the_training(
    hearts: tuple[Dataset, Fingerprint],
    seconds: float,
    patch: tuple[int, ...],
    windows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, found = hearts
    many = dataclasses.replace(
        found, spacings=found.spacings[:1] * 80, shapes_after_crop=found.shapes_after_crop[:1] * 80
    )
    plan = fitted((dataset, many), seconds, monkeypatch)
    inputs = next(each.inputs for each in plan.decisions if each.name == "budget")
    assert plan.configuration("3d_fullres").patch_size == patch
    assert (inputs["windows"], inputs["mirrored_copies"]) == (windows, 1)
    used = inputs["train_seconds"] + inputs["prediction_seconds"]
    assert used == pytest.approx(seconds - seconds_beside_steps(), abs=0.2)
    assert inputs["train_seconds"] < 0.8 * seconds
    expected = steps_within(inputs["train_seconds"], inputs["predicted_step_s"])
    assert inputs["predicted_steps"] == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(
    ("machine", "shape", "steps"),
    [
        ("fast_bf16", (2, 16, 1.0, 1.0), 3206),
        ("slow", (2, 8, 1.0, 1.0), 1707),
        ("laptop", (2, 16, 1.0, 1.0), 3558),
        ("gpu", (2, 32, 1.0, 1.0), 94177),
    ],
)
def test_each_machine_has_its_own_shape(
    hearts: tuple[Dataset, Fingerprint],
    machine: str,
    shape: tuple[int, int, float, float],
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 2D slices in 18 minutes, on machines that need not be there; what was beaten is named."""
    monkeypatch.setenv(VARIABLE, str(file_of(machine)))
    device = torch.device("cuda" if machine == "gpu" else "cpu")
    plan = tailor(Variant(*hearts, Choice("nnunet"), Request(device, run_s=1080.0, configuration="2d")))
    decided = next(each for each in plan.decisions if each.name == "budget")
    assert (*decided.value.values(), decided.inputs["predicted_steps"]) == (*shape, steps)
    alternatives = decided.inputs["alternatives"]
    assert alternatives and all(each["costs"]["steps"] >= 0 and each["reason"] for each in alternatives)
    assert decided.inputs["measured_step_s"] == {}, "nothing is measured where a machine is given"
