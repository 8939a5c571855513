"""A trained network, loaded and ready to predict."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg.architectures import channels_last, prepare_for_cpu
from autoseg.bundle.tiles import tile_starts
from autoseg.data import readers as images
from autoseg.data.dataset import labels_from_json
from autoseg.decoding.decoded import Saved, activated, decoded
from autoseg.decoding.rules import Decoding
from autoseg.errors import RunError
from autoseg.inference.engines import choose
from autoseg.inference.kept_engines import Kept, network_key
from autoseg.inference.memory_bound import strips
from autoseg.inference.network import build_network
from autoseg.inference.sliding_window import predict_logits, predict_slabs
from autoseg.inference.trained import read_trained
from autoseg.inference.window_passes import Certainty, Network
from autoseg.planner.plan import Configuration, Plan
from autoseg.postprocessing.apply import postprocess
from autoseg.postprocessing.rules import Postprocessing
from autoseg.preprocessing.blosc_store import read_preprocessed, read_stage
from autoseg.preprocessing.case import check_plan, preprocess_case
from autoseg.preprocessing.fit_case import fit_second_stage, with_stage
from autoseg.preprocessing.restore import Restoring, restore_probabilities
from autoseg.run import FINAL, predicting_checkpoints, stage_file
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
        decoding: how probabilities of new images become segmentations.
        previous: the first stage, whose segmentation is further input, where it is the second of a cascade.
        folders: its own, and that of the first stage.
        engine: what computes on a processor, see `autoseg.inference.engines`.
        expected_cases: to be predicted; decides with their size whether an engine is worth trying.
        certainty: when a window needs no mirrored copies; None: each has them.
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
    decoding: Decoding = field(default_factory=Decoding)
    previous: Model | None = None
    folders: tuple[Path, ...] = ()
    engine: str = "torch"
    expected_cases: int = 1
    certainty: Certainty | None = None
    _chosen: Sequence[Network] | None = None

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
        networks = self._computed_by(data.shape)
        (logits,) = predict_slabs(networks, slab_bytes=None, **self._window(data, evidence))
        return logits

    def probabilities(self, data: np.ndarray, evidence: Evidence | None = None) -> torch.Tensor:
        """Probabilities (heads, z, y, x) of one preprocessed case, on the plan's grid.

        Args:
            data: (c, z, y, x).
            evidence: takes in how the mirrored copies agree, and nothing else.
        """
        if self.averages_probabilities:
            window = self._window(data, evidence)
            networks = self._computed_by(data.shape)
            return _mean(self._activated(predict_logits(each, **window)) for each in networks)
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
            "certainty": self.certainty,
            "regions": self._has_regions,
        }

    def _computed_by(self, shape: Sequence[int]) -> Sequence[Network]:
        """The networks in the engine that was chosen when the first case (c, z, y, x) came."""
        if self.engine == "torch" or self.device.type != "cpu":
            return self.networks
        if self._chosen is None:
            passes = self.passes(shape[1:]) // len(self.networks) * self.expected_cases
            patch, dtype = self.configuration.patch_size, autocast_dtype(self.device)
            about = network_key(self.configuration.architecture.to_json(), shape[0], patch)
            kept = Kept(about, dtype)
            self._chosen = choose(self.networks, shape[0], patch, passes, dtype, self.engine, kept)
        return self._chosen

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
        restoring = Restoring(data.shape[1:], properties, self.plan, self.configuration, labels)
        if self.averages_probabilities:
            mean = self.probabilities(data, evidence)
            if evidence is not None:
                evidence.add_probabilities(mean.numpy())
            # Only their order counts; of a region, which side of the threshold, and logits have theirs at 0.
            restoring.add((mean - (0.5 if labels.has_regions else 0.0)).numpy() for _ in range(1))
        else:
            for strip in strips(data.shape[1:], self.configuration.patch_size, labels.num_heads):
                restoring.add(self._slabs(data, strip, evidence), strip)
        segmentation: np.ndarray = restoring.finished()
        self.timings.append(time.perf_counter() - began)
        return segmentation

    def raw_probabilities(
        self,
        data: np.ndarray,
        properties: Mapping[str, Any],
        evidence: Evidence | None = None,
        copies_alone: bool = False,
    ) -> np.ndarray:
        """Probabilities (heads, z, y, x) of a preprocessed case on its raw grid, float32; 0 outside the crop.

        Args:
            data: (c, z, y, x).
            properties: what preprocessing left about the case.
            evidence: takes in what the probabilities say of the segmentation by the largest.
            copies_alone: whether it takes in no more than how mirrored copies agree.
        """
        labels = labels_from_json(self.dataset_json)
        if self.averages_probabilities:
            found = self.probabilities(data, evidence).numpy()
        else:
            found = self.logits(data, evidence).numpy()
        if evidence is not None and not copies_alone:
            (evidence.add_probabilities if self.averages_probabilities else evidence.add_logits)(found)
        whole = restore_probabilities(found, properties, self.plan, self.configuration)
        return whole if self.averages_probabilities else activated(whole, labels)

    def _slabs(
        self, data: np.ndarray, strip: tuple[int, int], evidence: Evidence | None
    ) -> Iterator[np.ndarray]:
        """Logits of a strip along y, which begins with a row of the one before."""
        known = strip[0] + 1 if strip[0] else 0
        window = self._window(data, evidence)
        logits = predict_slabs(self._computed_by(data.shape), rows=strip, known_rows=known, **window)
        return seen_by(evidence, map(torch.Tensor.numpy, logits), 1 if known else 0)

    def preprocess(self, raw: images.Image) -> tuple[np.ndarray, dict[str, Any]]:
        """A raw image as the network takes it, (c, z, y, x), and what is needed for the way back."""
        if self.previous is None:
            data, _, properties = preprocess_case(raw, None, self.plan, self.configuration, self.dataset_json)
            return data, properties
        check_plan(self.plan, self.configuration)
        first = self.previous.segment(*self.previous.preprocess(raw))
        return fit_second_stage(raw, first, self._stage_values, self.plan, self.configuration)

    def preprocessed(self, folder: Path, case: str) -> tuple[np.ndarray, dict[str, Any]]:
        """A case that a training has preprocessed, as the network takes it: (c, z, y, x), and its properties.

        To a second stage the segmentation is added that the first one made when it held the case out.

        Raises:
            RunError: if the case is not there, or damaged.
        """
        data, properties = read_preprocessed(folder, case)
        if self.previous is None:
            return data, properties
        path = stage_file(self.folders[1], self.configuration.name, case)
        return with_stage(data, read_stage(path, data.shape[1:]), self._stage_values), properties

    @property
    def _stage_values(self) -> tuple[int, ...]:
        """The labels of the first stage that are channels of the second."""
        return labels_from_json(self.dataset_json).foreground_values

    def segment_image(self, raw: images.Image, evidence: Evidence | None = None) -> np.ndarray:
        """The segmentation (z, y, x) of a raw image, on its own grid."""
        case = self.preprocess(raw)
        found = self.decode(*case, evidence) if self.decoding.changes_segmentations else None
        if found is None:
            found = self.segment(*case, evidence)
        return postprocess(found, self.postprocessing, raw.spacing)

    def decode(
        self,
        data: np.ndarray,
        properties: Mapping[str, Any],
        evidence: Evidence | None = None,
        saved: Saved | None = None,
    ) -> np.ndarray:
        """The segmentation (z, y, x) by the model's decoding, with its probabilities; see `segment`."""
        began = time.perf_counter()
        copies_alone = self.decoding.changes_segmentations
        found = self.raw_probabilities(data, properties, evidence, copies_alone)
        labels = labels_from_json(self.dataset_json)
        segmentation = decoded(found, self.decoding, labels, evidence, saved)
        self.timings.append(time.perf_counter() - began)
        return segmentation


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
    as_planned: bool = False,
) -> Model:
    """Load a run's model folder (plans.json, dataset.json, fold_*/checkpoint_final.pth).

    Where a training kept its best checkpoints, these predict in place of the final one.

    Args:
        folder: the model's folder.
        folds: the folds that predict together; None: all whose training has ended. Of a cascade's first
            stage the same, or all where it has none of them.
        device: where to compute; ``auto`` takes a GPU where there is one.
        mirroring: whether to average over mirrored copies where the checkpoint allows it.
        as_trained: leave the networks as they are, not prepared for a processor.
        as_planned: take the network that the plan names, whatever trainer the checkpoint names.

    Raises:
        RunError: if a checkpoint is missing, no model of autoseg or nnU-Net, or of an unknown trainer.
        UsageError: if the device is not there.
    """
    folder, device = Path(folder), find_device(device) if isinstance(device, str) else device
    dataset_json = read_json(folder / "dataset.json", RunError)
    plan = Plan.from_json(read_json(folder / "plans.json", RunError))
    labels_from_json(dataset_json)
    networks: list[torch.nn.Module] = []
    axes: tuple[int, ...] = ()
    trainer, name = "", ""
    paths = [predicting_checkpoints(folder / f"fold_{fold}") for fold in folds or trained_folds(folder)]
    for path in (path for several in paths for path in several):
        trained = read_trained(path, plan)
        trainer, name, axes = trained.trainer, trained.configuration, trained.mirror_axes
        network = build_network(trained, plan, dataset_json, as_planned)
        if device.type == "cpu" and not as_trained:
            prepare_for_cpu(network)
            network.to(memory_format=channels_last(plan.configuration(name).dimensions))
        networks.append(network.to(device).eval())
    previous = None
    if (first := plan.configuration(name).previous_stage) is not None:
        stage = stage_before(folder, first)
        same = None if folds is None else [fold for fold in folds if is_trained(stage, fold)] or None
        previous = load_model(stage, same, device, mirroring, as_trained, as_planned)
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
        decoding=Decoding.of_model(folder),
        previous=previous,
        folders=(folder, *(previous.folders if previous else ())),
    )


def stage_before(folder: Path, configuration: str) -> Path:
    """The model folder of a cascade's first stage, which lies beside the second one's."""
    name = f"{folder.resolve().name.rpartition('__')[0]}__{configuration}"
    path = folder.resolve().parent / name
    if not (path / "plans.json").is_file():
        raise RunError(
            f"{folder} is the second stage of a cascade, and the first ({configuration}) is not at {path}. "
            f"Put the first stage's folder there, under this name."
        )
    return path


def is_trained(folder: Path, fold: int | str) -> bool:
    """Whether a fold's training has ended."""
    return (folder / f"fold_{fold}" / FINAL).is_file()


def trained_folds(folder: Path) -> list[str]:
    """The folds of a model folder whose training has ended.

    Raises:
        RunError: if there is none.
    """
    found = sorted(
        path.parent.name.removeprefix("fold_") for path in folder.glob("fold_*/checkpoint_final.pth")
    )
    # As in nnU-Net: what learnt from all cases is no fold; it predicts alone.
    found = [fold for fold in found if fold != "all"] or found
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
