"""What a short training does otherwise than the published one."""

from __future__ import annotations

from typing import Any

import pytest

from autoseg import plugins
from autoseg.planner.budget import STEPS_FOR_MIRRORING, STEPS_FOR_SGD
from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.tailoring.training_length import ADAMW_RATE, optimiser_words, with_adamw, without_mirroring

SGD = plugins.trainer_class("nnunet")
ADAM = plugins.trainer_class("mobilenetv2_unet")


def test_a_short_training_by_sgd_takes_adamw_and_says_so() -> None:
    chosen, (decision,) = with_adamw(SGD, STEPS_FOR_SGD - 1, Hyperparameters())
    assert chosen == Hyperparameters(optimizer_name="adamw", learning_rate=ADAMW_RATE)
    assert decision.value == "adamw"
    assert optimiser_words(SGD, chosen) == ["SGD -> AdamW (learning rate 0.001)"]


def test_from_a_trained_model_the_rate_is_lower() -> None:
    chosen, _ = with_adamw(SGD, 100, Hyperparameters(), trained=True)
    assert chosen.learning_rate == pytest.approx(ADAMW_RATE * SGD.pretrained_rate)
    assert SGD.pretrained_rate < 1


@pytest.mark.parametrize(
    ("trainer", "steps", "given"),
    [
        (SGD, STEPS_FOR_SGD, {}),
        (SGD, 100, {"learning_rate": 0.02}),
        (SGD, 100, {"optimizer_name": "sgd"}),
        (ADAM, 100, {}),
    ],
)
def test_long_trainings_others_and_what_a_user_set_stay(
    trainer: Any, steps: int, given: dict[str, Any]
) -> None:
    chosen, decisions = with_adamw(trainer, steps, Hyperparameters(**given))
    assert chosen.given == given
    assert all(each.value == "sgd" for each in decisions)
    assert optimiser_words(trainer, chosen) == []


def test_mirroring_goes_and_stays_likewise() -> None:
    short, (decision,) = without_mirroring(STEPS_FOR_MIRRORING - 1, Hyperparameters())
    assert short == Hyperparameters(mirroring=False) and decision.value is False
    wanted = Hyperparameters(mirroring=True)
    assert without_mirroring(10, wanted) == (wanted, [])
