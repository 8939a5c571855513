"""A training that ended, but whose cost was not written, is accounted for and not trained again."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoseg.errors import RunError
from autoseg.planner.training_spec import TrainingSpec
from autoseg.run import Run
from autoseg.workspace import Workspace

# `autoseg.training.training_run` by attribute is the function.
module = importlib.import_module("autoseg.training.training_run")


def test_a_missing_cost_is_written_and_nothing_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.locate(tmp_path)
    for name, value in workspace.environment().items():
        monkeypatch.setenv(name, value)
    run = Run("Dataset001_Made", "plan", "2d", "nnunet", 0, 0, workspace.results)
    run.folder.mkdir(parents=True)
    run.final_checkpoint.touch()
    loaded: list[str] = []
    written: list[float] = []
    trainer = SimpleNamespace(elapsed_s=42.0, load_checkpoint=loaded.append)

    def write(run: Run, trainer: Any, spent: float, seconds: float) -> None:
        written.append(spent + seconds)
        run.cost.write_text("{}")

    def never(*_: Any) -> None:
        raise AssertionError("it was trained again")

    monkeypatch.setattr(module, "_build", lambda *_: trainer)
    monkeypatch.setattr(module, "write_cost", write)
    monkeypatch.setattr(module, "train_here", never)
    monkeypatch.setattr(module, "_epoch_of", lambda _: 7)
    for _ in range(2):
        checkpoint = module.train(run, workspace, torch.device("cpu"))
        assert (checkpoint.path, checkpoint.epoch) == (run.final_checkpoint, 7)
    assert loaded == [str(run.final_checkpoint)]
    assert written == [42.0]
    assert not (run.folder / module.LEASE).exists()


class Planned:
    """A trainer whose axes are known only when its loaders are made, as nnU-Net's are."""

    def __init__(self) -> None:
        self.spec = TrainingSpec(run_s=100.0)
        self.train_s, self.best_checkpoints, self.mirroring, self.mirrored_prediction = 85.0, 0, True, True
        self.inference_allowed_mirroring_axes: tuple[int, ...] | None = None

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> None:
        self.inference_allowed_mirroring_axes = (0, 1)


@pytest.mark.parametrize(("plain", "mirrored", "reserved"), [(2.0, True, 8.0), (5.0, False, 5.0)])
def test_time_is_set_aside_for_mirrored_copies_or_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: float, mirrored: bool, reserved: float
) -> None:
    """Found in runs of 90 s that took 123 s: their prediction was mirrored, the time set aside was not."""
    workspace = Workspace.locate(tmp_path)
    run = Run("Dataset001_Made", "plan", "2d", "unet", 0, 0, workspace.results)
    trainer = Planned()
    monkeypatch.setattr(module, "prediction_seconds", lambda *_: (plain, 0.5))
    monkeypatch.setattr(module.time, "monotonic", lambda: 50.0)
    module._set_budget(trainer, run, workspace, began=50.0)
    assert trainer.mirrored_prediction is mirrored
    assert trainer.train_s == pytest.approx(100.0 - reserved - 0.5 - module.CLOSING_SECONDS)


@pytest.mark.parametrize(("plain", "trained"), [(60.0, 36.5), (96.0, 2.0)])
def test_a_long_prediction_takes_its_time_from_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: float, trained: float
) -> None:
    """A tenth of the time was trained at least: runs of 180 s took 222 and 298 s."""
    workspace = Workspace.locate(tmp_path)
    run = Run("Dataset001_Made", "plan", "2d", "unet", 0, 0, workspace.results)
    trainer = Planned()
    monkeypatch.setattr(module, "prediction_seconds", lambda *_: (plain, 0.5))
    monkeypatch.setattr(module.time, "monotonic", lambda: 50.0)
    module._set_budget(trainer, run, workspace, began=50.0)
    assert trainer.train_s == pytest.approx(trained)
    assert trainer.train_s + plain <= 100.0


def test_a_prediction_that_alone_passes_the_budget_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.locate(tmp_path)
    run = Run("Dataset001_Made", "plan", "2d", "unet", 0, 0, workspace.results)
    monkeypatch.setattr(module, "prediction_seconds", lambda *_: (120.0, 0.0))
    with pytest.raises(RunError, match=r"take 120 s of the 100 s .* at least 4\.0 min a run"):
        module._set_budget(Planned(), run, workspace, began=module.time.monotonic())
