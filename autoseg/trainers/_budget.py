"""The training loop that ends on time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg import progress

# One part of the budget is one "epoch": a look at the validation patches, a line in the log.
PARTS = 20
CHECKPOINT_EVERY_S = 60.0


class BudgetedLoop:
    """`run_training` by the clock instead of by epochs, where the run has a budget.

    The learning rate follows the part of the time that is used, so that it is zero when the time is over,
    however fast the machine is. Time spent before an interruption counts.
    """

    budget_s: float | None
    elapsed_s: float
    steps_done: int
    step_seconds: float = 0.0
    # Set by a signal; the loop looks at it between two steps.
    stop_requested: bool = False

    def run_training(self) -> None:
        """Train until the budget or, without one, the number of epochs is used up."""
        if self.budget_s is None:
            super().run_training()  # type: ignore[misc]
            return
        began = time.monotonic()
        self.on_train_start()
        # Preparing the loaders belongs to the budget: the user's clock is running.
        clock = Clock(self.budget_s, self.elapsed_s + time.monotonic() - began)
        with progress.stage(f"Train {type(self).__name__}", total=self.budget_s) as advance:
            advance(clock.elapsed)
            self._train_until(clock, advance)
        self.elapsed_s = clock.elapsed
        self.on_train_end()

    def _train_until(self, clock: Clock, advance: Callable[..., None]) -> None:
        saved = time.monotonic()
        while not clock.over(self.step_seconds):
            self._one_part(clock, advance)
            self.elapsed_s = clock.elapsed
            if time.monotonic() - saved > CHECKPOINT_EVERY_S:
                self.save_for_resuming()
                saved = time.monotonic()

    def save_for_resuming(self) -> None:
        """Write the checkpoint that a restart goes on from."""
        # nnU-Net saves before it counts the epoch, and so adds one; here the part is counted already.
        self.current_epoch -= 1
        self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_latest.pth"))
        self.current_epoch += 1

    def _one_part(self, clock: Clock, advance: Callable[..., None]) -> None:
        part = int(clock.progress * PARTS)
        self.on_epoch_start()
        self.network.train()
        losses = []
        while int(clock.progress * PARTS) == part and not clock.over(self.step_seconds):
            if self.stop_requested:
                self.elapsed_s = clock.elapsed
                raise KeyboardInterrupt
            before = clock.elapsed
            rate = self.set_learning_rate(clock.progress)
            losses.append(float(self.train_step(next(self.dataloader_train))["loss"]))
            self.steps_done += 1
            taken = clock.elapsed - before
            self.step_seconds = taken if self.steps_done == 1 else 0.9 * self.step_seconds + 0.1 * taken
            advance(taken, detail=f"step {self.steps_done}, loss {losses[-1]:.3f}")
        if losses:
            self._log_part(losses, rate)

    def _log_part(self, losses: list[float], rate: float) -> None:
        """Validate on as many patches as the time of two steps allows, and write the log."""
        self.logger.log("lrs", rate, self.current_epoch)
        self.logger.log("train_losses", float(np.mean(losses)), self.current_epoch)
        with torch.no_grad():
            self.on_validation_epoch_start()
            outputs = [self.validation_step(next(self.dataloader_val)) for _ in range(2)]
            self.on_validation_epoch_end(outputs)
        self.logger.log("epoch_end_timestamps", time.time(), self.current_epoch)
        dice = self.logger.get_value("dice_per_class_or_region", step=-1)
        self.print_to_log_file(
            f"step {self.steps_done}: learning rate {rate:.2e}, loss {np.mean(losses):.4f}, "
            f"patch Dice {', '.join(f'{value:.3f}' for value in dice)}"
        )
        self.current_epoch += 1

    # What the trainer brings.
    logger: Any
    network: Any
    dataloader_train: Any
    dataloader_val: Any
    current_epoch: int
    output_folder: str
    on_train_start: Callable[[], None]
    on_train_end: Callable[[], None]
    on_epoch_start: Callable[[], None]
    on_validation_epoch_start: Callable[[], None]
    on_validation_epoch_end: Callable[[list[Any]], None]
    set_learning_rate: Callable[[float], float]
    train_step: Callable[[Any], dict[str, Any]]
    validation_step: Callable[[Any], dict[str, Any]]
    save_checkpoint: Callable[[str], None]
    print_to_log_file: Callable[..., None]


class Clock:
    """Time used of a budget, in seconds, earlier sessions counted in."""

    def __init__(self, budget_s: float, used_s: float = 0.0) -> None:
        self.budget_s = budget_s
        self._start = time.monotonic() - used_s

    @property
    def elapsed(self) -> float:
        """Seconds used."""
        return time.monotonic() - self._start

    @property
    def progress(self) -> float:
        """Part of the budget used, 0 to 1."""
        return min(1.0, self.elapsed / self.budget_s)

    def over(self, next_step_s: float = 0.0) -> bool:
        """Whether there is no time for another step of about `next_step_s` seconds."""
        return self.elapsed + 0.5 * next_step_s >= self.budget_s
