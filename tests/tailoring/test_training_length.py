"""What a short training does otherwise than the published one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from autoseg import plugins
from autoseg.data.dataset import load_dataset
from autoseg.data.fingerprint import extract_fingerprint
from autoseg.data.synthetic import make_demo
from autoseg.planner.budget import STEPS_FOR_MIRRORING, STEPS_FOR_SGD
from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.planner.plan import Plan
from autoseg.tailoring.request import Request
from autoseg.tailoring.tailored_plan import tailor
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.training_length import (
    ADAMW_RATE,
    HIGH_RATE,
    WARMUP,
    optimiser_words,
    with_adamw,
    with_high_rate,
    without_mirroring,
)
from autoseg.tailoring.variant import Variant

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


def test_from_random_weights_a_short_training_has_a_high_rate_and_says_so() -> None:
    adamw = Hyperparameters(optimizer_name="adamw", learning_rate=ADAMW_RATE)
    chosen, (decision,) = with_high_rate(STEPS_FOR_SGD - 1, adamw)
    assert chosen.given == {
        "optimizer_name": "adamw",
        "learning_rate": HIGH_RATE,
        "schedule": "cosine",
        "warmup": WARMUP,
    }
    assert decision.value == HIGH_RATE
    assert optimiser_words(SGD, chosen) == ["SGD -> AdamW (learning rate 0.003, warm-up 5%, cosine)"]


def test_a_schedule_that_a_user_set_keeps_the_usual_rate() -> None:
    for given in ({"schedule": "plateau"}, {"warmup": 0.2}):
        wanted = Hyperparameters(optimizer_name="adamw", learning_rate=ADAMW_RATE, **given)
        assert with_high_rate(10, wanted) == (wanted, [])


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


def test_the_plan_and_the_row_say_what_a_short_training_does(tmp_path: Path) -> None:
    _, root = make_demo(tmp_path, cases=(1, 8))
    dataset = load_dataset(root)
    data = (dataset, extract_fingerprint(dataset, workers=1))

    def planned(trainer: str, steps: int) -> Plan:
        return tailor(Variant(*data, Choice.parse(trainer), Request(torch.device("cpu"), steps=steps)))

    plan = planned("nnunet:width=8", 600)
    training = plan.require_training()
    assert training.hyperparameters.learning_rate == HIGH_RATE
    assert (training.hyperparameters.schedule, training.hyperparameters.warmup) == ("cosine", WARMUP)
    assert "SGD -> AdamW (learning rate 0.003, warm-up 5%, cosine)" in training.changes
    (decision,) = (each for each in plan.decisions if each.name == "learning rate")
    assert decision.inputs == {"steps": 600} and "short_runs.md" in decision.source
    again = Plan.from_json(plan.to_json()).require_training()
    assert again.hyperparameters == training.hyperparameters
    given = planned("nnunet:width=8:schedule=poly", 600).require_training().hyperparameters
    assert (given.learning_rate, given.warmup) == (ADAMW_RATE, None)
    own = planned("nnunet:learning_rate=0.001:optimizer_name=adamw", 600).require_training()
    assert (own.hyperparameters.learning_rate, own.hyperparameters.warmup) == (0.001, None)
