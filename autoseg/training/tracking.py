"""The loggers of a training: chosen once, told of every epoch, and left out where they fail.

A broken logger is a nuisance; a training that it ended would be a loss. So whatever a logger raises is said
once, and the training goes on without it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from autoseg import plugins
from autoseg.errors import UsageError
from autoseg.training.logger import About, Logger

if TYPE_CHECKING:
    from autoseg.run import Run
    from autoseg.training.trainer import Trainer

log = logging.getLogger(__name__)

# Names of loggers with commas between them. A variable, so that processes that a benchmark starts know it.
VARIABLE = "AUTOSEG_LOG"


def chosen() -> tuple[str, ...]:
    """The names or files of the loggers that the environment names."""
    return tuple(filter(None, (part.strip() for part in os.environ.get(VARIABLE, "").split(","))))


def choose(names: str) -> None:
    """Let all trainings of this process and of its children log.

    Args:
        names: names of loggers or paths of Python files, with commas between them; empty: none.

    Raises:
        UsageError: if there is no such logger.
        MissingDependency: if the package that it needs is not installed.
    """
    os.environ[VARIABLE] = names
    twice = [name for name in chosen() if chosen().count(name) > 1]
    if twice:
        raise UsageError(f"--log names {twice[0]} twice. Name each logger once.")
    for name in chosen():
        plugins.find_class("loggers", name).check()


class Tracking:
    """The loggers of one start of a training, by name."""

    def __init__(self, loggers: Mapping[str, Logger] | None = None) -> None:
        self._loggers = dict(loggers or {})

    @classmethod
    def begin(cls, about: About) -> Tracking:
        """Start those that are chosen."""
        tracking = cls()
        for name in chosen():
            tracking._safely(name, lambda name=name: tracking._start(name, about))  # type: ignore[misc]
        return tracking

    def _start(self, name: str, about: About) -> None:
        kind = plugins.find_class("loggers", name)
        kind.check()
        self._loggers[name] = kind(about)

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Give a row to all of them, see `Logger.row`."""
        for name, logger in list(self._loggers.items()):
            self._safely(name, lambda logger=logger: logger.row(step, values))  # type: ignore[misc]

    def end(self, finished: bool) -> None:
        """The training ends here, see `Logger.end`."""
        for name, logger in list(self._loggers.items()):
            self._safely(name, lambda logger=logger: logger.end(finished))  # type: ignore[misc]
        self._loggers.clear()

    def _safely(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
        # All of them: a package of others may raise whatever it likes. An interrupt gets through.
        except Exception as problem:
            self._loggers.pop(name, None)
            said = str(problem).strip().splitlines()
            log.warning(
                "The logger %s failed: %s: %s. The training goes on without it; progress.csv has all rows.",
                name,
                type(problem).__name__,
                said[0] if said else "",
            )


def about(run: Run, trainer: Trainer) -> About:
    """What loggers are told of a run."""
    configuration = trainer.configuration_manager
    settings: dict[str, Any] = {
        "dataset": run.dataset,
        "trainer": run.trainer,
        "configuration": run.configuration,
        "plan": run.plan,
        "fold": run.fold,
        "seed": run.seed,
        "batch_size": trainer.batch_size,
        "patch_size": "x".join(map(str, configuration.patch_size)),
        "learning_rate": trainer.learning_rate,
        "optimizer": trainer.optimizer_name,
        "train_s": trainer.train_s,
        "device": str(trainer.device),
    }
    first_step = trainer.rows[-1].step if trainer.rows else 0
    return About(run.name, run.folder, run.results, first_step, settings)
