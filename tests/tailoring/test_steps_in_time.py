"""Steps that fit into a time, as trainings made them."""

from __future__ import annotations

import pytest

from autoseg.tailoring.steps_in_time import seconds_beside_steps, seconds_of_run, steps_within

# Trainings on a core of their own (benchmarks/results/auto.json): seconds of the run, about those of its
# prediction, those of a step, and steps that were made.
MADE = [
    (360.0, 2.0, 0.1441, 2425),
    (360.0, 1.5, 0.1326, 2646),
    (360.0, 7.0, 0.1976, 1736),
    (1080.0, 8.0, 0.5112, 2046),
]


@pytest.mark.parametrize(("run_s", "prediction_s", "step_s", "made"), MADE)
def test_trainings_made_as_many(run_s: float, prediction_s: float, step_s: float, made: int) -> None:
    """A flat twentieth of the time was taken off: 2 to 3 % too few steps in 6 minutes and in 18."""
    found = steps_within(run_s - prediction_s - seconds_beside_steps(), step_s)
    assert found == pytest.approx(made, rel=0.01)


def test_the_time_of_so_many_steps_holds_them() -> None:
    seconds = seconds_of_run(400, 0.5, 20.0)
    assert steps_within(seconds - 20.0 - seconds_beside_steps(), 0.5) == pytest.approx(400, abs=1)


def test_a_start_takes_longer_where_there_is_less_of_the_machine() -> None:
    assert seconds_beside_steps(0.1) > seconds_beside_steps(1.0)


def test_each_of_few_steps_is_followed_by_a_look() -> None:
    assert 0 < steps_within(20.0, 2.0) < 10
    assert steps_within(0.0, 2.0) == 0
