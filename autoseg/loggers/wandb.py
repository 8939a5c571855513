"""Weights & Biases: offline, in the run's folder; ``wandb sync`` uploads, or WANDB_MODE=online does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

from autoseg.system.files import digest, write_text
from autoseg.training.logger import About, Logger

# The last step that was logged, by the run that goes on or did.
LAST_STEP = "wandb/last_step.txt"


class wandb(Logger):
    """Logs each column of ``progress.csv`` over steps.

    Nothing leaves the machine unless the variable WANDB_MODE says ``online``. A training that goes on has the
    same id, and steps that are logged already are not logged again.
    """

    package: ClassVar[str] = "wandb"
    extra: ClassVar[str] = "wandb"

    def __init__(self, about: About) -> None:
        super().__init__(about)
        import wandb

        path = about.folder / LAST_STEP
        self._last = int(path.read_text() or 0) if about.first_step and path.is_file() else 0
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "autoseg"),
            dir=str(about.folder),
            name=about.name,
            id=digest(about.name)[:16],
            resume="allow",
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=dict(about.settings),
            settings=wandb.Settings(console="off", silent=True),
        )

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        if step <= self._last:
            return
        named = {name.replace(" ", "/"): value for name, value in values.items() if name != "step"}
        self._run.log(named, step=step)
        self._last = step
        write_text(self.about.folder / LAST_STEP, str(step))

    def end(self, finished: bool) -> None:
        """Close the run."""
        self._run.finish(exit_code=0 if finished else 1)
