"""A training that is as long as a number of steps, whatever the clock says.

A wall-clock budget measures the machine, so that no two runs under one are the same. A number of steps
measures nothing: under one seed and one number of threads, two runs end with the same weights, bit for bit.
The steps are divided into epochs, so that nnU-Net's own loop makes them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from autoseg.plan import Decision
from autoseg.planner.budget import NARROWEST, Shape
from autoseg.short_training import without_mirroring

if TYPE_CHECKING:
    from autoseg.trainers._base import Trainer

# A look at the validation patches and a lower learning rate after each tenth of the training.
EPOCHS = 10
# Of the planned patch's voxels; less would hold no structure of a small volume.
SMALL_PATCH = 1 / 8


def count_steps(steps: int, hyperparameters: MutableMapping[str, Any]) -> list[Decision]:
    """Make a training as long as `steps`; a short one is not mirrored, in training and at prediction.

    Args:
        steps: in all; rounded down to a multiple of the number of epochs where it is larger than that.
        hyperparameters: of the training; changed. Mirroring stays as a user set it.

    Returns:
        What was decided, for the plan.
    """
    epochs = min(EPOCHS, steps)
    each = steps // epochs
    hyperparameters.update(epochs=epochs, steps_per_epoch=each)
    rule = f"{steps} steps were asked for, in {epochs} epochs"
    found = [Decision("steps", epochs * each, rule, {"steps": steps}, "asked for")]
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
