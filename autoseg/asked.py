"""What the settings of a walk ask of each of its runs."""

from __future__ import annotations

from autoseg.choice import Choice, Request
from autoseg.device import find_device
from autoseg.prepare import Settings


def started(choice: Choice, settings: Settings) -> Choice:
    """A trainer with the weights, the strategy and the number of cases that it starts with."""
    return choice.starting(
        init=settings.init, finetune=settings.finetune, cases=settings.cases, plan_from=settings.plan_from
    )


def request_of(settings: Settings, run_seconds: float | None) -> Request:
    """What each run has to keep to, with so many seconds of wall clock; None: epochs decide."""
    return Request(
        find_device(settings.device),
        settings.memory_gb,
        run_seconds,
        settings.epochs,
        settings.configuration,
        settings.seed,
    )
