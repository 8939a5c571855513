"""Trainings that go astray at their start, in their middle and at their end, of three trainers.

Each is noticed, tried again once from weights of before the fault at a lower rate where there is time left
for it, and marked in the record in any case; where no fault is planted nothing is said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from autoseg.errors import RunError
from autoseg.training.cost import _changes

EPOCHS, STEPS = 12, 30
# Their optimisers and schedules differ: SGD and poly, AdamW and Adam with cosine.
TRAINERS = ("nnunet", "brainunet", "mobilenetv2_unet")
# By the number of the epoch with which a fault begins. A structure has to be found before it can be missed.
PLACES = {"start": 0, "middle": 5, "end": 11}
# A lower rate heals what is planted.
Script = Callable[[Any], float]


def is_astray(trainer: Any, place: str) -> bool:
    return bool(trainer.current_epoch >= PLACES[place] and trainer.rate_factor == 1.0)


def falling(trainer: Any) -> float:
    return 1.0 - 0.05 * float(trainer.current_epoch)


def not_finite(place: str) -> Script:
    """From the fourth step of an epoch on."""
    return lambda trainer: (
        math.nan
        if is_astray(trainer, place) and trainer.steps_done >= STEPS * PLACES[place] + 3
        else falling(trainer)
    )


def not_falling(place: str) -> Script:
    return lambda trainer: (
        (1.0 if place == "start" else 1.6) if is_astray(trainer, place) else falling(trainer)
    )


def marked(trainer: Any) -> str:
    """What the record says of it."""
    return "; ".join(_changes(trainer))


def check_retried(trainer: Any, fault_step: int) -> None:
    """Once, from weights of before the fault, at a tenth of the rate, to the end."""
    found = re.search(r"tried again from the weights of step (\d+), at 0.1 of", trainer.retried)
    assert found is not None, trainer.retried
    assert max(0, fault_step - 2 * STEPS) <= int(found[1]) <= fault_step
    assert trainer.retried.endswith("of the learning rate"), "once"
    assert trainer.rate_factor == 0.1 and trainer.steps_done == EPOCHS * STEPS
    assert f"went astray at {trainer.retried}" in marked(trainer)


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("place", PLACES)
def test_steps_that_are_not_finite(scripted: Callable[..., Any], name: str, place: str) -> None:
    trainer = scripted(not_finite(place), name=name)
    trainer.run_training()
    fault = STEPS * PLACES[place] + 3
    if place == "end":
        assert "5 steps in a row were not finite" in trainer.broken_off and not trainer.retried
        assert trainer.steps_done == fault + 5
        assert f"5 of {trainer.steps_done} steps left out: not finite" in marked(trainer)
    else:
        check_retried(trainer, fault)
        assert trainer.left_out == 5


def test_where_no_step_was_ever_finite_the_run_fails_in_words(scripted: Callable[..., Any]) -> None:
    trainer = scripted(lambda _: math.nan)
    with pytest.raises(RunError, match="learnt nothing: not one of its 5 steps was finite"):
        trainer.run_training()


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("place", PLACES)
def test_a_loss_that_does_not_fall_or_rises_again(
    scripted: Callable[..., Any], name: str, place: str
) -> None:
    trainer = scripted(not_falling(place), name=name)
    trainer.run_training()
    assert trainer.steps_done == EPOCHS * STEPS
    if place == "end":
        assert trainer.rate_factor == 1.0, "nothing could be learnt in what is left"
        assert trainer.retried == "step 360, the last look: its loss is above that of the start"
        assert trainer.retried in marked(trainer)
    elif place == "middle":
        check_retried(trainer, STEPS * PLACES[place])
    else:
        assert "the loss has not fallen" in trainer.retried and "tried again" in trainer.retried
        assert trainer.rate_factor == 0.1 and trainer.retried in marked(trainer)


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("place", PLACES)
def test_a_structure_that_falls_silent(scripted: Callable[..., Any], name: str, place: str) -> None:
    first = max(1, PLACES[place])

    def found(trainer: Any) -> tuple[float, float]:
        return (
            (0.0, 400.0) if trainer.current_epoch >= first and is_astray(trainer, place) else (300.0, 100.0)
        )

    trainer = scripted(falling, found, name=name)
    trainer.run_training()
    assert trainer.steps_done == EPOCHS * STEPS
    if place == "end":
        assert "the last look: nothing of structure 1 was found, which was found before" in trainer.retried
        assert trainer.retried in marked(trainer)
    else:
        check_retried(trainer, STEPS * first)
        assert "structure 1 fell silent" in trainer.retried


@pytest.mark.parametrize("name", TRAINERS)
def test_of_a_training_on_its_way_nothing_is_said(scripted: Callable[..., Any], name: str) -> None:
    trainer = scripted(falling, name=name)
    trainer.run_training()
    assert trainer.retried == trainer.broken_off == "" and trainer.rate_factor == 1.0
    assert "astray" not in marked(trainer)
