"""What every epoch gave, one row each: for ``progress.csv``, for the curves on the page and for loggers."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.run import PROGRESS
from autoseg.system.files import write_text
from autoseg.system.tables import table_text
from autoseg.training.energy import EnergyMeter
from autoseg.training.team import Team
from autoseg.training.tracking import Tracking

log = logging.getLogger(__name__)

TIMES = ("seconds", "cpu_seconds", "steps_per_cpu_second")


@dataclass(frozen=True)
class ProgressRow:
    """One epoch, or under a budget one part of it.

    Attributes:
        epoch: counted from 0.
        step: optimiser steps so far.
        learning_rate: of its last step.
        train_loss: mean over its steps.
        val_loss: mean over validation patches.
        dice: of each structure over all validation patches together; NaN where they hold nothing of it.
        seconds: wall clock of the training so far, earlier starts counted in.
        cpu_seconds: processor seconds of the training process so far, without those of loading processes.
        steps_per_cpu_second: of this epoch.
    """

    epoch: int
    step: int
    learning_rate: float
    train_loss: float
    val_loss: float
    dice: tuple[float, ...]
    seconds: float
    cpu_seconds: float
    steps_per_cpu_second: float

    @property
    def mean_dice(self) -> float:
        """Mean over the structures that the patches hold; NaN if they hold none."""
        known = [value for value in self.dice if math.isfinite(value)]
        return sum(known) / len(known) if known else math.nan

    def values(self, structures: Sequence[str]) -> dict[str, float]:
        """All numbers by the column they stand in, those that are not finite left out.

        Args:
            structures: names of the structures.
        """
        numbers = {
            "epoch": self.epoch,
            "step": self.step,
            "learning_rate": self.learning_rate,
            "train_loss": self.train_loss,
            "val_loss": self.val_loss,
            "dice": self.mean_dice,
            **{f"dice {name}": value for name, value in zip(structures, self.dice, strict=True)},
            **{name: getattr(self, name) for name in TIMES},
        }
        return {name: value for name, value in numbers.items() if math.isfinite(value)}

    @classmethod
    def of(cls, state: Sequence[Any]) -> ProgressRow:
        """The row of `astuple`, as a checkpoint gives it back."""
        found = cls(*state)
        return cls(*(*astuple(found)[:5], tuple(found.dice), *astuple(found)[6:]))


def as_csv(rows: Sequence[ProgressRow], structures: Sequence[str]) -> str:
    """The rows as text; a value that is not finite is an empty cell."""
    dice = [f"dice {name}" for name in structures]
    columns = ["epoch", "step", "learning_rate", "train_loss", "val_loss", "dice", *dice, *TIMES]
    values = [row.values(structures) for row in rows]
    return table_text([columns, *([each.get(name, "") for name in columns] for each in values)])


class SeenTraining:
    """What a trainer does so that it can be seen: a row for each epoch, in a file and for loggers.

    The rows stand in the checkpoint, and the file is written anew from them: what a killed training had
    written after its last checkpoint is replaced by what the resumed one does, and no row is there twice.

    Attributes:
        rows: one for each epoch so far.
        tracking: the loggers that get each row.
        meter: counts energy.
    """

    rows: list[ProgressRow]
    tracking: Tracking
    team: Team
    meter: EnergyMeter
    _cpu_before: float = 0.0
    _cpu_began: float | None = None
    _steps_before: int = 0

    @property
    def cpu_s(self) -> float:
        """Processor seconds of this training so far, of all threads of its process."""
        here = 0.0 if self._cpu_began is None else time.process_time() - self._cpu_began
        return self._cpu_before + here

    def on_train_start(self) -> None:
        """Begin to count, and write the file as the checkpoint knows it."""
        super().on_train_start()  # type: ignore[misc]
        self._cpu_began, self._steps_before = time.process_time(), self.steps_done
        self._write_rows()

    def on_train_end(self) -> None:
        """The end, of which all but the first of several processes have nothing to write."""
        if self.team.leads:
            super().on_train_end()  # type: ignore[misc]

    def add_row(self) -> None:
        """Add the row of an epoch that has ended; ``current_epoch`` is still its number."""
        last = self.rows[-1] if self.rows else None
        steps = self.steps_done - (last.step if last else 0)
        cpu_s = self.cpu_s
        had = cpu_s - (last.cpu_seconds if last else 0.0)
        value = self.logger.get_value
        dice = value("dice_per_class_or_region", step=-1)
        row = ProgressRow(
            epoch=int(self.current_epoch),
            step=self.steps_done,
            learning_rate=float(value("lrs", step=-1)),
            train_loss=float(value("train_losses", step=-1)),
            val_loss=float(value("val_losses", step=-1)),
            dice=tuple(float(each) for each in np.atleast_1d(dice)),
            seconds=round(self.elapsed_s, 3),
            cpu_seconds=round(cpu_s, 3),
            steps_per_cpu_second=round(steps / had, 4) if had > 0 else math.nan,
        )
        self.rows.append(row)
        self._write_rows()
        self.tracking.row(row.step, row.values(self.structure_names))

    def _write_rows(self) -> None:
        path = Path(self.output_folder) / PROGRESS
        if not self.rows or not self.team.leads:
            return
        try:
            write_text(path, as_csv(self.rows, self.structure_names))
        except OSError as problem:  # of a full disk, checkpoints say more; a training is worth more than this
            log.warning("%s could not be written: %s.", path, problem.strerror)

    @property
    def structure_names(self) -> tuple[str, ...]:
        """Names of what the network segments, in the order of its outputs."""
        given = self.dataset_json["labels"]
        names = {_key(value): name for name, value in given.items()}
        manager = self.label_manager
        wanted = manager.foreground_regions if manager.has_regions else manager.foreground_labels
        return tuple(names.get(_key(each), "+".join(map(str, _key(each)))) for each in wanted)

    def live_words(self, loss: Any = None) -> str:
        """What a live line says of the training.

        Args:
            loss: of the last step, where it is on the host; else that of the last epoch is shown.
        """
        last = self.rows[-1] if self.rows else None
        if loss is None and last is not None:
            loss = last.train_loss
        words = [] if loss is None else [f"loss {float(loss):.3f}"]
        if last is not None:
            words.append(f"Dice {last.mean_dice:.3f}")
        steps, seconds = self.steps_done - self._steps_before, self.cpu_s - self._cpu_before
        if steps > 0 and seconds > 0:
            words.append(f"{steps / seconds:.3g} steps/CPU s")
        return ", ".join(words)

    def seen_state(self) -> dict[str, Any]:
        """What a restart needs."""
        rows = [list(astuple(row)) for row in self.rows]
        return {"rows": rows, "cpu_s": self.cpu_s, "energy": self.meter.state()}

    def load_seen(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; older checkpoints know no rows, and the file then begins where they end."""
        self.rows = [ProgressRow.of(row) for row in state.get("rows", ())]
        self._cpu_before = float(state.get("cpu_s", 0.0))
        self._cpu_began = None
        self.meter = EnergyMeter(state.get("energy"))

    # What the trainer brings.
    current_epoch: int
    dataset_json: Mapping[str, Any]
    elapsed_s: float
    label_manager: Any
    logger: Any
    output_folder: str
    steps_done: int
    on_epoch_end: Callable[[], None]


def _key(value: Any) -> tuple[int, ...]:
    """The labels of a structure: of a region all of them."""
    return tuple(map(int, value)) if isinstance(value, list | tuple) else (int(value),)
