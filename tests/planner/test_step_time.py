"""The time of a step by its size, and the part of a batch that is measured."""

from __future__ import annotations

import math

import pytest

from autoseg.tailoring.step_time import StepTime, probe_patch


def test_a_step_has_a_part_that_no_voxel_saves() -> None:
    line = StepTime(fixed=0.2, per_voxel=1e-5)
    assert line.seconds(0) == 0.2 and line.seconds(20_000) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("patch", "batch", "strides", "most", "expected"),
    [
        ((56, 40), 2, (8, 8), 4480, (56, 40)),
        ((56, 40), 2, (8, 8), 2240, (24, 40)),
        ((288, 288), 2, (32, 32), 100_000, (128, 288)),
        ((288, 288), 2, (288, 288), 100, (288, 288)),
    ],
)
def test_what_is_large_is_measured_in_part(
    patch: tuple[int, ...], batch: int, strides: tuple[int, ...], most: int, expected: tuple[int, ...]
) -> None:
    found = probe_patch(patch, batch, strides, most)
    assert found == expected
    assert all(n % step == 0 for n, step in zip(found, strides, strict=True))
    assert math.prod(found) <= math.prod(patch)
