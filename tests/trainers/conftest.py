"""A trainer to try things on."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bare_trainers import bare_trainer
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from autoseg.workspace import Workspace


@pytest.fixture
def make_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Build an initialised trainer, without data."""
    workspace = Workspace.locate(tmp_path)
    for name, value in workspace.environment().items():
        monkeypatch.setenv(name, value)
    return functools.partial(bare_trainer, workspace)


@pytest.fixture
def scripted(make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Trainers of 12 epochs of 30 steps whose losses are a script, and whose steps add 1 to one weight.

    A script takes the trainer and gives the loss; `found` takes it and gives the voxels of the structure that
    a look finds and misses.
    """

    def make(
        script: Callable[[Any], float],
        found: Callable[[Any], tuple[float, float]] = lambda _: (50.0, 50.0),
        **options: Any,
    ) -> Any:
        trainer = make_trainer(shape=(2, 24, 24), epochs=12, steps_per_epoch=30, **options)

        def start(started: Any) -> None:
            started.dataloader_train = started.dataloader_val = itertools.repeat(None)

        def step(_: Any) -> dict[str, Any]:
            loss = np.float32(script(trainer))
            if np.isfinite(loss):
                with torch.no_grad():
                    next(trainer._bare_network().parameters()).view(-1)[0] += 1.0
            return {"loss": loss}

        def validate(_: Any) -> dict[str, Any]:
            hit, missed = found(trainer)
            counts = {"tp_hard": hit, "fp_hard": 0.0, "fn_hard": missed}
            return {"loss": np.float32(0.0), **{key: np.array([value]) for key, value in counts.items()}}

        monkeypatch.setattr(nnUNetTrainer, "on_train_start", start)
        monkeypatch.setattr(trainer, "optimiser_step", step)
        monkeypatch.setattr(trainer, "validation_step", validate)
        monkeypatch.setattr(trainer.logger, "plot_progress_png", lambda _: None)
        monkeypatch.setattr(type(trainer), "keeping_fraction", float("inf"))
        return trainer

    return make
