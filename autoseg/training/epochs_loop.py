"""The training loop over epochs, which goes on in the middle of an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from autoseg.system import progress
from autoseg.training.step_draws import Stream, seed_draws, seek
from autoseg.training.team import Team


class EpochsLoop:
    """nnU-Net's loop over epochs, in steps that are counted once.

    A training that is stopped and resumed takes the steps that are left of its epoch, on the batches that it
    would have had, so that it ends with the weights that it would have had.

    Attributes:
        epoch_outputs: what the steps of the epoch so far gave.
    """

    epoch_outputs: list[dict[str, Any]]
    train_s: float | None
    elapsed_s: float

    def run_training(self) -> None:
        """Train until all epochs are done."""
        began = time.monotonic() - self.elapsed_s
        self.on_train_start()
        total = self.num_epochs * self.num_iterations_per_epoch
        with progress.stage(f"Train {type(self).__name__}", total=total, done=self.steps_done) as advance:
            self._all_epochs(began, advance)
        self.on_train_end()

    def _all_epochs(self, began: float, advance: progress.Advance) -> None:
        while self.current_epoch < self.num_epochs:
            self.on_epoch_start()
            self.on_train_epoch_start()
            while len(self.epoch_outputs) < self.num_iterations_per_epoch:
                self.epoch_outputs.append(self.train_step(next(self.dataloader_train)))
                self.elapsed_s = time.monotonic() - began
                loss = self.epoch_outputs[-1]["loss"]
                advance(1, detail=self.live_words(None if isinstance(loss, torch.Tensor) else loss))
            self.epoch_outputs = on_host(self.epoch_outputs)
            self.on_train_epoch_end(self.epoch_outputs)
            self._validate()
            self.epoch_outputs = []
            self.on_epoch_end()
            # Not by nnU-Net's own end of an epoch: it writes this before it knows the best epoch so far.
            if self.current_epoch % self.save_every == 0 and self.current_epoch < self.num_epochs:
                self.save_for_resuming()

    def _validate(self) -> None:
        count = self.num_val_iterations_per_epoch
        with torch.no_grad():
            self.on_validation_epoch_start()
            self.on_validation_epoch_end(self.shared_validation(self.current_epoch * count, count))

    def shared_validation(self, first: int, count: int) -> list[dict[str, Any]]:
        """What `validation_step` gives for some batches in a row, each computed by one of the devices."""
        found = []
        for number in self.team.mine_of(count):
            seek(self.dataloader_val, first + number)
            found.append(self.validation_step(next(self.dataloader_val)))
        return self.team.in_turn(found)

    def on_train_start(self) -> None:
        """Let the loader go on where the training is."""
        super().on_train_start()  # type: ignore[misc]
        seek(self.dataloader_train, self.steps_done)

    def on_epoch_end(self) -> None:
        """nnU-Net's end of an epoch, without its periodic checkpoint."""
        every, self.save_every = self.save_every, math.inf
        try:
            super().on_epoch_end()  # type: ignore[misc]
        finally:
            self.save_every = every
        self.current_epoch -= 1  # counted already
        self.add_row()
        self.current_epoch += 1

    def seed_step(self) -> None:
        """Seed what the next step draws itself, as dropout does."""
        if not self.stock:
            # Not the same dropout in each share of a batch.
            number = self.steps_done * self.team.size + self.team.rank
            seed_draws(self.seed, Stream.STEP, number, self.device.type)

    def epoch_state(self) -> list[float]:
        """What a restart needs: the losses of the epoch so far."""
        return [float(output["loss"]) for output in self.epoch_outputs]

    def load_epoch(self, state: Mapping[str, Any]) -> None:
        """Go on from the entry ``epoch_losses`` of `state`; older checkpoints begin their epoch again."""
        losses = state.get("epoch_losses", ())
        self.epoch_outputs = [{"loss": np.float32(loss)} for loss in losses]

    # What the trainer brings.
    team: Team
    add_row: Callable[[], None]
    live_words: Callable[[Any], str]
    current_epoch: int
    dataloader_train: Any
    dataloader_val: Any
    device: torch.device
    num_epochs: int
    num_iterations_per_epoch: int
    num_val_iterations_per_epoch: int
    output_folder: str
    save_every: float
    seed: int
    steps_done: int
    stock: bool
    on_epoch_start: Callable[[], None]
    on_train_end: Callable[[], None]
    on_train_epoch_end: Callable[[list[dict[str, Any]]], None]
    on_train_epoch_start: Callable[[], None]
    on_validation_epoch_end: Callable[[list[Any]], None]
    on_validation_epoch_start: Callable[[], None]
    save_for_resuming: Callable[[], None]
    train_step: Callable[[Any], dict[str, Any]]
    validation_step: Callable[[Any], dict[str, Any]]


def on_host(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What steps gave, with losses that lie on a GPU read from there, all at once."""
    losses = [output["loss"] for output in outputs if isinstance(output["loss"], torch.Tensor)]
    if not losses:
        return outputs
    values = iter(torch.stack([loss.reshape(()) for loss in losses]).float().cpu().numpy())
    return [
        {**output, "loss": next(values)} if isinstance(output["loss"], torch.Tensor) else output
        for output in outputs
    ]
