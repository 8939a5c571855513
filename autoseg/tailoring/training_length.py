"""What a short training does otherwise than the published one: nnU-Net's recipe is one for 250,000 steps.

Measured on one core and fold 1, whose cases are in no table: nnunet on Hippocampus, two minutes (1,000 steps,
width 8), Dice 0.299 with SGD and 0.868 with AdamW; five minutes (2,300 steps), 0.873 and 0.880; on FetalHead,
two minutes (650 steps), 0.933 and 0.942. SGD with a momentum of 0.99 spends several hundred steps on telling
foreground from background, and tells apart last what looks alike.

At 0.001 AdamW learns too little. At 0.003, after a warm-up and down a cosine, Dice rises by 0.027 on
Hippocampus, 0.054 on generated hearts and 0.007 on FetalHead with 600 steps, by 0.008, 0.011 and -0.001 with
1500; with 3000 steps 0.006 (Hippocampus) and 0.001 (FetalHead) more than by SGD (short_runs.md, fold 0).
Averages of the weights lag behind in such a training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from autoseg.planner.budget import (
    NARROWEST,
    SOURCE,
    STEPS_FOR_MIRRORING,
    STEPS_FOR_SGD,
    Shape,
)
from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.planner.plan import Decision

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

# Hyper-parameters, and why they became what they are.
Chosen = tuple[Hyperparameters, list[Decision]]
ADAMW_RATE = 1e-3
SHORT_RUNS = "autoseg, measured: benchmarks/results/short_runs.md"
HIGH_RATE, WARMUP = 3e-3, 0.05


def without_mirroring(steps: int, chosen: Hyperparameters) -> Chosen:
    """Leave mirroring out of a short training, and say so; what a user set stays.

    Args:
        steps: length of the training, as far as it is known.
        chosen: the hyper-parameters so far.
    """
    if chosen.mirroring is not None:
        return chosen, []
    mirrored = steps >= STEPS_FOR_MIRRORING
    rule = f"samples are mirrored from {STEPS_FOR_MIRRORING} steps on: fewer do not teach every pose"
    decision = Decision("mirroring", mirrored, rule, {"steps": steps}, SOURCE)
    return chosen if mirrored else replace(chosen, mirroring=False), [decision]


def with_adamw(trainer: type[Trainer], steps: int, chosen: Hyperparameters, trained: bool = False) -> Chosen:
    """Give a short training by SGD AdamW in its place, and say so; what a user set stays.

    Args:
        trainer: its class.
        steps: length of the training, as far as it is known.
        chosen: the hyper-parameters so far.
        trained: whether it starts from the weights of a trained model, which take a lower rate.
    """
    optimiser = (chosen.optimizer_name, chosen.learning_rate, chosen.momentum, chosen.weight_decay)
    if trainer.optimizer_name != "sgd" or any(value is not None for value in optimiser):
        return chosen, []
    short = steps < STEPS_FOR_SGD
    if short:
        rate = ADAMW_RATE * (trainer.pretrained_rate if trained else 1.0)
        chosen = replace(chosen, optimizer_name="adamw", learning_rate=rate)
    rule = f"SGD from {STEPS_FOR_SGD} steps on, as published; fewer go further with AdamW"
    return chosen, [Decision("optimiser", "adamw" if short else "sgd", rule, {"steps": steps}, SOURCE)]


def with_high_rate(steps: int, chosen: Hyperparameters) -> Chosen:
    """Give a training by AdamW from random weights three times the rate, and say so.

    The rate rises over `WARMUP` of the training and falls down a cosine. A schedule that a user set stays,
    and so does the rate then.

    Args:
        steps: length of the training, as far as it is known.
        chosen: the hyper-parameters so far, with AdamW as of `with_adamw`.
    """
    if chosen.schedule is not None or chosen.warmup is not None:
        return chosen, []
    chosen = replace(chosen, learning_rate=HIGH_RATE, schedule="cosine", warmup=WARMUP)
    rule = f"fewer than {STEPS_FOR_SGD} steps learn more at {HIGH_RATE:g}, after a warm-up and down a cosine"
    return chosen, [Decision("learning rate", HIGH_RATE, rule, {"steps": steps}, SHORT_RUNS)]


def optimiser_words(trainer: type[Trainer], chosen: Hyperparameters) -> list[str]:
    """An optimiser that is not the published one, in words."""
    name = chosen.optimizer_name or trainer.optimizer_name
    if name == trainer.optimizer_name:
        return []
    words = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
    rate = f"learning rate {chosen.learning_rate or trainer.learning_rate:g}"
    if chosen.warmup is not None:
        rate += f", warm-up {chosen.warmup:.0%}"
    if chosen.schedule is not None:
        rate += f", {chosen.schedule}"
    return [f"{words[trainer.optimizer_name]} -> {words[name]} ({rate})"]


# A look at the validation patches and a lower learning rate after each tenth of the training.
EPOCHS = 10

# Of the planned patch's voxels, but never fewer than the second number: 16 x 32 x 32 or 128 x 128 voxels, in
# which a structure is seen with what lies around it.
SMALL_PATCH = 1 / 8
LEAST_VOXELS = 16_384


def count_steps(steps: int, chosen: Hyperparameters) -> Chosen:
    """Make a training as long as `steps`; a short one is not mirrored, in training and at prediction.

    Args:
        steps: steps of the whole training; rounded down to a multiple of the epochs where there are more.
        chosen: the hyper-parameters so far. Mirroring stays as a user set it.
    """
    epochs = min(EPOCHS, steps)
    each = steps // epochs
    rule = f"{steps} steps were requested, in {epochs} epochs"
    found = Decision("steps", epochs * each, rule, {"steps": steps}, "requested")
    chosen, mirroring = without_mirroring(steps, replace(chosen, epochs=epochs, steps_per_epoch=each))
    return chosen, [found, *mirroring]


def small_shape(published: Shape, smallest_batch: int, voxels: int) -> Shape:
    """A small batch, width and patch, whatever is measured: for a look at the whole path in minutes.

    Args:
        published: batch and width of the plan.
        smallest_batch: what the trainer's normalisation bears.
        voxels: voxels of the planned patch.
    """
    width = None if published.width is None else min(NARROWEST, published.width)
    share = min(1.0, max(SMALL_PATCH, LEAST_VOXELS / voxels))
    return Shape(min(smallest_batch, published.batch_size), width, 1.0, share)


def step_changes(trainer: type[Trainer], steps: int | None) -> list[str]:
    """How a number of steps differs from the published length, in words."""
    if steps is None:
        return []
    published = f"{trainer.epochs} epochs of {trainer.steps_per_epoch} steps"
    return [f"schedule of {published} -> {steps} steps"]
