"""A run: one training of one trainer on one fold. The only place that knows a run's files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.errors import RunError
from autoseg.system.files import read_json

# Beside a fold's checkpoints: those with the lowest validation loss, best first.
BEST_CHECKPOINTS = "best_checkpoints.json"
# In a model folder without weights of its own: the model folders that predict together.
ENSEMBLE = "ensemble.json"
# Beside a model: what is done to its segmentations.
POSTPROCESSING = "postprocessing.json"
# Beside a model: at which temperature its probabilities are, and how they become a segmentation.
DECODING = "decoding.json"
# What a training goes on from, and the checkpoint before it, for the case that it is damaged.
LATEST, PREVIOUS = "checkpoint_latest.pth", "checkpoint_previous.pth"
FINAL = "checkpoint_final.pth"
# In the model folder of a cascade's first stage, as nnU-Net has it: what it makes of the cases it held out.
NEXT_STAGE = "predicted_next_stage"
# One row for each epoch of a training.
PROGRESS = "progress.csv"


@dataclass(frozen=True)
class Run:
    """One training of one trainer on one fold, in nnU-Net's folder layout.

    Attributes:
        dataset: the data set's name.
        plan: the plan's name.
        configuration: ``2d``, ``3d_fullres``, ...
        trainer: the trainer's name.
        fold: the fold's index, or ``"all"``.
        seed: seed of initialisation, sampling and augmentation.
        results: the workspace's results folder.
    """

    dataset: str
    plan: str
    configuration: str
    trainer: str
    fold: int | str
    seed: int
    results: Path

    @property
    def model_folder(self) -> Path:
        """The folder that stock prediction reads: plans.json, dataset.json and the folds."""
        return self.results / self.dataset / f"{self.trainer}__{self.plan}__{self.configuration}"

    @property
    def folder(self) -> Path:
        """This fold's folder."""
        return self.model_folder / f"fold_{self.fold}"

    @property
    def name(self) -> str:
        """A name that no other run of the workspace has."""
        return f"{self.dataset}/{self.trainer}__{self.plan}__{self.configuration}/fold_{self.fold}"

    @property
    def final_checkpoint(self) -> Path:
        """Written once the training has ended as planned."""
        return self.folder / FINAL

    @property
    def latest_checkpoint(self) -> Path:
        """Written while the training goes on; what a restart resumes from."""
        return self.folder / LATEST

    @property
    def predicting_checkpoints(self) -> tuple[Path, ...]:
        """The weights that predict, see the function of that name."""
        return predicting_checkpoints(self.folder)

    @property
    def ensemble(self) -> Path:
        """Names the members' model folders, where this run is that of an ensemble."""
        return self.model_folder / ENSEMBLE

    @property
    def predictions(self) -> Path:
        """Out-of-fold predictions, on the original grid."""
        return self.folder / "validation"

    @property
    def evaluation(self) -> Path:
        """Scores of the out-of-fold predictions."""
        return self.folder / "evaluation.json"

    @property
    def record(self) -> Path:
        """The leaderboard's line for this run."""
        return self.folder / "record.jsonl"

    @property
    def cost(self) -> Path:
        """What the run cost, as far as it has come."""
        return self.folder / "cost.json"

    @property
    def progress(self) -> Path:
        """A table with one row for each epoch."""
        return self.folder / PROGRESS

    @property
    def inference(self) -> Path:
        """What predicting the held-out cases took."""
        return self.folder / "inference.json"


@dataclass(frozen=True)
class Checkpoint:
    """A trained model on disk."""

    run: Run
    path: Path
    epoch: int

    def sha256(self) -> str:
        """SHA-256 of the checkpoint's file.

        Raises:
            RunError: if the file is gone.
        """
        return sha256_of([self.path])


def stage_file(model_folder: Path, configuration: str, case: str) -> Path:
    """A case's segmentation by a cascade's first stage, on the grid of the second.

    Args:
        model_folder: the first stage's.
        configuration: the second stage's.
        case: identifier.
    """
    return model_folder / NEXT_STAGE / configuration / f"{case}.b2nd"


def predicting_checkpoints(folder: Path) -> tuple[Path, ...]:
    """The weights of a fold's folder that predict: the best ones, where the training kept any, else the last.

    Raises:
        RunError: if the list of the best cannot be read.
    """
    listed = folder / BEST_CHECKPOINTS
    best = read_json(listed, RunError)["checkpoints"] if listed.is_file() else ()
    return tuple(folder / each["file"] for each in best) or (folder / FINAL,)


def sha256_of(paths: Sequence[Path]) -> str:
    """SHA-256 of a checkpoint's file; of several, that of their hexadecimal SHA-256 one after the other.

    Raises:
        RunError: if a file is gone.
    """
    found = []
    for path in paths:
        if not path.is_file():
            raise RunError(f"There is no checkpoint {path}. Train this run again.")
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()
