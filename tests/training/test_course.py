"""What tells a training that has gone astray from one that is on its way."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.training.course import LEAST_VOXELS, SILENT_LOOKS, Course


def looks(
    losses: Sequence[float], steps: int = 50, course: Course | None = None, length: int = 20
) -> list[str]:
    """What is said of each part of a training of `length` parts."""
    course = course or Course()
    return [course.look(steps, loss, index / length, (), ()) for index, loss in enumerate(losses)]


@settings(max_examples=50, deadline=None)
@given(
    start=st.floats(-0.5, 3.0),
    fall=st.floats(0.2, 2.0),
    noise=st.lists(st.floats(-1, 1), min_size=20, max_size=20),
)
def test_a_loss_that_falls_with_noise_is_on_its_way(start: float, fall: float, noise: list[float]) -> None:
    losses = [start - fall * (1 - math.exp(-index / 4)) + 0.02 * each for index, each in enumerate(noise)]
    assert looks(losses) == [""] * 20


def test_a_loss_that_rises_above_its_start_is_noticed_at_the_second_look() -> None:
    said = looks([1.0, 0.6, 0.5, 1.3, 1.4])
    assert said[:4] == [""] * 4
    assert said[4] == "the loss rose from 1 at the start to 1.4"
    assert looks([1.0, 0.6, 1.3, 0.6, 1.3, 0.5]) == [""] * 6, "one hard part is none"


def test_a_loss_that_does_not_fall_is_noticed_after_a_quarter() -> None:
    said = looks([0.7] * 8)
    assert [bool(each) for each in said] == [False] * 5 + [True] * 3
    assert said[5] == "the loss has not fallen: 0.7 at the start, 0.7 at the lowest"
    assert looks([0.7] * 8, course=Course(expects_fall=False)) == [""] * 8, "a trained model's loss is low"


def test_few_steps_say_nothing() -> None:
    assert looks([1.0, 5.0] * 6, steps=2) == [""] * 12
    assert looks([math.nan] * 10) == [""] * 10, "steps that are not finite are another's matter"


def structures(course: Course, *found: tuple[float, float]) -> str:
    return course.look(50, 0.0, 0.5, [hit for hit, _ in found], [miss for _, miss in found])


def test_a_structure_that_falls_silent_is_named() -> None:
    course = Course(expects_fall=False)
    course.note_dice([0.8, 0.7])
    for _ in range(SILENT_LOOKS - 1):
        assert structures(course, (100, 10), (0, LEAST_VOXELS)) == ""
        assert course.is_doubtful, "no weights to go back to"
        course.note_dice([0.8, 0.0])
    assert structures(course, (100, 10), (0, 500)) == (
        "structure 2 fell silent: not a voxel of it was found in 4 looks in a row, after a Dice of 0.70"
    )


@pytest.mark.parametrize(("dice", "missed"), [(0.4, 500.0), (0.9, LEAST_VOXELS - 1.0)])
def test_what_was_hardly_found_or_is_hardly_there_does_not_fall_silent(dice: float, missed: float) -> None:
    course = Course(expects_fall=False)
    course.note_dice([dice])
    assert {structures(course, (0, missed)) for _ in range(10)} == {""}
    assert not course.is_doubtful


def test_the_state_goes_on_where_it_was() -> None:
    whole, first = Course(), Course()
    losses = [1.0, 0.8, 0.9, 1.2, 1.3, 0.7]
    said = looks(losses, steps=20, course=whole)
    looks(losses[:3], steps=20, course=first)
    second = Course.of(json.loads(json.dumps(first.state())))
    later = [second.look(20, loss, index / 20, (), ()) for index, loss in enumerate(losses[3:], start=3)]
    assert later == said[3:]
    assert second == whole
