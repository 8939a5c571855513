"""How the learning rate falls: as training goes on, or when the validation loss stands still."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.training.curves import SeldomDrawn

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

log = logging.getLogger(__name__)

# A loss that is lower by less than this is no improvement (Keras' default for the reduction).
SMALLEST_IMPROVEMENT = 1e-4


def schedule_factor(schedule: str, progress: float, warmup: float = 0.0) -> float:
    """What the learning rate is multiplied by at `progress` (0 to 1).

    ``poly`` is (1 - progress)^0.9 (Chen et al., DeepLab, 2017), ``cosine`` is half a cosine wave
    (Loshchilov and Hutter, SGDR, 2017), ``plateau`` is 1: there the validation loss decides. The first
    `warmup` part rises linearly.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    rest = (progress - warmup) / (1 - warmup)
    if schedule == "plateau":
        return 1.0
    return (1 - rest) ** 0.9 if schedule == "poly" else 0.5 * (1 + float(np.cos(np.pi * rest)))


def schedule_changes(trainer: type[Trainer], chosen: Hyperparameters, seconds: float | None) -> list[str]:
    """What the clock makes of a schedule that is defined in epochs, in words.

    Args:
        trainer: its class.
        chosen: the hyper-parameters that are not the trainer's own.
        seconds: wall clock of the run; None: the epochs stay.
    """
    if seconds is None:
        return []
    if chosen.stock:
        return [f"stock schedule, stopped at {_duration(seconds)}"]
    epochs = chosen.epochs or trainer.epochs
    words = f"schedule of {epochs} epochs -> {_duration(seconds)}"
    if (chosen.schedule or trainer.schedule) == "plateau":
        patience = (
            chosen.plateau_patience or trainer.plateau_patience,
            chosen.stopping_patience or trainer.stopping_patience,
        )
        shares = " and ".join(f"{100 * each / epochs:.0f} %" for each in patience)
        words += f" (patience {' and '.join(map(str, patience))} epochs -> {shares} of it)"
    return [words]


def _duration(seconds: float) -> str:
    value, unit = (seconds, "s") if seconds < 120 else (seconds / 60, "min")
    value, unit = (value, unit) if seconds < 7200 else (seconds / 3600, "h")
    return f"{round(value, 1 if value < 10 else 0):g} {unit}"


class EpochSchedule:
    """The learning rate as a function of the epoch, behind the interface that nnU-Net's loop calls."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def step(self, epoch: int) -> None:
        """Set the rate for an epoch that begins."""
        self.trainer.set_learning_rate(epoch / self.trainer.num_epochs)


class Plateau:
    """Reduction of the learning rate on a plateau of the validation loss, and early stopping.

    As in Keras, the rate falls after `patience` looks without improvement, and training ends after
    `stopping_patience` of them.

    Attributes:
        best: the lowest loss so far.
        waited: looks since then.
        weights: the network's weights at the lowest loss.
    """

    def __init__(
        self, rate: float, factor: float, patience: int, stopping_patience: int, lowest: float
    ) -> None:
        # The reduction works on an optimiser of its own, so that the trainer's rates stay the trainer's.
        self._carrier = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
        # torch reduces at the first look beyond its patience.
        self._reduction = ReduceLROnPlateau(
            self._carrier,
            factor=factor,
            patience=patience - 1,
            threshold=SMALLEST_IMPROVEMENT,
            threshold_mode="abs",
            min_lr=lowest,
            eps=0.0,
        )
        self.patience = patience
        self.stopping_patience = stopping_patience
        self.best = math.inf
        self.waited = 0
        self.weights: dict[str, torch.Tensor] | None = None

    @property
    def rate(self) -> float:
        """The learning rate."""
        return float(self._carrier.param_groups[0]["lr"])

    @property
    def is_over(self) -> bool:
        """Whether training is to end."""
        return self.waited >= self.stopping_patience

    def look(self, loss: float) -> bool:
        """Take the validation loss of an epoch; whether it is the lowest so far."""
        self._reduction.step(loss)
        improved = loss < self.best - SMALLEST_IMPROVEMENT
        self.waited = 0 if improved else self.waited + 1
        if improved:
            self.best = loss
        return improved

    def state(self) -> dict[str, Any]:
        """What a restart needs, in types that torch loads safely."""
        reduction = {key: getattr(self._reduction, key) for key in ("best", "num_bad_epochs", "last_epoch")}
        numbers = {"rate": self.rate, "best": self.best, "waited": self.waited, "reduction": reduction}
        return numbers if self.weights is None else {**numbers, "weights": self.weights}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._carrier.param_groups[0]["lr"] = float(state["rate"])
        self._reduction.load_state_dict(dict(state["reduction"]))
        self.best, self.waited = float(state["best"]), int(state["waited"])
        self.weights = state.get("weights")


class StoppedEarly(Exception):
    """Ends nnU-Net's loop over epochs; never leaves `run_training`."""


class WatchedTraining(SeldomDrawn):
    """What `schedule = "plateau"` adds to a trainer: a look at each validation, an end, the best weights.

    The validation loss is that of training cases set apart by `autoseg.data.folds.watching_cases`. The
    weights of its lowest value are the ones that the final checkpoint holds.
    """

    plateau: Plateau | None = None
    stopped_early: bool = False

    @property
    def chooses_by_validation(self) -> bool:
        """Whether the validation loss decides on the rate, the end or the weights of this training."""
        return self.schedule == "plateau" or self.best_checkpoints > 0

    def make_plateau(self) -> Plateau | None:
        """The plateau of a trainer with that schedule; its patience counts the looks that there will be."""
        if self.schedule != "plateau":
            return None
        return Plateau(
            self.learning_rate,
            self.plateau_factor,
            self.looks_in(self.plateau_patience),
            self.looks_in(self.stopping_patience),
            self.min_learning_rate,
        )

    def look_at_validation(self) -> None:
        """Let the validation loss that was logged last decide on the rate and on the end."""
        if self.plateau is None:
            return
        before, loss = self.plateau.rate, float(self.logger.get_value("val_losses", step=-1))
        if self.plateau.look(loss):
            state = self._bare_network().state_dict()
            self.plateau.weights = {name: value.detach().cpu().clone() for name, value in state.items()}
        if self.plateau.rate < before:
            self._tell(f"no better validation loss than {self.plateau.best:.4f}: rate {self.plateau.rate:g}")
        if self.plateau.is_over and not self.stopped_early:
            self.stopped_early = True
            self._tell(
                f"stopped early: no better validation loss than {self.plateau.best:.4f} "
                f"for {self.plateau.waited} looks"
            )

    def _tell(self, message: str) -> None:
        self.print_to_log_file(message)
        log.info("%s: %s.", type(self).__name__, message)

    def run_training(self) -> None:
        """nnU-Net's loop over epochs, which may end early."""
        try:
            super().run_training()  # type: ignore[misc]
        except StoppedEarly:
            self.on_train_end()

    def on_epoch_end(self) -> None:
        """Look at the validation before the checkpoints of this epoch are written."""
        self.look_at_validation()
        super().on_epoch_end()
        if self.stopped_early or self.broken_off:
            raise StoppedEarly

    def restore_best_weights(self) -> None:
        """Put the weights of the lowest validation loss back, where there are such."""
        if self.plateau is not None and self.plateau.weights is not None:
            self._bare_network().load_state_dict(self.plateau.weights)
            self.plateau.weights = None

    # What the trainer brings.
    best_checkpoints: int
    broken_off: str
    schedule: str
    learning_rate: float
    plateau_factor: float
    plateau_patience: int
    stopping_patience: int
    min_learning_rate: float
    logger: Any
    looks_in: Callable[[int], int]
    on_train_end: Callable[[], None]
    print_to_log_file: Callable[..., None]
    _bare_network: Callable[[], torch.nn.Module]
