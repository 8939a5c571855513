"""Prediction: of a fold's held-out cases, and of images that nobody has seen."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg import image as images
from autoseg import nnunet, progress
from autoseg.dataset import Case, labels_from_json
from autoseg.errors import RunError
from autoseg.files import read_json, write_json
from autoseg.plan import Configuration, Plan
from autoseg.preprocess import preprocess_case, read_preprocessed
from autoseg.restore import restore_segmentation
from autoseg.run import Run
from autoseg.sliding_window import predict_logits, tile_starts
from autoseg.trainers._base import autocast_dtype
from autoseg.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass
class Model:
    """A trained network, ready to predict.

    Attributes:
        networks: one per fold; their logits are averaged.
        mirror_axes: axes that may be mirrored, as the checkpoint says.
    """

    networks: list[torch.nn.Module]
    plan: Plan
    configuration: Configuration
    dataset_json: Mapping[str, Any]
    device: torch.device
    mirror_axes: tuple[int, ...]
    trainer: str = ""
    step_size: float = 0.5
    timings: list[float] = field(default_factory=list)

    def logits(self, data: np.ndarray) -> torch.Tensor:
        """Logits (heads, z, y, x) of one preprocessed case (c, z, y, x), on the plan's grid."""
        total: torch.Tensor | None = None
        for network in self.networks:
            part = predict_logits(
                network,
                torch.from_numpy(np.ascontiguousarray(data)),
                self.configuration.patch_size,
                step_size=self.step_size,
                mirror_axes=self.mirror_axes,
                device=self.device,
                dtype=autocast_dtype(self.device),
            )
            total = part if total is None else total + part
        if total is None:
            raise RunError("The model has no network. Give at least one fold.")
        return total / len(self.networks)

    def segment(self, data: np.ndarray, properties: Mapping[str, Any]) -> np.ndarray:
        """The segmentation of one preprocessed case on its original grid (z, y, x)."""
        began = time.perf_counter()
        labels = labels_from_json(self.dataset_json)
        segmentation: np.ndarray = restore_segmentation(
            self.logits(data), properties, self.plan, self.configuration, labels
        )
        self.timings.append(time.perf_counter() - began)
        return segmentation


def load_model(
    folder: Path, folds: Sequence[int | str], device: torch.device, mirroring: bool = True
) -> Model:
    """Load a run's model folder (plans.json, dataset.json, fold_*/checkpoint_final.pth).

    Raises:
        RunError: if a checkpoint is missing or is no model of autoseg or nnU-Net.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    dataset_json = read_json(folder / "dataset.json", RunError)
    document = read_json(folder / "plans.json", RunError)
    plan, manager = Plan.from_json(document), PlansManager(document)
    networks, axes, trainer, name = [], (), "", ""
    for fold in folds:
        checkpoint = nnunet.read_checkpoint(folder / f"fold_{fold}" / "checkpoint_final.pth")
        trainer, name = checkpoint["trainer_name"], checkpoint["init_args"]["configuration"]
        axes = tuple(checkpoint.get("inference_allowed_mirroring_axes") or ())
        labels = manager.get_label_manager(dataset_json)
        network = _trainer_class(trainer).build_network_architecture(
            manager,
            manager.get_configuration(name),
            len(dataset_json.get("channel_names", dataset_json.get("modality", {}))),
            labels.num_segmentation_heads,
            False,
        )
        network.load_state_dict(checkpoint["network_weights"])
        networks.append(network.to(device).eval())
    return Model(
        networks, plan, plan.configuration(name), dataset_json, device, axes if mirroring else (), trainer
    )


def trained_folds(folder: Path) -> list[str]:
    """The folds of a model folder whose training has ended.

    Raises:
        RunError: if there is none.
    """
    found = sorted(
        path.parent.name.removeprefix("fold_") for path in folder.glob("fold_*/checkpoint_final.pth")
    )
    if not found:
        raise RunError(
            f"{folder} has no fold_*/checkpoint_final.pth. Give a run's folder, or finish its training."
        )
    return found


def predict_validation(run: Run, workspace: Workspace, device: torch.device, cases: Sequence[str]) -> Path:
    """Predict the cases that a run has not seen, from their preprocessed arrays, onto the original grid.

    A case that is predicted already is not predicted again. Returns the folder of the predictions.
    """
    nnunet.activate(workspace)
    plan = Plan.load(workspace.plan_of(run.dataset, run.plan))
    ending = read_json(workspace.preprocessed_of(run.dataset) / "dataset.json", RunError)["file_ending"]
    waiting = [case for case in cases if not (run.predictions / f"{case}{ending}").is_file()]
    if not waiting:
        return run.predictions
    model = load_model(run.model_folder, [run.fold], device)
    folder = workspace.preprocessed_of(run.dataset) / model.configuration.data_identifier
    began = time.monotonic()
    with progress.stage(f"Predict {run.trainer}", total=len(waiting)) as advance:
        for case in waiting:
            data, properties = read_preprocessed(folder, case)
            segmentation = model.segment(data, properties)
            target = run.predictions / f"{case}{ending}"
            images.write_segmentation(segmentation, target, properties, plan.image_reader_writer)
            advance(detail=case)
    _write_timings(run, model.timings, time.monotonic() - began)
    return run.predictions


def predict_cases(
    model: Model, cases: Sequence[Case], output: Path, *, overwrite: bool = False
) -> list[Path]:
    """Predict raw cases and write one segmentation each, on the case's own grid.

    Args:
        model: see `load_model`.
        cases: with images in the channel order of the model's data set.
        output: folder; created if need be.
        overwrite: predict again what is there.

    Returns:
        The files, in the order of the cases.
    """
    reader = model.plan.image_reader_writer
    ending = model.dataset_json["file_ending"]
    written = []
    with progress.stage("Predict", total=len(cases)) as advance:
        for case in cases:
            target = output / f"{case.identifier}{ending}"
            if overwrite or not target.is_file():
                raw = images.read_images(case.images, reader)
                data, _, properties = preprocess_case(
                    raw, None, model.plan, model.configuration, model.dataset_json
                )
                images.write_segmentation(model.segment(data, properties), target, properties, reader)
            written.append(target)
            advance(detail=case.identifier)
    return written


def prediction_seconds(trainer: Any, run: Run, workspace: Workspace) -> float:
    """Time to predict a fold's held-out cases once, without mirroring, from one measured tile."""
    configuration = trainer.configuration_manager
    patch = tuple(configuration.patch_size)
    data = torch.randn(1, trainer.num_input_channels, *patch, device=trainer.device)
    dtype = autocast_dtype(trainer.device)
    trainer.set_deep_supervision_enabled(False)
    network = trainer.network.eval()
    times = []
    with torch.no_grad(), torch.autocast(trainer.device.type, dtype=dtype, enabled=dtype is not None):
        for _ in range(3):
            began = time.perf_counter()
            network(data)
            times.append(time.perf_counter() - began)
    trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
    _, held_out = trainer.do_split()
    folder = workspace.preprocessed_of(run.dataset) / configuration.data_identifier
    tiles = sum(_tiles(read_preprocessed(folder, case, array=False)[1]["shape"], patch) for case in held_out)
    # Reading, resampling back and writing come on top of the network's time.
    return 1.15 * min(times[1:]) * tiles + 0.03 * len(held_out)


def _tiles(shape: Sequence[int], patch: Sequence[int]) -> int:
    slices = shape[0] if len(patch) == 2 else 1
    spatial = [max(n, p) for n, p in zip(shape[-len(patch) :], patch, strict=True)]
    count = slices
    for starts in tile_starts(spatial, patch, 0.5):
        count *= len(starts)
    return count


def _trainer_class(name: str) -> type[Any]:
    """autoseg's trainer of that name, else nnU-Net's own look-up."""
    from autoseg import plugins

    if name in plugins.available("trainers"):
        return nnunet.trainer_class(name)
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    found: type[Any] = recursive_find_trainer_class_by_name(name)
    return found


def _write_timings(run: Run, timings: Sequence[float], seconds: float) -> None:
    # The first case warms up allocators and caches.
    counted = list(timings[1:]) or list(timings)
    write_json(
        run.folder / "inference.json",
        {
            "inference_s_per_case": float(np.median(counted)),
            "inference_s_per_case_p95": float(np.percentile(counted, 95)),
            "cases": len(timings),
            "predict_s": round(seconds, 2),
        },
    )
