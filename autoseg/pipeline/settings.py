"""What a user requests of plan-and-train, and what that requests of each run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.errors import UsageError
from autoseg.tailoring.spec_text import GROUPS, check_length, read_spec

if TYPE_CHECKING:
    from autoseg.tailoring.request import Request
    from autoseg.tailoring.trainer_spec import Choice


@dataclass(frozen=True)
class Settings:
    """What a user asks of the walk.

    Attributes:
        trainers: names with options, or one of the groups ``auto``, ``documented``, ``baselines``, ``all``.
        folds: indices, or None for all.
        folds_by: a column of cases.csv, such as ``site``: each of its values is held out once.
        total_s: wall clock for all runs together, from the first training step to the predictions.
        epochs: instead of a budget.
        steps: length of each training, instead of a budget or epochs: the same on every machine.
        accept: findings of the verification that are intended, names of `WAIVABLE`.
        small: with steps: the smallest batch, width and patch, for a look at the whole path in minutes.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        memory_gb: memory target of the planner.
        seed: seed of every fold's training.
        configuration: ``auto`` or a configuration's name.
        workers: processes for reading and preprocessing; None: one per core.
        groups: table of case and group; found beside the data if None.
        init: "random", "imagenet", or the path of a checkpoint or model; None: random.
        finetune: a strategy, with options: ``ft_decoder+frozen_norm=eval``; None: everything is trained.
        cases: how many training cases are used, ``20`` or ``10%``; None: all.
        plan_from: "init", or the path of a model whose plan is taken over; None: the data set's own plan.
    """

    trainers: tuple[str, ...] = ("auto",)
    folds: tuple[int, ...] | None = None
    total_s: float | None = None
    epochs: int | None = None
    device: str = "auto"
    memory_gb: float | None = None
    seed: int = 0
    configuration: str = "auto"
    workers: int | None = None
    groups: Path | None = None
    init: str | None = None
    finetune: str | None = None
    cases: str | None = None
    plan_from: str | None = None
    steps: int | None = None
    small: bool = False
    accept: tuple[str, ...] = ()
    folds_by: str | None = None

    def __post_init__(self) -> None:
        lengths = {"--budget": self.total_s, "--epochs": self.epochs, "--steps": self.steps}
        given = [option for option, value in lengths.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} exclude each other: each says how long. Give one.")
        if self.small and self.steps is None:
            raise UsageError("--small goes with --steps: by the clock, the size is found. Add --steps 200.")
        for text in self.trainers:
            if text not in GROUPS:
                check_length(text, read_spec(text)[1], self.epochs, self.steps)


def started(choice: Choice, settings: Settings) -> Choice:
    """A trainer with the weights, the strategy and the number of cases that it starts with.

    Raises:
        UsageError: if both the settings and the trainer's options say how long it trains.
    """
    check_length(str(choice), choice.options, settings.epochs, settings.steps)
    return choice.starting(
        init=settings.init, finetune=settings.finetune, cases=settings.cases, plan_from=settings.plan_from
    )


def request_of(settings: Settings, run_s: float | None) -> Request:
    """What each run has to keep to, with so many seconds of wall clock; None: epochs decide."""
    # Imported here: settings are read before anything needs torch.
    from autoseg.system.device import find_device
    from autoseg.tailoring.request import Request

    return Request(
        find_device(settings.device),
        settings.memory_gb,
        run_s,
        settings.epochs,
        settings.configuration,
        settings.seed,
        steps=settings.steps,
        small=settings.small,
    )
