"""A trainer's network by itself, for whoever wants the architecture without the framework."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoseg import architectures, nnunet, plugins
from autoseg.architectures import Topology
from autoseg.data.dataset import Dataset
from autoseg.planner.cascade import stage_channels
from autoseg.planner.plan import Plan
from autoseg.planner.topology import pooled

if TYPE_CHECKING:
    import torch
    from torch import nn

    from autoseg.training.trainer import Trainer


def build_network(
    trainer: str,
    input_channels: int,
    num_classes: int,
    patch_size: Sequence[int],
    spacing: Sequence[float] | None = None,
    deep_supervision: bool | None = None,
    **options: Any,
) -> nn.Module:
    """Build the network that a trainer trains, freshly initialised.

    Args:
        trainer: its name.
        input_channels: channels of the image.
        num_classes: logits per voxel, background included.
        patch_size: voxels per axis, two or three axes in array order.
        spacing: mm per axis, which decides the strides; the same along all axes if None.
        deep_supervision: whether the network gives a list of outputs, largest first; None: the trainer's way.
        options: options of the architecture.

    Returns:
        A module that takes ``(b, input_channels, *patch_size)`` and gives ``(b, num_classes, *patch_size)``.

    Raises:
        PlanError: for an unknown option or a dimension that the architecture does not have.
        UsageError: for an unknown trainer.
    """
    found = plugins.trainer_class(trainer)
    topology = pooled(tuple(spacing or (1.0,) * len(patch_size)), tuple(patch_size), 4)
    # Pooling rounds the patch up to what a U-Net divides; the network has to fit the requested patch.
    topology = dataclasses.replace(topology, patch_size=tuple(patch_size))
    supervised = found.deep_supervision if deep_supervision is None else deep_supervision
    return architectures.build_network(
        found.architecture or found.planned_architecture,
        input_channels,
        num_classes,
        topology,
        supervised,
        **{**found.architecture_options, **options},
    )


__all__ = ["Topology", "build_network"]


def build(trainer: type[Trainer], plan: Plan, configuration: str, dataset: Dataset) -> torch.nn.Module:
    """The network of a plan, as the trainer builds it, freshly initialised."""
    manager = nnunet.plans_manager(plan.to_json())
    network: torch.nn.Module = trainer.build_network_architecture(
        manager,
        manager.get_configuration(configuration),
        len(dataset.channels) + stage_channels(plan.configuration(configuration), dataset.labels),
        dataset.labels.num_heads,
        trainer.deep_supervision,
    )
    return network
