"""The peak memory of a trainer on a data set, for any patch and batch, and the largest of those that fit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from autoseg.architectures import Topology, build_network
from autoseg.planner.cascade import stage_channels
from autoseg.planner.plan import Configuration, Decision, Plan
from autoseg.system.device import autocast_dtype
from autoseg.tailoring.memory.footprint import Footprint, Loading, MemoryCalibration, footprint
from autoseg.tailoring.memory.largest_patch import (
    LEFT_FREE,
    SOURCE,
    Constraints,
    Fit,
    largest_patch_batch,
    usable,
)
from autoseg.tailoring.memory.trace import trace_network
from autoseg.training.loaders import HOLD_BELOW_BYTES

if TYPE_CHECKING:
    from autoseg.data.dataset import Dataset
    from autoseg.data.fingerprint import Fingerprint
    from autoseg.training.trainer import Trainer

# Values that an optimiser keeps for each weight.
MOMENTS = {"sgd": 1, "adam": 2, "adamw": 2}


@dataclass(frozen=True)
class TrainingMemory:
    """What a trainer takes; called with a topology and a batch size it gives the footprint.

    Attributes:
        trainer: its class.
        channels: number of channels of an image.
        classes: logits per voxel.
        case_voxels: voxels of each preprocessed case.
        device: where it trains.
        calibration: the device's calibration.
        options: options of the architecture, on top of the trainer's own.
    """

    trainer: type[Trainer]
    channels: int
    classes: int
    case_voxels: Sequence[float]
    device: torch.device
    calibration: MemoryCalibration
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, topology: Topology, batch_size: int) -> Footprint:
        """The footprint of a training with that patch and batch; takes about a second."""
        options = {**self.trainer.architecture_options, **self.options}
        supervised = self.trainer.deep_supervision
        # nnU-Net trains in float16 on a GPU; what counts here is that it is two bytes wide.
        reduced = torch.float16 if self.device.type == "cuda" else autocast_dtype(self.device)
        step = trace_network(
            lambda: build_network(
                self.architecture, self.channels, self.classes, topology, supervised, **options
            ),
            (batch_size, self.channels, *topology.patch_size),
            self.classes,
            self.device,
            reduced,
        )
        moments = MOMENTS[self.trainer.optimizer_name]
        if self.device.type != "cpu":
            return footprint(step, moments, self.calibration)
        foreground = max(self.classes - 1, 1)
        loading = Loading(self.case_voxels, self.channels, foreground, topology.patch_size, HOLD_BELOW_BYTES)
        return footprint(step, moments, self.calibration, loading, batch_size)

    @property
    def architecture(self) -> str:
        """The name of the trainer's network."""
        return self.trainer.architecture or self.trainer.planned_architecture


def within_memory(
    memory: TrainingMemory, planned: Configuration, topology: Topology, memory_gb: float
) -> tuple[Topology, int, Decision]:
    """The patch and batch of a planned configuration that keep to the memory.

    nnU-Net's own networks keep nnU-Net's plan, which follows the memory by nnU-Net's rule, where it fits; all
    others get the largest patch and batch that they can take.

    Args:
        memory: what the trainer takes.
        planned: nnU-Net's configuration.
        topology: the topology of that configuration.
        memory_gb: most memory that training may take, all in all.

    Raises:
        PlanError: if not even the smallest patch fits; the message says what it takes.
    """
    if memory.trainer.architecture is None:
        needed = memory(topology, planned.batch_size)
        if needed.total <= usable(memory_gb):
            inputs = {"memory_gb": memory_gb, "left_free": LEFT_FREE, "footprint_gb": needed.to_json()}
            value = {"patch_size": list(topology.patch_size), "batch_size": planned.batch_size}
            rule = "nnU-Net's plan for that memory, which fits"
            return (
                topology,
                planned.batch_size,
                Decision(f"{planned.name}.memory_fit", value, rule, inputs, SOURCE),
            )
    fit = _largest(memory, planned, memory_gb)
    return fit.topology, fit.batch_size, dataclasses.replace(fit.decision, name=f"{planned.name}.memory_fit")


def _largest(memory: TrainingMemory, configuration: Configuration, memory_gb: float) -> Fit:
    # The batch that is planned is trained even where it is below what the trainer asks for elsewhere.
    limits = Constraints(memory.trainer.smallest_batch, configuration.batch_size)
    return largest_patch_batch(memory, configuration.spacing, configuration.median_shape, memory_gb, limits)


def memory_of(
    trainer: type[Trainer],
    dataset: Dataset,
    fingerprint: Fingerprint,
    plan: Plan,
    configuration: Configuration,
    device: torch.device,
    calibration: MemoryCalibration,
    options: Mapping[str, Any] | None = None,
) -> TrainingMemory:
    """The memory of a trainer on a data set that is planned."""
    return TrainingMemory(
        trainer,
        len(dataset.channels) + stage_channels(configuration, dataset.labels),
        dataset.labels.num_heads,
        case_voxels(fingerprint, plan, configuration),
        device,
        calibration,
        options or {},
    )


def case_voxels(fingerprint: Fingerprint, plan: Plan, configuration: Configuration) -> list[float]:
    """Voxels of each case as it is preprocessed for a configuration, about."""
    found = []
    for shape, old in zip(fingerprint.shapes_after_crop, fingerprint.spacings, strict=True):
        sizes = [shape[axis] for axis in plan.transpose]
        steps = [old[axis] for axis in plan.transpose]
        # A 2D configuration keeps all slices, and resamples within them.
        kept = len(sizes) - configuration.dimensions
        inside = zip(sizes[kept:], steps[kept:], configuration.spacing, strict=True)
        found.append(math.prod(sizes[:kept]) * math.prod(n * step / new for n, step, new in inside))
    return found
