"""Going on from a checkpoint: weights, optimiser, log, and how far the training had come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer


def resume(trainer: Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Give a trainer the state of a checkpoint.

    Args:
        trainer: a trainer whose network, optimiser and loss are built.
        checkpoint: the content of a checkpoint that `Trainer.save_checkpoint` or nnU-Net wrote.
    """
    weights = {key.removeprefix("module."): value for key, value in checkpoint["network_weights"].items()}
    trainer._bare_network().load_state_dict(weights)
    trainer.optimizer.load_state_dict(checkpoint["optimizer_state"])
    if trainer.grad_scaler is not None and checkpoint["grad_scaler_state"] is not None:
        trainer.grad_scaler.load_state_dict(checkpoint["grad_scaler_state"])
    trainer.logger.load_checkpoint(checkpoint["logging"])
    trainer.my_init_kwargs = dict(checkpoint["init_args"])
    trainer.current_epoch = checkpoint["current_epoch"]
    trainer._best_ema = checkpoint["_best_ema"]
    trainer.inference_allowed_mirroring_axes = checkpoint["inference_allowed_mirroring_axes"]
    # Taken out, for it can hold weights, and nnU-Net writes these arguments to its debug file.
    state = trainer.my_init_kwargs.pop("autoseg", {})
    trainer.elapsed_s = float(state.get("elapsed_s", 0.0))
    trainer.steps_done = int(state.get("steps", 0))
    trainer.load_steps(state)
    trainer.load_epoch(state)
    trainer.load_seen(state)
    trainer.load_best(state)
    trainer.load_average(state)
    if trainer.plateau is not None and "plateau" in state:
        trainer.plateau.load(state["plateau"])
