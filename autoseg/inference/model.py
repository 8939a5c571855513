"""A trained network, loaded and ready to predict."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg import nnunet
from autoseg.architectures import channels_last, prepare_for_cpu
from autoseg.bundle.tiles import tile_starts
from autoseg.data import readers as images
from autoseg.data.dataset import labels_from_json
from autoseg.errors import AutosegError, PlanError, RunError
from autoseg.inference.sliding_window import predict_logits, predict_slabs
from autoseg.inference.trained import fill, read_trained
from autoseg.names import shown
from autoseg.planner.plan import Configuration, Plan
from autoseg.postprocessing.apply import postprocess
from autoseg.postprocessing.rules import Postprocessing
from autoseg.preprocessing.dataset import preprocess_case
from autoseg.preprocessing.restore import restore_slabs
from autoseg.run import predicting_checkpoints
from autoseg.system.device import autocast_dtype, find_device
from autoseg.system.files import read_json
from autoseg.trust.evidence import Evidence, seen_by


@dataclass
class Model:
    """A trained network, ready to predict.

    Attributes:
        networks: one per fold, or several where a training kept its best checkpoints.
        averages_probabilities: whether the mean is taken over the networks' probabilities, as for best
            checkpoints, or over their logits, as nnU-Net does with folds.
        mirror_axes: axes that may be mirrored, as the checkpoint says.
        postprocessing: what is done to the segmentations of new images.
    """

    networks: list[torch.nn.Module]
    plan: Plan
    configuration: Configuration
    dataset_json: Mapping[str, Any]
    device: torch.device
    mirror_axes: tuple[int, ...]
    trainer: str = ""
    step_size: float = 0.5
    averages_probabilities: bool = False
    timings: list[float] = field(default_factory=list)
    postprocessing: Postprocessing = field(default_factory=Postprocessing)

    @property
    def reader(self) -> str:
        """nnU-Net's reader class."""
        return self.plan.image_reader_writer

    @property
    def orientation(self) -> Mapping[str, Any]:
        """How the images are stored that it learnt from; empty if the plan does not say."""
        found: Mapping[str, Any] = self.plan.provenance.get("orientation", {})
        return found

    def logits(self, data: np.ndarray, evidence: Evidence | None = None) -> torch.Tensor:
        """Mean logits (heads, z, y, x) of one preprocessed case (c, z, y, x), on the plan's grid."""
        (logits,) = predict_slabs(self.networks, slab_bytes=None, **self._window(data, evidence))
        return logits

    def probabilities(self, data: np.ndarray, evidence: Evidence | None = None) -> torch.Tensor:
        """Probabilities (heads, z, y, x) of one preprocessed case, on the plan's grid.

        Args:
            data: (c, z, y, x).
            evidence: takes in how the mirrored copies agree, and nothing else.
        """
        if self.averages_probabilities:
            window = self._window(data, evidence)
            return _mean(self._activated(predict_logits(each, **window)) for each in self.networks)
        return self._activated(self.logits(data, evidence))

    def _window(self, data: np.ndarray, evidence: Evidence | None = None) -> dict[str, Any]:
        """The arguments of a sliding window."""
        return {
            "image": torch.from_numpy(np.ascontiguousarray(data)),
            "patch_size": self.configuration.patch_size,
            "step_size": self.step_size,
            "mirror_axes": self.mirror_axes,
            "device": self.device,
            "dtype": autocast_dtype(self.device),
            "evidence": evidence,
        }

    def _activated(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.sigmoid() if self._has_regions else logits.softmax(0)

    @property
    def _has_regions(self) -> bool:
        return labels_from_json(self.dataset_json).has_regions

    def passes(self, shape: Sequence[int]) -> int:
        """Patches that go through the networks for a preprocessed case (z, y, x), mirrored ones included."""
        copies: int = 2 ** len(self.mirror_axes)
        return _tiles(shape, self.configuration.patch_size, self.step_size) * copies * len(self.networks)

    def segment(
        self, data: np.ndarray, properties: Mapping[str, Any], evidence: Evidence | None = None
    ) -> np.ndarray:
        """The segmentation of one preprocessed case on its original grid (z, y, x).

        Args:
            data: (c, z, y, x).
            properties: what preprocessing left about the case.
            evidence: takes in what the probabilities say of the segmentation.
        """
        began = time.perf_counter()
        labels = labels_from_json(self.dataset_json)
        if not self.averages_probabilities:
            logits = predict_slabs(self.networks, **self._window(data, evidence))
            slabs = seen_by(evidence, (slab.numpy() for slab in logits))
        else:
            mean = self.probabilities(data, evidence)
            if evidence is not None:
                evidence.add_probabilities(mean.numpy())
            # Only their order counts; of a region, which side of the threshold, and logits have theirs at 0.
            slabs = ((mean - (0.5 if labels.has_regions else 0.0)).numpy() for _ in range(1))
        segmentation: np.ndarray = restore_slabs(
            slabs, data.shape[1:], properties, self.plan, self.configuration, labels
        )
        self.timings.append(time.perf_counter() - began)
        return segmentation

    def preprocess(self, raw: images.Image) -> tuple[np.ndarray, dict[str, Any]]:
        """A raw image as the network takes it, (c, z, y, x), and what is needed for the way back."""
        data, _, properties = preprocess_case(raw, None, self.plan, self.configuration, self.dataset_json)
        return data, properties

    def segment_image(self, raw: images.Image, evidence: Evidence | None = None) -> np.ndarray:
        """The segmentation (z, y, x) of a raw image, on its own grid."""
        return postprocess(self.segment(*self.preprocess(raw), evidence), self.postprocessing, raw.spacing)


def _mean(parts: Iterator[torch.Tensor]) -> torch.Tensor:
    """The mean, one part in memory beside the sum."""
    total, count = None, 0
    for part in parts:
        total, count = part if total is None else total.add_(part), count + 1
    if total is None:
        raise RunError("The model has no network. Give at least one fold.")
    return total.div_(count)


def load_model(
    folder: Path | str,
    folds: Sequence[int | str] | None = None,
    device: torch.device | str = "auto",
    mirroring: bool = True,
    as_trained: bool = False,
) -> Model:
    """Load a run's model folder (plans.json, dataset.json, fold_*/checkpoint_final.pth).

    Where a training kept its best checkpoints, these predict in place of the final one.

    Args:
        folder: the model's folder.
        folds: the folds that predict together; None: all whose training has ended.
        device: where to compute; ``auto`` takes a GPU where there is one.
        mirroring: whether to average over mirrored copies where the checkpoint allows it.
        as_trained: leave the networks as they are, not prepared for a processor.

    Raises:
        RunError: if a checkpoint is missing or is not a model of autoseg or nnU-Net.
        UsageError: if the device is not there.
    """
    folder, device = Path(folder), find_device(device) if isinstance(device, str) else device
    dataset_json = read_json(folder / "dataset.json", RunError)
    document = read_json(folder / "plans.json", RunError)
    plan, manager = Plan.from_json(document), nnunet.plans_manager(document)
    labels_from_json(dataset_json)
    networks: list[torch.nn.Module] = []
    axes: tuple[int, ...] = ()
    trainer, name = "", ""
    paths = [predicting_checkpoints(folder / f"fold_{fold}") for fold in folds or trained_folds(folder)]
    for path in (path for several in paths for path in several):
        trained = read_trained(path, plan)
        trainer, name, axes = trained.trainer, trained.configuration, trained.mirror_axes
        network = _built(trainer_of(trainer, plan, folder), manager, name, dataset_json, folder)
        fill(network, trained)
        if device.type == "cpu" and not as_trained:
            prepare_for_cpu(network)
            network.to(memory_format=channels_last(plan.configuration(name).dimensions))
        networks.append(network.to(device).eval())
    return Model(
        networks,
        plan,
        plan.configuration(name),
        dataset_json,
        device,
        axes if mirroring else (),
        trainer,
        averages_probabilities=any(len(several) > 1 for several in paths),
        postprocessing=Postprocessing.of_model(folder),
    )


def _built(
    trainer: type[Any], manager: Any, configuration: str, dataset_json: Mapping[str, Any], folder: Path
) -> torch.nn.Module:
    """The network of a plan, without its weights.

    Raises:
        PlanError: if the plan's numbers make none.
    """
    try:
        network: torch.nn.Module = trainer.build_network_architecture(
            manager,
            manager.get_configuration(configuration),
            len(dataset_json.get("channel_names") or dataset_json.get("modality") or {}),
            manager.get_label_manager(dataset_json).num_segmentation_heads,
            False,
        )
    except AutosegError:
        raise
    except Exception as problem:  # constructors of other packages with numbers of a file: whatever they raise
        said = " ".join(str(problem).split())[:200]
        raise PlanError(
            f"{folder / 'plans.json'} makes no network ({type(problem).__name__}: {said}). Restore it "
            f"from its source, beside the checkpoints that were trained with it."
        ) from problem
    return network


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


def _tiles(shape: Sequence[int], patch: Sequence[int], step_size: float = 0.5) -> int:
    slices = shape[0] if len(patch) == 2 else 1
    spatial = [max(n, p) for n, p in zip(shape[-len(patch) :], patch, strict=True)]
    count = slices
    for starts in tile_starts(spatial, patch, step_size):
        count *= len(starts)
    return count


def trainer_of(name: str, plan: Plan, folder: Path) -> type[Any]:
    """The trainer of that name, or of the file that the plan names, else nnU-Net's own look-up."""
    from autoseg import plugins

    file = None if plan.training is None else plan.training.trainer_file
    if file is not None or name in plugins.available("trainers"):
        return plugins.trainer_of_plan(name, file, f"The model {folder}")
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        found: type[Any] = recursive_find_trainer_class_by_name(name)
    except RuntimeError:
        raise RunError(
            f"The model {folder} was trained by {shown(name)}, which neither autoseg nor nnU-Net has. "
            f"Install what brings it, or name its folder in {nnunet.EXTENSION_VARIABLE}."
        ) from None
    return found
