"""A training that learns nothing says so: steps that are not finite, and weights that never moved.

A loss of NaN changes no weight, or makes every weight NaN; either way the rest of the time is spent for
nothing, and a random network would be ranked beside others that learnt. So such steps are counted and
reported at once, a few in a row are tried again once (`autoseg.training.retry`) and then end the training,
and what then predicts are the last weights that were good. Where there are none, the run fails.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoseg.errors import RunError
from autoseg.training.course import Course
from autoseg.training.schedule import StoppedEarly
from autoseg.training.step_count import StepCount, are_finite
from autoseg.training.team import Team

log = logging.getLogger(__name__)

# One batch may be at fault; as many in a row are the network's or the loss's fault.
MOST_IN_A_ROW = 5
# A gradient scaler starts with a factor of 2^16 and halves it at each step that overflows, so that up to this
# many steps without effect are its way to find a factor.
SCALER_STEPS = 24


class FiniteTraining:
    """What a trainer does about steps that are not finite.

    Attributes:
        count: number of steps of this start.
        broken_off: why the training ended before its time, in words; empty: it did not.
        keeping_fraction: part of the time that keeping good weights may take.
    """

    count: StepCount
    broken_off: str = ""
    keeping_fraction: ClassVar[float] = 0.01
    _left_out_before: int = 0
    # Of the weights that the training started with; None: an older checkpoint does not say.
    _first_weights: int | None = None
    _good: tuple[int, dict[str, Tensor]] | None = None
    _warned: bool = False
    _keep_from: float = 0.0
    _left_out_kept: int = 0
    _since_look: int = 0
    _steps_taken: int = 0
    _overflows: Tensor | None = None

    @property
    def left_out(self) -> int:
        """Steps that were not finite, earlier starts counted in."""
        return self._left_out_before + self.count.left_out

    def on_train_start(self) -> None:
        """Remember the weights that the training starts from."""
        super().on_train_start()  # type: ignore[misc]
        if self._first_weights is None and self.steps_done == 0:
            self._first_weights = self._weights_sum()
        self._keep_now_and_then()
        if self.grad_scaler is not None:
            self.optimizer.register_step_pre_hook(self._count_taken)

    def _count_taken(self, optimizer: Any, *_: Any) -> None:
        """A gradient scaler calls a fused optimiser in any case, and tells it on the device what to do."""
        self._steps_taken += 1
        if (found := getattr(optimizer, "found_inf", None)) is not None:
            overflow = (found.detach() > 0).long().reshape(())
            self._overflows = overflow if self._overflows is None else self._overflows + overflow

    def train_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """One optimiser step, counted.

        Raises:
            StoppedEarly: in nnU-Net's own loop over epochs, after a few steps that were not finite.
        """
        if self.train_s is None:
            self.between_steps()
        batch = self.augmented(batch, self.steps_done)
        self.seed_step()
        result = self.optimiser_step(batch)
        self.steps_done += 1
        self.check_step(result)
        if self.train_s is None and self.broken_off:
            raise StoppedEarly
        return result

    def check_step(self, result: Mapping[str, Any]) -> None:
        """Count a step, report the first that is not finite, and end the training after a few in a row."""
        loss, taken = result["loss"], bool(result.get("taken", True))
        value = torch.as_tensor(loss)
        finite = torch.isfinite(value).all()
        self.count.add(finite if value.device.type != "cpu" else bool(finite) and taken)
        self._since_look += 1
        if value.device.type != "cpu" and self._since_look.bit_count() == 1:
            self.count.look()  # after 1, 2, 4, 8, ... steps, so that the first minute is never silent
        self._judge(float(value) if self.count.in_a_row else 0.0)

    def look_at_steps(self) -> None:
        """At the end of an epoch or of a part: read what a GPU has counted, and keep good weights."""
        self.count.look()
        self._judge(float("nan"))
        self._judge_scaler()
        self._since_look, self._steps_taken, self._overflows = 0, 0, None
        self.look_at_course()
        if not self.broken_off and not self.course.is_doubtful:
            self._keep_now_and_then()

    def _judge(self, loss: float) -> None:
        if self.count.left_out and not self._warned:
            self._warned = True
            what = "the loss is" if loss != loss or abs(loss) == float("inf") else "the gradients are"
            self._warn(
                f"step {self.steps_done}: {what} not finite, so the step is left out. "
                f"{MOST_IN_A_ROW} in a row end the training"
            )
        if self.count.longest >= MOST_IN_A_ROW and not self.broken_off:
            why = (
                f"{self.count.longest} steps in a row were not finite (NaN or infinite loss or gradients), "
                f"the last of them step {self.steps_done}"
            )
            self._end_unless_retried(why)

    def _judge_scaler(self) -> None:
        """On a GPU: a finite loss whose gradients always overflow trains nothing either."""
        if self.grad_scaler is None or self.broken_off or self._since_look < SCALER_STEPS:
            return
        overflows = 0 if self._overflows is None else int(self._overflows)
        if self._steps_taken - overflows <= 0:
            self._end_unless_retried(
                f"the gradients of {self._since_look} steps in a row were not finite, to step "
                f"{self.steps_done}"
            )

    def _end_unless_retried(self, why: str) -> None:
        if not self.retry(why):
            self.broken_off = why
            self._warn(f"training ends: {why}")

    def _warn(self, words: str) -> None:
        self.print_to_log_file(words)
        log.warning("%s: %s.", type(self).__name__, words)

    def _weights_sum(self) -> int:
        """A checksum of all parameters, without the running statistics of normalisation layers."""
        found = 0
        for parameter in self._bare_network().parameters():
            found = zlib.crc32(parameter.detach().float().cpu().contiguous().numpy().data.cast("B"), found)
        return found

    def _keep_now_and_then(self) -> None:
        """Keep the weights if the last time is long enough ago, or a step since then was not finite."""
        began = time.monotonic()
        if began < self._keep_from and self.left_out == self._left_out_kept:
            return
        self._keep_good()
        now = time.monotonic()
        self._keep_from, self._left_out_kept = now + (now - began) / self.keeping_fraction, self.left_out

    def _keep_good(self) -> None:
        """Keep the weights, where they are finite; where only statistics are not, take the kept ones back."""
        network = self._bare_network()
        state = network.state_dict()
        if are_finite(state.values()):
            kept = {name: value.detach().to("cpu", copy=True) for name, value in state.items()}
            self._good = (self.steps_done, kept)
        elif self._good is not None and are_finite(network.parameters()):
            good = self._good[1]
            for name, value in network.named_buffers():
                if name in good and not are_finite([value]):
                    value.copy_(good[name])

    def weights_to_go_back_to(self) -> tuple[int, dict[str, Tensor]] | None:
        """The last good weights and their step; None where no step was finite, so that none can be."""
        # Each process keeps its own now and then; all go back to those of the first one.
        return self.team.agreed(self._good) if self.left_out < self.steps_done else None  # type: ignore[no-any-return]

    def restore_finite_weights(self) -> None:
        """Go back to the last good weights where the present ones are not finite.

        Raises:
            RunError: if the weights that the training ended with are those it began with, or no step was
                finite.
        """
        self.count.look()
        network = self._bare_network()
        if self._good is not None and not are_finite(network.state_dict().values()):
            self._keep_good()
            if not are_finite(network.state_dict().values()):
                step, weights = self._good
                network.load_state_dict(weights)
                words = f"weights that are not finite were replaced by those of step {step}"
                self.broken_off = "; ".join(filter(None, (self.broken_off, words)))
                self._warn(words)
        if problem := self._learnt_nothing():
            raise RunError(problem)

    def _learnt_nothing(self) -> str:
        """Why the weights are worth nothing, in words; empty: they are not."""
        why = f" ({self.broken_off})" if self.broken_off else ""
        name, steps = type(self).__name__, self.steps_done
        remedy = "Check intensities and labels (autoseg verify), or give a smaller learning_rate."
        if steps == 0:
            return f"{name} made no step in its time, so it learnt nothing. Give it a larger budget."
        if self.left_out >= steps:
            return f"{name} learnt nothing: not one of its {steps} steps was finite{why}. {remedy}"
        if self._first_weights is not None and self._weights_sum() == self._first_weights:
            return f"{name} learnt nothing: its weights never moved in {steps} steps{why}. {remedy}"
        return ""

    def on_train_end(self) -> None:
        """Write the final checkpoint, of finite weights that were trained.

        Raises:
            RunError: if there are none.
        """
        self.restore_finite_weights()
        super().on_train_end()  # type: ignore[misc]

    def on_epoch_end(self) -> None:
        """Look at the steps before the checkpoints of this epoch are written."""
        self.look_at_steps()
        super().on_epoch_end()  # type: ignore[misc]

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint, unless its weights are not finite: an earlier one stays."""
        if are_finite(self._bare_network().state_dict().values()):
            super().save_checkpoint(filename)  # type: ignore[misc]
        else:
            self.print_to_log_file(f"not written, for its weights are not finite: {filename}")

    def steps_state(self) -> dict[str, Any]:
        """What a restart needs."""
        return {
            "left_out": self.left_out,
            "first_weights": self._first_weights,
            "broken_off": self.broken_off,
            **self.course_state(),
        }

    def load_steps(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._left_out_before = int(state.get("left_out", 0))
        self._first_weights = state.get("first_weights")
        self.broken_off = str(state.get("broken_off", ""))
        self.load_course(state)

    # What the trainer brings.
    team: Team
    between_steps: Callable[[], None]
    augmented: Callable[[Mapping[str, Any], int], Mapping[str, Any]]
    course: Course
    course_state: Callable[[], dict[str, Any]]
    load_course: Callable[[Mapping[str, Any]], None]
    look_at_course: Callable[[], None]
    retry: Callable[[str], bool]
    seed_step: Callable[[], None]
    train_s: float | None
    grad_scaler: Any
    optimiser_step: Callable[[Mapping[str, Any]], dict[str, Any]]
    optimizer: Any
    steps_done: int
    _bare_network: Callable[[], nn.Module]
    print_to_log_file: Callable[..., None]
