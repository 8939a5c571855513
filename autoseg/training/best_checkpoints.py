"""The best checkpoints of a training, for a prediction that averages them.

DeepMRSeg's authors keep the five checkpoints with the lowest validation loss and average their softmaxes
(github.com/CBICA/DeepMRSeg). Any trainer does so with ``best_checkpoints=5``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.errors import RunError, UsageError
from autoseg.names import whole_number
from autoseg.nnunet import read_checkpoint
from autoseg.run import BEST_CHECKPOINTS, FINAL, LATEST
from autoseg.system.files import atomic_path, read_json, write_json

BEST_FILES = "checkpoint_best_*.pth"


@dataclass
class Kept:
    """Weights with a low validation loss: in memory first, then in a file.

    Attributes:
        loss: mean over the validation patches.
        epoch: the epoch that they are from.
        weights: the weights in main memory; None once they are in a file.
        file: its name.
    """

    loss: float
    epoch: int
    weights: dict[str, Tensor] | None = None
    file: str = ""

    def to_json(self) -> dict[str, Any]:
        """What the list on disk says."""
        return {"file": self.file, "loss": self.loss, "epoch": self.epoch}


class BestCheckpoints:
    """Keeps the weights with the lowest validation loss, `best_checkpoints` of them; 0: none.

    The loss is that of training cases that were set apart (`autoseg.data.folds.watching_cases`).

    They are held in memory and written with the trainer's own checkpoints, each of which holds the list that
    belongs to it, so that a training stopped at any time goes on with that, and writing takes next to no
    time. Each becomes a file that stock prediction reads (``-chk checkpoint_best_3.pth``), without the
    optimiser's state; ``best_checkpoints.json`` lists them, best first. A file is written before a list names
    it, and removed once neither the latest checkpoint nor the one before it does, so that every list on disk
    is whole.

    ``checkpoint_final.pth``, which stock prediction reads by default, gets the single best weights, not the
    last: with one checkpoint, stock and autoseg predict the same.
    """

    best_checkpoints: int
    _kept: list[Kept]
    _written: int
    # The list of the checkpoint that the training goes on from; None: of an older version, which has none.
    _resumed_best: Mapping[str, Any] | None = None
    # Files that the latest checkpoint names, and the one before it.
    _named: tuple[set[str], ...] = ()

    def on_train_start(self) -> None:
        """Start the list, or go on with that of an interrupted training.

        Raises:
            UsageError: if `best_checkpoints` is not a number of checkpoints.
        """
        if not isinstance(self.best_checkpoints, int) or self.best_checkpoints < 0:
            raise UsageError(f"best_checkpoints is {self.best_checkpoints!r}; expected 0, 1, 2, ...")
        super().on_train_start()  # type: ignore[misc]
        self._kept, self._written = [], 0
        folder = Path(self.output_folder)
        path = folder / BEST_CHECKPOINTS
        there = {file.name for file in folder.glob(BEST_FILES)}
        if self.current_epoch > 0 and (self._resumed_best is not None or path.is_file()):
            document = read_json(path, RunError) if self._resumed_best is None else self._resumed_best
            self._kept = [Kept(**entry) for entry in document["checkpoints"][: self.best_checkpoints]]
            # A killed training may have written files that no checkpoint names: their numbers are taken.
            self._written = max([document["written"], *map(_number, there)])
            self._named = (there,)
        else:
            path.unlink(missing_ok=True)

    def on_validation_epoch_end(self, val_outputs: list[Any]) -> None:
        """Log the validation, and keep the weights if they are among the best."""
        super().on_validation_epoch_end(val_outputs)  # type: ignore[misc]
        loss = float(self.logger.get_value("val_losses", step=-1))
        best = self._kept[: self.best_checkpoints]
        if not self.best_checkpoints or not math.isfinite(loss):
            return
        if len(best) < self.best_checkpoints or loss < best[-1].loss:
            state = self._bare_network().state_dict()
            weights = {name: value.detach().cpu().clone() for name, value in state.items()}
            best.append(Kept(loss, self.current_epoch, weights))
        self._kept = sorted(best, key=lambda each: each.loss)[: self.best_checkpoints]

    def write_best(self) -> None:
        """Write what is not yet on disk, then the list; before the checkpoint that names them."""
        if self.best_checkpoints and self.local_rank == 0 and not self.disable_checkpointing:
            self._write_kept()

    def best_state(self) -> dict[str, Any]:
        """What a restart needs: the list of the files that are written."""
        return {"best": self._document()} if self.best_checkpoints else {}

    def load_best(self, state: Mapping[str, Any]) -> None:
        """Go on from the entry ``best`` of `state`, once the training starts."""
        self._resumed_best = state.get("best")

    def remove_unnamed(self, name: str) -> None:
        """Remove the files that no list names any more, once the checkpoint `name` is written."""
        if not self.best_checkpoints or self.local_rank != 0 or name not in (LATEST, FINAL):
            return
        now = {kept.file for kept in self._kept if kept.file}
        # Once the final checkpoint is there, no other is gone on from.
        self._named = (now,) if name == FINAL else (*self._named, now)[-2:]
        for path in Path(self.output_folder).glob(BEST_FILES):
            if path.name not in set.union(*self._named):
                path.unlink()

    def on_train_end(self) -> None:
        """Go back to the best weights, which the final checkpoint is to hold."""
        if self.best_checkpoints and self._kept:
            best = self._kept[0]
            weights = best.weights or self._read(best.file)
            self._bare_network().load_state_dict(weights)
        super().on_train_end()  # type: ignore[misc]

    def _read(self, file: str) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = read_checkpoint(Path(self.output_folder) / file)["network_weights"]
        return weights

    def _write_kept(self) -> None:
        """Write what is not yet on disk, then the list."""
        folder = Path(self.output_folder)
        for kept in self._kept:
            if kept.weights is not None:
                # A number of its own: a file that the list on disk names is never written over.
                self._written += 1
                kept.file = f"checkpoint_best_{self._written}.pth"
                with atomic_path(folder / kept.file) as path:
                    torch.save(self._predicting_state(kept), path)
                kept.weights = None
        write_json(folder / BEST_CHECKPOINTS, self._document())

    def _document(self) -> dict[str, Any]:
        return {"checkpoints": [kept.to_json() for kept in self._kept], "written": self._written}

    def _predicting_state(self, kept: Kept) -> dict[str, Any]:
        """What prediction, stock nnU-Net's too, asks of a checkpoint."""
        mirrored = self.mirrored_prediction
        return {
            "network_weights": kept.weights,
            "trainer_name": type(self).__name__,
            "init_args": {key: value for key, value in self.my_init_kwargs.items() if key != "autoseg"},
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes if mirrored else None,
            "current_epoch": kept.epoch + 1,
        }

    # What the trainer brings.
    current_epoch: int
    disable_checkpointing: bool
    inference_allowed_mirroring_axes: Any
    local_rank: int
    logger: Any
    mirrored_prediction: bool
    my_init_kwargs: dict[str, Any]
    output_folder: str
    _bare_network: Callable[[], nn.Module]


def _number(file: str) -> int:
    """That of a file with a kept checkpoint; 0: its name has none."""
    return whole_number(file.removeprefix("checkpoint_best_").removesuffix(".pth")) or 0
