"""Trainers without data, for tests of what a trainer does."""

from __future__ import annotations

from typing import Any

import torch

from autoseg import plugins
from autoseg.data.fingerprint import Fingerprint
from autoseg.planner import plan_experiment
from autoseg.workspace import Workspace

ABOUT: dict[str, Any] = {
    "channel_names": {"0": "MR"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 20,
    "file_ending": ".nii.gz",
}


def fingerprint_of(shape: tuple[int, ...]) -> Fingerprint:
    """Twenty cases of one shape, 1 mm voxels."""
    numbers = {"mean": 0.0, "median": 0.0, "std": 1.0, "min": 0.0, "max": 1.0}
    percentiles = {"percentile_99_5": 1.0, "percentile_00_5": 0.0}
    return Fingerprint(((1.0, 1.0, 1.0),) * 20, (shape,) * 20, {0: numbers | percentiles}, 1.0)


def bare_trainer(
    workspace: Workspace,
    name: str | type = "nnunet",
    shape: tuple[int, ...] = (2, 40, 40),
    seconds: float | None = None,
    **hyperparameters: Any,
) -> Any:
    """An initialised trainer for cases of a shape (z, y, x), in a workspace that nnU-Net's variables name."""
    plan = plan_experiment(ABOUT, fingerprint_of(shape), dataset_name="Dataset001_Small")
    configuration = plan.configuration("3d_fullres" if shape[0] > 1 else "2d")
    folder = workspace.preprocessed_of("Dataset001_Small") / configuration.data_identifier
    folder.mkdir(parents=True, exist_ok=True)
    # nnU-Net infers from the files' ending how the cases are stored.
    (folder / "case.b2nd").touch()
    document = plan.to_json()
    training = {"hyperparameters": hyperparameters}
    if seconds is not None:
        training["train_seconds"] = seconds  # type: ignore[assignment]
    document["autoseg"]["provenance"]["training"] = training
    kind = plugins.trainer_class(name) if isinstance(name, str) else name
    document.setdefault("continue_training", False)
    trainer = kind(document, configuration.name, 0, dict(ABOUT), torch.device("cpu"))
    trainer.initialize()
    return trainer


def batch_for(trainer: Any, seed: int = 1) -> dict[str, Any]:
    """Noise with blobs to find, as the trainer's loader would give it."""
    size = trainer.configuration_manager.patch_size
    data = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(seed))
    label = (torch.nn.functional.avg_pool3d(data, (1, 5, 5), 1, (0, 2, 2)) > 0).float()
    scales = trainer._get_deep_supervision_scales()
    resized = [torch.nn.functional.interpolate(label, scale_factor=tuple(scale)) for scale in scales]
    return {"data": data, "target": resized}
