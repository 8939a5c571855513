"""autoseg: a self-configuring segmentation framework for medical images.

The public names, imported when they are used, so that ``import autoseg`` costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoseg.build import build_network
    from autoseg.dataset import load_dataset
    from autoseg.errors import AutosegError
    from autoseg.evaluate import evaluate
    from autoseg.finetune import FineTunePolicy
    from autoseg.fingerprint import extract_fingerprint
    from autoseg.folds import make_folds
    from autoseg.intake.verify import verify
    from autoseg.leaderboard.ranking import rank
    from autoseg.pipeline import plan_and_train
    from autoseg.planner import plan_experiment
    from autoseg.predict import predict_cases
    from autoseg.preprocess import preprocess_dataset
    from autoseg.train import train

_HOMES = {
    "AutosegError": "errors",
    "build_network": "build",
    "evaluate": "evaluate",
    "extract_fingerprint": "fingerprint",
    "FineTunePolicy": "finetune",
    "load_dataset": "dataset",
    "make_folds": "folds",
    "plan_and_train": "pipeline",
    "plan_experiment": "planner",
    "predict_cases": "predict",
    "preprocess_dataset": "preprocess",
    "rank": "leaderboard.ranking",
    "train": "train",
    "verify": "intake.verify",
}

__all__ = [
    "AutosegError",
    "FineTunePolicy",
    "build_network",
    "evaluate",
    "extract_fingerprint",
    "load_dataset",
    "make_folds",
    "plan_and_train",
    "plan_experiment",
    "predict_cases",
    "preprocess_dataset",
    "rank",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autoseg' has no attribute {name!r}")
    return getattr(importlib.import_module(f"autoseg.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps a stage's function under its name when the module of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds every submodule to its package; `autoseg.train` is to stay the function.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
