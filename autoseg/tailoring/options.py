"""What the options of a choice mean to its trainer: for its training, its network, its normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoseg.errors import UsageError
from autoseg.planner.hyperparameters import KINDS, Hyperparameters
from autoseg.tailoring.trainer_spec import NORMALIZATION, START, Choice, Start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autoseg.training.trainer import Trainer


def network_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a choice's options that are the network's."""
    elsewhere = (*KINDS, *START, NORMALIZATION)
    return {key: value for key, value in options.items() if key not in elsewhere}


def normalization_of(trainer: type[Trainer], choice: Choice) -> str:
    """How intensities are normalised: as the user says, else as the trainer does."""
    return str(choice.options.get(NORMALIZATION, trainer.normalization))


def is_stock(choice: Choice) -> bool:
    """Whether a choice asks for nnU-Net itself, unmodified."""
    return bool(choice.options.get("stock", False))


def check_taken_up(choice: Choice, options: Mapping[str, Any]) -> None:
    """Refuse options that a plan taken over from a model has decided already.

    Args:
        choice: a trainer spec with ``plan_from``.
        options: the trainer spec's options for the network.

    Raises:
        UsageError: naming them.
    """
    decided = [*options, *(key for key in (NORMALIZATION, "orientations") if key in choice.options)]
    if decided:
        raise UsageError(
            f"{choice}: {', '.join(decided)} cannot be chosen where the plan is another model's (plan_from). "
            f"Leave the option out, or plan_from."
        )


def rate_changes(trainer: type[Trainer], chosen: Hyperparameters, start: Start) -> list[str]:
    """The lower learning rate of a training that starts from a trained model, in words."""
    if chosen.learning_rate is not None or not start.init.is_trained_model:
        return []
    rate = trainer.learning_rate
    return [f"learning rate {rate:g} -> {rate * trainer.pretrained_rate:g} (weights of a trained model)"]


def wanted_orientations(trainer: type[Trainer], choice: Choice) -> int:
    """Along how many axes a volume is to be cut into slices, as the user says or the trainer does."""
    wanted: int = choice.options.get("orientations", trainer.orientations)
    return wanted
