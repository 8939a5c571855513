"""The time of a step by its size."""

from __future__ import annotations

import math

import pytest

from autoseg.tailoring.step_time import LARGEST_PROBE_VOXELS, MOST_FIXED, StepTime, probe_batches


def test_two_measurements_tell_what_every_step_takes() -> None:
    line = StepTime.through({4480: 0.25, 17920: 0.40})
    assert line.seconds(4480) == pytest.approx(0.25) and line.seconds(17920) == pytest.approx(0.40)
    assert line.fixed == pytest.approx(0.20)


def test_a_step_follows_its_size_where_voxels_take_half_of_it() -> None:
    line = StepTime(fixed=0.2, per_voxel=1e-5)
    assert line.follows_size(20_000) and not line.follows_size(19_000)


def test_one_measurement_is_taken_as_proportional() -> None:
    assert StepTime.through({1000: 0.5}).seconds(3000) == pytest.approx(1.5)


def test_noise_makes_neither_part_negative() -> None:
    faster_with_more = StepTime.through({1000: 0.5, 2000: 0.4})
    assert faster_with_more.per_voxel > 0 and faster_with_more.fixed <= MOST_FIXED * 0.4
    steeper = StepTime.through({1000: 0.1, 2000: 0.4})
    assert steeper.fixed == 0 and steeper.seconds(2000) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("patch", "batch", "strides", "expected"),
    [
        ((56, 40), 185, (8, 8), [(2, (56, 40)), (8, (56, 40))]),
        ((56, 40), 3, (8, 8), [(2, (24, 40)), (2, (56, 40))]),
        ((288, 288), 2, (32, 32), [(2, (128, 288)), (2, (288, 288))]),
        ((288, 288), 2, (288, 288), [(2, (288, 288))]),
    ],
)
def test_two_sizes_are_measured_where_there_are_two(
    patch: tuple[int, ...], batch: int, strides: tuple[int, ...], expected: list[tuple[int, tuple[int, ...]]]
) -> None:
    assert probe_batches(patch, batch, strides) == expected


def test_large_patches_are_measured_in_parts() -> None:
    (few, small), (more, large) = probe_batches((128, 128, 128), 2, (16, 16, 16))
    assert few == more == 2
    assert math.prod(small) <= math.prod(large) / 2
    assert 2 * math.prod(large) <= LARGEST_PROBE_VOXELS
