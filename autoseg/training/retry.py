"""A training that has gone astray is tried once more: at a lower rate, from the last good weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from autoseg.training.course import Course
from autoseg.training.step_count import StepCount

GOES_ON = "the training goes on as it is"


class RetriedTraining:
    """What a trainer does about a training that goes astray.

    It goes on from weights of an earlier step, with an optimiser that knows nothing yet and at a fraction of
    the rate; time and steps that are gone are not given back. A second time it ends, or goes on as it is.
    What happened stands in the record. nnU-Net's own training (``stock``) is left alone.

    Attributes:
        retry_factor: what the learning rate is multiplied by.
        no_retry_after: part of a training after which a retry could no longer learn anything.
        course: what is known of the training.
        rate_factor: what all learning rates are multiplied by.
        retried: what happened, in words; empty: nothing did.
    """

    retry_factor: ClassVar[float] = 0.1
    no_retry_after: ClassVar[float] = 0.9
    course: Course
    rate_factor: float = 1.0
    retried: str = ""
    # Voxels of each structure that the last look found, and that it missed.
    _hits: tuple[Sequence[float], Sequence[float]] = ((), ())
    _looked_at_step: int = 0

    def on_validation_epoch_end(self, val_outputs: list[Any]) -> None:
        """Log the validation, and remember how much of each structure was found."""
        # Of a structure that no looked-at patch holds nnU-Net divides 0 by 0, and leaves the result out.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            super().on_validation_epoch_end(val_outputs)  # type: ignore[misc]
        hits, missed = (
            np.sum([np.atleast_1d(output[key]) for output in val_outputs], axis=0).tolist()
            for key in ("tp_hard", "fn_hard")
        )
        self._hits = hits, missed

    def look_at_course(self) -> None:
        """At the end of an epoch or a part: whether the training is on its way, and if not, try again."""
        losses = self.logger.get_value("train_losses", step=None)
        if self.stock or self.broken_off or not losses:
            return
        dice = self.logger.get_value("dice_per_class_or_region", step=None)
        steps, self._looked_at_step = self.steps_done - self._looked_at_step, self.steps_done
        why = self.course.look(steps, float(losses[-1]), self.progress_so_far, *self._hits)
        self.course.note_dice(dice[-1] if dice else ())
        if why and not self.retry(why) and GOES_ON not in self.retried:
            words = f"step {self.steps_done}: {why}; {GOES_ON}"
            self.retried = "; ".join(filter(None, (self.retried, words)))
            self._warn(words)

    def on_train_end(self) -> None:
        """Say in the record what the last look left in doubt: there is no time left to be sure."""
        if (doubt := self.course.doubt) and not self.stock and GOES_ON not in self.retried:
            words = f"step {self.steps_done}, the last look: {doubt}"
            self.retried = "; ".join(filter(None, (self.retried, words)))
            self._warn(words)
        super().on_train_end()  # type: ignore[misc]

    @property
    def progress_so_far(self) -> float:
        """How far the training is, 0 to 1."""
        if self.train_s is None:
            return self.current_epoch / self.num_epochs
        return self.elapsed_s / self.train_s if self.train_s else 1.0

    def retry(self, why: str) -> bool:
        """Go back to the last good weights and on at a lower rate, once.

        Returns:
            Whether there is a retry: not a second one, nor at the end, nor where no step was finite.
        """
        good = self.weights_to_go_back_to()
        late = self.progress_so_far > self.no_retry_after
        if good is None or late or self.stock or self.rate_factor < 1:
            return False
        step, weights = good
        self._bare_network().load_state_dict(weights)
        self.optimizer.state.clear()
        self.rate_factor = self.retry_factor
        for group in self.optimizer.param_groups:
            group["lr"] *= self.retry_factor
        self.count.start_row()
        self.course.start_anew()
        self.retried = (
            f"step {self.steps_done}: {why}; tried again from the weights of step {step}, at "
            f"{self.retry_factor:g} of the learning rate"
        )
        self._warn(self.retried)
        return True

    def course_state(self) -> dict[str, Any]:
        """What a restart needs."""
        looked = {"looked_at_step": self._looked_at_step, "rate_factor": self.rate_factor}
        return {"course": self.course.state(), "retried": self.retried, **looked}

    def load_course(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; older checkpoints say nothing of it."""
        self._looked_at_step = int(state.get("looked_at_step", self.steps_done))
        self.rate_factor = float(state.get("rate_factor", 1.0))
        self.retried = str(state.get("retried", ""))
        if "course" in state:
            self.course = Course.of(state["course"])

    # What the trainer brings.
    broken_off: str
    count: StepCount
    current_epoch: int
    elapsed_s: float
    logger: Any
    num_epochs: int
    optimizer: Any
    steps_done: int
    stock: bool
    train_s: float | None
    _bare_network: Callable[[], nn.Module]
    _warn: Callable[[str], None]
    weights_to_go_back_to: Callable[[], tuple[int, dict[str, Tensor]] | None]
