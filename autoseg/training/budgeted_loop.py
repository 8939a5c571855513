"""The training loop that ends on time."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from autoseg.run import LATEST
from autoseg.system import progress
from autoseg.training import second_look
from autoseg.training.checkpoint_files import NotWritten
from autoseg.training.legs import Leg, draw_anew, settle
from autoseg.training.schedule import Plateau
from autoseg.training.step_draws import seek
from autoseg.training.step_timing import StepTiming
from autoseg.training.team import ALONE, Team

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

log = logging.getLogger(__name__)

# One part of the budget is one "epoch": a look at the validation patches, a line in the log.
PARTS = 20
# Where the validation loss steers the training: more looks, at patches that stay the same, so that two
# looks differ by the network alone; and how much of the time they may take.
PARTS_OF_A_PLATEAU = 40
VALIDATION_FRACTION = 0.05
MOST_VALIDATION_BATCHES = 16
CHECKPOINT_EVERY_S = 60.0
CHECKPOINT_EVERY_S_OF_A_LONG_RUN = 600.0
# By how much of a budget its last step may pass it.
MOST_OVER = 0.02


class BudgetedLoop:
    """`run_training` by the clock instead of by epochs, where the run has a budget.

    The learning rate follows the part of the time that is used, so that it is zero when the time is over,
    however fast the machine is. Time spent before an interruption counts.
    """

    train_s: float | None
    elapsed_s: float
    steps_done: int
    step_seconds: float = 0.0
    # Set by a signal; the loop looks at it between two steps.
    stop_requested: bool = False
    validation_s: float = 0.0
    # Of a training that is paused to be judged; None: it goes to its end in one.
    leg: Leg | None = None
    paused: bool = False
    # Seconds that predicting the held-out cases is expected to take, as measured on this network.
    reserved_s: float = 0.0
    # Called once, after the first part: whether steps take as long as planned.
    second_look: Callable[[], None] | None = None
    # What a lack of memory changed in the plan, in words.
    memory_changes: Sequence[str] = ()
    _held_batches: list[Any] | None = None
    _saved_at: float | None = None
    # Part of the budget that was used before this start.
    _began_at: float = 0.0

    @property
    def parts(self) -> int:
        """Looks at the validation patches in the whole budget."""
        return PARTS if self.plateau is None else PARTS_OF_A_PLATEAU

    def looks_in(self, epochs: int) -> int:
        """Looks that stand for some epochs: under a budget as many as lie in the same share of the time."""
        if self.train_s is None:
            return epochs
        return max(1, round(epochs * PARTS_OF_A_PLATEAU / self.epochs))

    def progress_of(self, clock: Clock) -> float:
        """How far the schedule of the learning rate is, 0 to 1: as far as the time, or nnU-Net's epochs."""
        if self.stock:
            return self.steps_done // self.steps_per_epoch / self.epochs
        if self.leg is not None:
            return self.leg.progress(clock.elapsed, clock.train_s, self.warmup)
        return clock.progress

    @property
    def is_over(self) -> bool:
        """Whether training is to end before its time."""
        published_steps = self.epochs * self.steps_per_epoch
        ended = self.stopped_early or bool(self.broken_off)
        return ended or (self.stock and self.steps_done >= published_steps)

    def run_training(self) -> None:
        """Train until the budget or, without one, the number of epochs is used up."""
        if self.train_s is None:
            super().run_training()  # type: ignore[misc]
            return
        began = time.monotonic()
        self.on_train_start()
        # Preparing the loaders belongs to the budget: the user's clock is running.
        until_s = math.inf if self.leg is None else self.leg.until_s
        clock = Clock(self.train_s, self.elapsed_s + time.monotonic() - began, until_s, self.team)
        self._began_at = clock.progress
        if self.leg is not None and self.steps_done:
            draw_anew(cast("Trainer", self))
        self.print_to_log_file(self._rescaling(self.train_s))
        name = f"Train {type(self).__name__}"
        with progress.stage(name, total=self.train_s, done=clock.elapsed) as advance:
            self._train_until(clock, advance)
        self.elapsed_s = clock.elapsed
        self.paused = until_s < self.train_s and not self.is_over
        if self.paused:
            self.save_for_resuming()
            settle(cast("Trainer", self))
        else:
            self.on_train_end()

    def _rescaling(self, train_s: float) -> str:
        if self.stock:
            return f"stock schedule of {self.epochs} epochs, stopped after {train_s:.0f} s of training"
        return f"schedule of {self.epochs} epochs -> {train_s:.0f} s of training, in {self.parts} parts"

    def _train_until(self, clock: Clock, advance: Callable[..., None]) -> None:
        while not clock.over(self.step_seconds) and not self.is_over:
            self._one_part(clock, advance)
            clock.tick()
            self.elapsed_s = clock.elapsed
            self.save_now_and_then()
            self._look_again(clock)

    def _look_again(self, clock: Clock) -> None:
        """The second look, once enough steps were timed; of what goes on, steps of this start."""
        seen = (clock.progress - self._began_at) / max(1 - self._began_at, 1e-9)
        due = seen >= second_look.AFTER and self.timing.steps >= second_look.FEWEST
        if self.second_look is None or not due:
            return
        look, self.second_look = self.second_look, None
        look()
        # The time for the prediction may have been measured anew.
        clock.train_s = self.train_s or clock.train_s

    def save_for_resuming(self) -> None:
        """Write the checkpoint that a restart goes on from; where it cannot be written, say so and go on."""
        # nnU-Net saves before it counts the epoch, and so adds one; here the part is counted already.
        self.current_epoch -= 1
        try:
            self.save_checkpoint(str(Path(self.output_folder) / LATEST))
        except NotWritten as problem:
            log.warning("%s", problem)
        finally:
            self.current_epoch += 1

    def save_now_and_then(self) -> None:
        """Save if the last time is long enough ago; seldom in a long training, whose files may be large."""
        is_long = (self.train_s or math.inf) > 3600
        every = CHECKPOINT_EVERY_S_OF_A_LONG_RUN if is_long else CHECKPOINT_EVERY_S
        now = time.monotonic()
        if self._saved_at is None:
            self._saved_at = now
        if now - self._saved_at > every:
            self.save_for_resuming()
            self._saved_at = time.monotonic()

    def between_steps(self) -> None:
        """In nnU-Net's own loop, which knows no signals: stop where one requires it, save now and then.

        Raises:
            KeyboardInterrupt: if a signal requested an end.
        """
        if self.team.agreed(self.stop_requested):
            raise KeyboardInterrupt
        self.save_now_and_then()

    def _one_part(self, clock: Clock, advance: Callable[..., None]) -> None:
        part = int(clock.progress * self.parts)
        self.on_epoch_start()
        self.network.train()
        losses = []
        while self._goes_on(part, clock) and not clock.over(self.step_seconds) and not self.is_over:
            if self.team.agreed(self.stop_requested):
                self.elapsed_s = clock.elapsed
                raise KeyboardInterrupt
            before = clock.elapsed
            self.timing.begin()
            rate = self.set_learning_rate(self.progress_of(clock))
            losses.append(float(self.train_step(next(self.dataloader_train))["loss"]))
            self.timing.end()
            clock.tick()
            taken = clock.elapsed - before
            self.step_seconds = taken if self.steps_done == 1 else 0.9 * self.step_seconds + 0.1 * taken
            advance(taken, detail=f"step {self.steps_done}, {self.live_words(losses[-1])}")
            if self.train_s is not None and self.train_s > 3600:  # a part of it is minutes long
                self.elapsed_s = clock.elapsed
                self.save_now_and_then()
        if losses:
            finite = [loss for loss in losses if math.isfinite(loss)]
            self.elapsed_s = clock.elapsed
            self._log_part(finite or losses, rate)
            self.look_at_steps()

    def _goes_on(self, part: int, clock: Clock) -> bool:
        """Whether a part goes on: to its end, or until there is time again for a look."""
        too_early = self.plateau is not None and self.validation_s > VALIDATION_FRACTION * clock.elapsed
        return too_early or int(clock.progress * self.parts) == part

    def _validated(self) -> list[Any]:
        """What `validation_step` gives for two new batches or, where losses are compared, always the same."""
        if self.plateau is None and not self.best_checkpoints:
            return self.shared_validation(2 * self.current_epoch, 2)
        began = time.monotonic()
        if self._held_batches is None:
            self._outputs_of(*self._draw(1))
            affordable = VALIDATION_FRACTION * (self.train_s or 0.0) / self.parts / (time.monotonic() - began)
            number = self.team.agreed(min(max(int(affordable), 1), MOST_VALIDATION_BATCHES))
            self._held_batches = self._draw(number)
        mine = self.team.mine_of(len(self._held_batches))
        outputs = self.team.in_turn([self._outputs_of(self._held_batches[i]) for i in mine])
        self.validation_s = self.team.agreed(self.validation_s + time.monotonic() - began)
        return outputs

    def _draw(self, number: int) -> list[Any]:
        """Batches that are the same after a restart."""
        state = np.random.get_state()
        np.random.seed(self.seed % 2**32)
        seek(self.dataloader_val, 0)
        batches = [next(self.dataloader_val) for _ in range(number)]
        np.random.set_state(state)
        return batches

    def _outputs_of(self, batch: Any) -> Any:
        # nnU-Net's step writes into the target where there is an ignore label.
        return self.validation_step(copy.deepcopy(batch))

    def _log_part(self, losses: list[float], rate: float) -> None:
        """Look at validation patches, and write the log."""
        self.logger.log("lrs", rate, self.current_epoch)
        self.logger.log("train_losses", float(np.mean(losses)), self.current_epoch)
        with torch.no_grad():
            self.on_validation_epoch_start()
            self.on_validation_epoch_end(self._validated())
        self.logger.log("epoch_end_timestamps", time.time(), self.current_epoch)
        dice = self.logger.get_value("dice_per_class_or_region", step=-1)
        self.print_to_log_file(
            f"step {self.steps_done}: learning rate {rate:.2e}, loss {np.mean(losses):.4f}, "
            f"patch Dice {', '.join(f'{value:.3f}' for value in dice)}"
        )
        self.look_at_validation()
        self.add_row()
        self.current_epoch += 1

    # What the trainer brings.
    team: Team
    shared_validation: Callable[[int, int], list[Any]]
    add_row: Callable[[], None]
    live_words: Callable[[float], str]
    timing: StepTiming
    logger: Any
    network: Any
    seed: int
    stock: bool
    warmup: float
    epochs: int
    steps_per_epoch: int
    plateau: Plateau | None
    best_checkpoints: int
    stopped_early: bool
    broken_off: str
    look_at_steps: Callable[[], None]
    look_at_validation: Callable[[], None]
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
    """Time used of a budget, in seconds, earlier sessions counted in, and when there is a pause."""

    def __init__(
        self, train_s: float, used_s: float = 0.0, until_s: float = math.inf, team: Team = ALONE
    ) -> None:
        self.train_s = train_s
        self.until_s = until_s
        self._start = time.monotonic() - used_s
        self._team, self._told = team, 0.0
        self.tick()

    @property
    def elapsed(self) -> float:
        """Seconds used; of several devices, as the first one said at the last `tick`, so that all agree."""
        return time.monotonic() - self._start if self._team.size == 1 else self._told

    def tick(self) -> None:
        """Let several devices agree on the time."""
        if self._team.size > 1:
            self._told = self._team.agreed(time.monotonic() - self._start)

    @property
    def progress(self) -> float:
        """Part of the budget used, 0 to 1; of no time, all."""
        return min(1.0, self.elapsed / self.train_s) if self.train_s > 0 else 1.0

    def over(self, next_step_s: float = 0.0) -> bool:
        """Whether there is no time for another step of about `next_step_s` seconds, before a pause if any.

        A step may pass the end by a half, which is right on average, but never by much of the budget.
        """
        borne = min(0.5 * next_step_s, MOST_OVER * self.train_s)
        return self.elapsed + next_step_s - borne >= min(self.train_s, self.until_s)
