"""What a short training does otherwise than the published one: nnU-Net's recipe is one for 250,000 steps.

Measured on one core and fold 1, whose cases are in no table: nnunet on Hippocampus, two minutes (1,000 steps,
width 8), Dice 0.299 with SGD and 0.868 with AdamW; five minutes (2,300 steps), 0.873 and 0.880; on FetalHead,
two minutes (650 steps), 0.933 and 0.942. SGD with a momentum of 0.99 spends several hundred steps on telling
foreground from background, and tells apart last what looks alike.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from autoseg.plan import Decision
from autoseg.planner.budget import SOURCE, STEPS_FOR_MIRRORING, STEPS_FOR_SGD

if TYPE_CHECKING:
    from autoseg.trainers._base import Trainer

OPTIMISER = ("optimizer_name", "learning_rate", "momentum", "weight_decay")
ADAMW_RATE = 1e-3


def without_mirroring(steps: int, hyperparameters: MutableMapping[str, Any]) -> list[Decision]:
    """Leave mirroring out of a short training, and say so; what a user set stays.

    Args:
        steps: of the training, as far as it is known.
        hyperparameters: of the training; changed.
    """
    if "mirroring" in hyperparameters:
        return []
    mirrored = steps >= STEPS_FOR_MIRRORING
    if not mirrored:
        hyperparameters["mirroring"] = False
    rule = f"samples are mirrored from {STEPS_FOR_MIRRORING} steps on: fewer do not teach every pose"
    return [Decision("mirroring", mirrored, rule, {"steps": steps}, SOURCE)]


def with_adamw(
    trainer: type[Trainer], steps: int, hyperparameters: MutableMapping[str, Any], trained: bool = False
) -> list[Decision]:
    """Give a short training by SGD AdamW in its place, and say so; what a user set stays.

    Args:
        trainer: its class.
        steps: of the training, as far as it is known.
        hyperparameters: of the training; changed.
        trained: whether it starts from the weights of a trained model, which take a lower rate.
    """
    if trainer.optimizer_name != "sgd" or any(name in hyperparameters for name in OPTIMISER):
        return []
    short = steps < STEPS_FOR_SGD
    if short:
        rate = ADAMW_RATE * (trainer.pretrained_rate if trained else 1.0)
        hyperparameters.update(optimizer_name="adamw", learning_rate=rate)
    rule = f"SGD from {STEPS_FOR_SGD} steps on, as published; fewer go further with AdamW"
    return [Decision("optimiser", "adamw" if short else "sgd", rule, {"steps": steps}, SOURCE)]


def optimiser_words(trainer: type[Trainer], hyperparameters: Mapping[str, Any]) -> list[str]:
    """An optimiser that is not the published one, in words."""
    name = hyperparameters.get("optimizer_name", trainer.optimizer_name)
    if name == trainer.optimizer_name:
        return []
    words = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
    rate = hyperparameters.get("learning_rate", trainer.learning_rate)
    return [f"{words[trainer.optimizer_name]} -> {words[name]} (learning rate {rate:g})"]
