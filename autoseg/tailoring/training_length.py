"""What a short training does otherwise than the published one: nnU-Net's recipe is one for 250,000 steps.

Measured on one core and fold 1, whose cases are in no table: nnunet on Hippocampus, two minutes (1,000 steps,
width 8), Dice 0.299 with SGD and 0.868 with AdamW; five minutes (2,300 steps), 0.873 and 0.880; on FetalHead,
two minutes (650 steps), 0.933 and 0.942. SGD with a momentum of 0.99 spends several hundred steps on telling
foreground from background, and tells apart last what looks alike.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from autoseg.planner.budget import NARROWEST, SOURCE, STEPS_FOR_MIRRORING, STEPS_FOR_SGD, Shape
from autoseg.planner.plan import Decision

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

OPTIMISER = ("optimizer_name", "learning_rate", "momentum", "weight_decay")
ADAMW_RATE = 1e-3


def without_mirroring(steps: int, hyperparameters: MutableMapping[str, Any]) -> list[Decision]:
    """Leave mirroring out of a short training, and say so; what a user set stays.

    Args:
        steps: length of the training, as far as it is known.
        hyperparameters: hyperparameters of the training; changed.
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
        steps: length of the training, as far as it is known.
        hyperparameters: hyperparameters of the training; changed.
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


# A look at the validation patches and a lower learning rate after each tenth of the training.
EPOCHS = 10

# Of the planned patch's voxels; less would hold no structure of a small volume.
SMALL_PATCH = 1 / 8


def count_steps(steps: int, hyperparameters: MutableMapping[str, Any]) -> list[Decision]:
    """Make a training as long as `steps`; a short one is not mirrored, in training and at prediction.

    Args:
        steps: in all; rounded down to a multiple of the number of epochs where it is larger than that.
        hyperparameters: hyperparameters of the training; changed. Mirroring stays as a user set it.

    Returns:
        What was decided, for the plan.
    """
    epochs = min(EPOCHS, steps)
    each = steps // epochs
    hyperparameters.update(epochs=epochs, steps_per_epoch=each)
    rule = f"{steps} steps were requested, in {epochs} epochs"
    found = [Decision("steps", epochs * each, rule, {"steps": steps}, "requested")]
    return [*found, *without_mirroring(steps, hyperparameters)]


def small_shape(published: Shape, smallest_batch: int) -> Shape:
    """A small batch, width and patch, whatever is measured: for a look at the whole path in minutes.

    Args:
        published: batch and width of the plan.
        smallest_batch: what the trainer's normalisation bears.
    """
    width = None if published.width is None else min(NARROWEST, published.width)
    return Shape(min(smallest_batch, published.batch_size), width, 1.0, SMALL_PATCH)


def step_changes(trainer: type[Trainer], steps: int | None) -> list[str]:
    """How a number of steps differs from the published length, in words."""
    if steps is None:
        return []
    published = f"{trainer.epochs} epochs of {trainer.steps_per_epoch} steps"
    return [f"schedule of {published} -> {steps} steps"]
