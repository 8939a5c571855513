"""A training that ended, but whose cost was not written, is accounted for and not trained again."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoseg.run import Run
from autoseg.workspace import Workspace

# `autoseg.train` by attribute is the function.
module = importlib.import_module("autoseg.train")


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
    monkeypatch.setattr(module, "_train", never)
    monkeypatch.setattr(module, "_epoch_of", lambda _: 7)
    for _ in range(2):
        checkpoint = module.train(run, workspace, torch.device("cpu"))
        assert (checkpoint.path, checkpoint.epoch) == (run.final_checkpoint, 7)
    assert loaded == [str(run.final_checkpoint)]
    assert written == [42.0]
    assert not (run.folder / module.LEASE).exists()
