"""What a trainer's checkpoint holds beside nnU-Net's content, and the order in which files are written."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autoseg.training.checkpoint_files import whole_checkpoint
from autoseg.training.schedule import Plateau


class Saving:
    """Writes nnU-Net's checkpoint with all that a restart needs to go on as if nothing had happened."""

    def save_checkpoint(self, filename: str) -> None:
        """Write nnU-Net's checkpoint, whole or not at all, with the place that the training has come to.

        Raises:
            NotWritten: if the disk is full or the file cannot be written.
        """
        with whole_checkpoint(Path(filename)) as temporary:
            self.write_best()
            arguments = self.my_init_kwargs
            self.my_init_kwargs = {**arguments, "autoseg": self._progress_state()}
            try:
                super().save_checkpoint(str(temporary))  # type: ignore[misc]
            finally:
                self.my_init_kwargs = arguments
            written = temporary.exists()
        if written:
            self.remove_unnamed(Path(filename).name)

    def _progress_state(self) -> dict[str, Any]:
        plateau = {} if self.plateau is None else {"plateau": self.plateau.state()}
        return {
            "elapsed_s": self.elapsed_s,
            "steps": self.steps_done,
            "epoch_losses": self.epoch_state(),
            "saved_at": time.time(),
            **self.average_state(),
            **self.best_state(),
            **self.steps_state(),
            **self.seen_state(),
            **plateau,
        }

    # What the trainer brings.
    elapsed_s: float
    my_init_kwargs: dict[str, Any]
    plateau: Plateau | None
    steps_done: int
    average_state: Callable[[], dict[str, Any]]
    best_state: Callable[[], dict[str, Any]]
    epoch_state: Callable[[], list[float]]
    remove_unnamed: Callable[[str], None]
    seen_state: Callable[[], dict[str, Any]]
    steps_state: Callable[[], dict[str, Any]]
    write_best: Callable[[], None]
