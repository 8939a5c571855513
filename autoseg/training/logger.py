"""The base of loggers: who else gets what every epoch of a training gave."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from autoseg.errors import MissingDependency


@dataclass(frozen=True)
class About:
    """What a logger is told of a training when it begins or goes on.

    Attributes:
        name: of the run; no other run of the workspace has it.
        folder: the run's folder, where a logger may have a folder of its own.
        results: the results folder of the workspace, for a store that several runs share.
        first_step: optimiser steps that are behind it; rows with more steps follow.
        settings: trainer, configuration, batch size and the like, by name.
    """

    name: str
    folder: Path
    results: Path
    first_step: int
    settings: Mapping[str, Any]


class Logger(ABC):
    """Base of all loggers. One is made for each start of a training, so for a resumed training again.

    A training that was killed goes on from its last checkpoint: rows that a logger has seen may come again,
    with the same steps. Whatever a logger raises ends the logger, never the training.

    Attributes:
        package: the package that it needs, as it is imported; empty: none.
        extra: the extra of autoseg that brings it.
    """

    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""

    @classmethod
    def check(cls) -> None:
        """Look before the work begins whether what it needs is installed.

        Raises:
            MissingDependency: if it is not.
        """
        if cls.package and importlib.util.find_spec(cls.package) is None:
            raise MissingDependency(cls.package, cls.extra or cls.package, f"The logger {cls.__name__}")

    def __init__(self, about: About) -> None:
        self.about = about

    @abstractmethod
    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Take the row of an epoch.

        Args:
            step: optimiser steps so far.
            values: the columns of ``progress.csv``, all of them finite.
        """

    def end(self, finished: bool) -> None:  # noqa: B027  (nothing to do for many)
        """The training ends here: finished, or to be gone on with later."""
