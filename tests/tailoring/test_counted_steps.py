"""A training as long as a number of steps."""

from __future__ import annotations

import pytest

from autoseg.planner.budget import STEPS_FOR_MIRRORING, Shape
from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.tailoring.training_length import count_steps, small_shape


@pytest.mark.parametrize(("steps", "epochs", "each"), [(300, 10, 30), (10, 10, 1), (7, 7, 1), (205, 10, 20)])
def test_steps_are_divided_into_epochs(steps: int, epochs: int, each: int) -> None:
    chosen, decisions = count_steps(steps, Hyperparameters(learning_rate=0.1))
    assert (chosen.epochs, chosen.steps_per_epoch, chosen.learning_rate) == (epochs, each, 0.1)
    assert decisions[0].value == epochs * each <= steps


def test_a_short_training_is_not_mirrored_unless_a_user_says_so() -> None:
    short, _ = count_steps(100, Hyperparameters())
    assert short.mirroring is False
    long, _ = count_steps(STEPS_FOR_MIRRORING, Hyperparameters())
    assert long.mirroring is None
    wanted, decisions = count_steps(100, Hyperparameters(mirroring=True))
    assert [each.name for each in decisions] == ["steps"]
    assert wanted.mirroring is True


def test_a_small_shape_is_never_larger_than_the_published_one() -> None:
    large = 512 * 512
    assert small_shape(Shape(9, 32, 1.0), 2, large) == Shape(2, 8, 1.0, 1 / 8)
    assert small_shape(Shape(2, None, 1.0), 8, large) == Shape(2, None, 1.0, 1 / 8)
    assert small_shape(Shape(4, 4, 1.0), 2, large).width == 4


def test_a_small_patch_holds_a_structure_with_what_lies_around_it() -> None:
    assert small_shape(Shape(2, 32, 1.0), 2, 4 * 16_384).patch_share == 1 / 4
    assert small_shape(Shape(2, 32, 1.0), 2, 96 * 128).patch_share == 1.0
