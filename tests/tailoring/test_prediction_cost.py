"""What predicting the held-out cases takes belongs to the choice of a patch."""

from __future__ import annotations

import dataclasses

import pytest
from bare_trainers import ABOUT, fingerprint_of

from autoseg.planner import plan_experiment
from autoseg.tailoring.prediction_cost import prediction_cost, windows_per_case
from autoseg.tailoring.step_time import StepTime
from autoseg.training.prediction_time import SECONDS_PER_CASE, WINDOWS_OVERHEAD

THICK = dataclasses.replace(fingerprint_of((10, 256, 224)), spacings=((10.0, 1.5, 1.5),) * 20)
PLAN = plan_experiment(ABOUT, THICK)


def windows(name: str, patch: tuple[int, ...]) -> float:
    configuration = dataclasses.replace(PLAN.configuration(name), patch_size=patch)
    return windows_per_case(configuration, PLAN, THICK)


def test_windows_are_counted_as_they_will_be_predicted() -> None:
    """Half a patch apart: seven by seven of 64x56 in each of ten slices."""
    assert windows("2d", (64, 56)) == 10 * 7 * 7 == 490
    assert windows("2d", (256, 224)) == 10
    assert windows("3d_fullres", (10, 256, 224)) == 1
    assert windows("3d_fullres", (8, 128, 112)) == 2 * 3 * 3


def test_windows_are_those_of_the_grid_that_is_trained_on() -> None:
    coarse = dataclasses.replace(PLAN.configuration("2d"), spacing=(3.0, 3.0), patch_size=(128, 112))
    assert windows_per_case(coarse, PLAN, THICK) == 10


def test_the_time_is_that_of_all_held_out_cases() -> None:
    forward = StepTime(fixed=0.01, per_voxel=1e-6)
    found = prediction_cost(490, 20, (64, 56), forward, "cpu", run_s=60.0)
    assert (found.cases, found.copies, found.windows) == (4, 1, 4 * 490)
    together = 2**16 // (64 * 56)
    each = (0.01 + 1e-6 * together * 64 * 56) / together
    assert found.seconds == pytest.approx(WINDOWS_OVERHEAD * each * 4 * 490 + 4 * SECONDS_PER_CASE)


def test_mirrored_copies_count_where_they_fit() -> None:
    forward = StepTime(0.0, 1e-8)
    long, short = (prediction_cost(10, 20, (256, 224), forward, "cpu", s) for s in (3600.0, 0.5))
    assert (long.copies, short.copies) == (4, 1)
    assert long.seconds - 4 * SECONDS_PER_CASE == pytest.approx(4 * (short.seconds - 4 * SECONDS_PER_CASE))
