"""TensorBoard: event files in the run's folder, for ``tensorboard --logdir results``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoseg.training.logger import About, Logger

FOLDER = "tensorboard"


class tensorboard(Logger):
    """Writes each column of ``progress.csv`` as a scalar over steps.

    A training that goes on tells TensorBoard to leave out what was logged after the checkpoint that it goes
    on from (``purge_step``), so that no point is there twice.
    """

    package: ClassVar[str] = "tensorboard"
    extra: ClassVar[str] = "tensorboard"

    def __init__(self, about: About) -> None:
        super().__init__(about)
        from torch.utils.tensorboard import SummaryWriter

        purge = about.first_step + 1 if (about.folder / FOLDER).is_dir() else None
        self._writer = SummaryWriter(str(about.folder / FOLDER), purge_step=purge)

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve, on disk at once: a killed training keeps it."""
        for name, value in values.items():
            if name != "step":
                self._writer.add_scalar(name.replace(" ", "/"), value, step)
        self._writer.flush()

    def end(self, finished: bool) -> None:
        """Close the file."""
        self._writer.close()
