"""Model folders as a training leaves them, of networks that were never trained, and images for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from scipy.ndimage import zoom

from autoseg import nnunet, plugins
from autoseg.data.fingerprint import Fingerprint
from autoseg.inference.network import channels_of
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Plan
from autoseg.planner.presets import PRESETS

ABOUT: dict[str, Any] = {
    "channel_names": {"0": "MR"},
    "labels": {"background": 0, "head": 1, "body": 2},
    "numTraining": 4,
    "file_ending": ".nii.gz",
}
REGIONS: dict[str, Any] = {
    **ABOUT,
    "labels": {"background": 0, "whole": [1, 2], "body": 2},
    "regions_class_order": [1, 2],
}
IGNORE: dict[str, Any] = {**ABOUT, "labels": {**ABOUT["labels"], "ignore": 3}}
SLICE: dict[str, Any] = {**ABOUT, "file_ending": ".png"}
SHAPES = {"3d_fullres": (20, 28, 24), "2d": (1, 48, 40)}
STAGES = ("3d_lowres", "3d_cascade_fullres")


def fingerprint(shape: tuple[int, ...], spacing: tuple[float, ...]) -> Fingerprint:
    numbers = {"mean": 40.0, "median": 40.0, "std": 25.0, "min": 0.0, "max": 200.0}
    return Fingerprint(
        (spacing,) * 4, (shape,) * 4, {0: numbers | {"percentile_99_5": 150.0, "percentile_00_5": 1.0}}, 1.0
    )


def model_folder(
    parent: Path,
    trainer: str = "nnunet",
    configuration: str = "3d_fullres",
    about: Mapping[str, Any] = ABOUT,
    folds: Sequence[int] = (0,),
    best: int = 0,
    axes: Sequence[int] | None = (0,),
    transpose: tuple[int, int, int] | None = None,
    **changes: Any,
) -> Path:
    """A model folder of a trainer with random weights.

    Args:
        parent: where results lie.
        trainer: whose network.
        configuration: of the plan; one of `STAGES` has a small network and a plan of a cascade.
        about: dataset.json.
        folds: trained ones.
        best: checkpoints that are kept in each fold; 0: the last.
        axes: that may be mirrored, in the patch.
        transpose: of the plan.
        **changes: of the configuration's entries.
    """
    document = _plans(trainer, configuration, about, transpose, changes)
    folder = parent / "Dataset001_Small" / f"{trainer}__{document['plans_name']}__{configuration}"
    _write(folder / "plans.json", document)
    _write(folder / "dataset.json", {**about, "dataset": {}})
    for fold in folds:
        place, best_names = folder / f"fold_{fold}", [f"checkpoint_best_{n + 1}.pth" for n in range(best)]
        for number, name in enumerate(best_names or ["checkpoint_final.pth"]):
            weights = _weights(trainer, document, configuration, about, seed=10 * fold + number)
            _save(place / name, weights, trainer, document, configuration, about, axes)
        if best:
            _save(place / "checkpoint_final.pth", weights, trainer, document, configuration, about, axes)
            listed = [{"file": name, "loss": 0.0} for name in best_names]
            _write(place / "best_checkpoints.json", {"checkpoints": listed})
    return folder


def _plans(
    trainer: str,
    configuration: str,
    about: Mapping[str, Any],
    transpose: tuple[int, int, int] | None,
    changes: Mapping[str, Any],
) -> dict[str, Any]:
    """plans.json; see `model_folder`."""
    shape = SHAPES.get(configuration, SHAPES["3d_fullres"])
    first = 1.0 if about["file_ending"] != ".png" else 999.0
    spacing = (first, 1.0, 1.0)
    preset = trainer if trainer in PRESETS else "nnunet"
    plan = plan_experiment(
        about,
        fingerprint(shape, spacing),
        preset,
        dataset_name="Dataset001_Small",
        transpose=True if transpose is None else transpose,
    )
    document = {**plan.to_json(), "continue_training": False}
    configurations = document["configurations"]
    if configuration in STAGES:
        whole = {**configurations["3d_fullres"], "architecture": _of_two_levels(configurations["3d_fullres"])}
        configurations |= {
            STAGES[0]: {**whole, "spacing": [1.5, 1.5, 1.5], "next_stage": STAGES[1]},
            STAGES[1]: {**whole, "previous_stage": STAGES[0]},
        }
    configurations[configuration].update(changes)
    return document


def cascade_folder(
    parent: Path,
    about: Mapping[str, Any] = ABOUT,
    folds: Sequence[int] = (0,),
    first_folds: Sequence[int] = (0,),
    **fields: Any,
) -> Path:
    """The folder of a cascade's second stage, with the first one's beside it; see `model_folder`."""
    model_folder(parent, configuration=STAGES[0], about=about, folds=first_folds, **fields)
    return model_folder(parent, configuration=STAGES[1], about=about, folds=folds, **fields)


def _of_two_levels(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Its network with two levels of few features."""
    network = configuration["architecture"]
    kwargs = {**network["arch_kwargs"], "n_stages": 2, "features_per_stage": [8, 12]}
    for key in ("kernel_sizes", "strides", "n_conv_per_stage"):
        kwargs[key] = kwargs[key][:2]
    kwargs["n_conv_per_stage_decoder"] = kwargs["n_conv_per_stage_decoder"][:1]
    return {**network, "arch_kwargs": kwargs}


def _weights(
    trainer: str, document: dict[str, Any], configuration: str, about: Mapping[str, Any], seed: int
) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    manager = nnunet.plans_manager(document)
    heads = manager.get_label_manager(dict(about)).num_segmentation_heads
    channels = channels_of(Plan.from_json(document).configuration(configuration), about)
    network = plugins.trainer_class(trainer).build_network_architecture(
        manager, manager.get_configuration(configuration), channels, heads, False
    )
    # As a training leaves them: no sums that are exactly zero, and statistics of a batch.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
            # What all heads share decides nothing and hides what differs; a bias decides everywhere alike.
            if len(parameter) == heads:
                parameter.sub_(parameter.mean(0, keepdim=True) if parameter.ndim > 1 else parameter.clone())
            # Of a second stage: what the first one found decides much.
            if parameter.ndim > 2 and parameter.shape[1] == channels:
                parameter[:, len(about["channel_names"]) :] *= 8
    weights: dict[str, torch.Tensor] = network.state_dict()
    return weights


def _save(
    path: Path,
    weights: dict[str, torch.Tensor],
    trainer: str,
    document: dict[str, Any],
    configuration: str,
    about: Mapping[str, Any],
    axes: Sequence[int] | None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "network_weights": weights,
        "trainer_name": trainer,
        "init_args": {"plans": document, "configuration": configuration, "fold": 0, "dataset_json": about},
        "inference_allowed_mirroring_axes": None if axes is None else tuple(axes),
        "logging": {"ema_fg_dice": [np.float64(0.5)]},
        "optimizer_state": {},
    }
    torch.save(content, path)


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_volume(
    path: Path, shape: tuple[int, int, int] = (26, 35, 30), spacing: Sequence[float] = (0.9, 1.1, 1.3)
) -> Path:
    """A smooth volume with a border of zeros and a hole, turned in the world. `spacing` is (x, y, z)."""
    inner = [n - 5 for n in shape]
    coarse = np.random.default_rng(len(path.name)).normal(60, 30, [max(2, n // 3) for n in inner])
    factors = [n / old for n, old in zip(inner, coarse.shape, strict=True)]
    array = np.pad(zoom(coarse, factors, order=1), [(2, 3)] * 3)
    array[tuple(slice(n // 2, n // 2 + 2) for n in shape)] = 0
    image = sitk.GetImageFromArray(np.round(array).astype(np.int16))
    image.SetSpacing(spacing)
    image.SetOrigin((4.0, -7.0, 11.0))
    image.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path
