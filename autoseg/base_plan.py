"""nnU-Net's plan for a trainer, at a coarser spacing too, and the network that a trainer makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoseg import nnunet
from autoseg.architectures import Topology, class_path
from autoseg.choice import Choice, Request, Start
from autoseg.dataset import Dataset
from autoseg.fingerprint import Fingerprint
from autoseg.plan import Configuration, Plan
from autoseg.planner import plan_experiment
from autoseg.planner.presets import PRESETS
from autoseg.planner.spacing import first_axis
from autoseg.transfer.moved_plan import move_plan

if TYPE_CHECKING:
    import torch

    from autoseg.trainers._base import Trainer


def build(trainer: type[Trainer], plan: Plan, configuration: str, dataset: Dataset) -> torch.nn.Module:
    """The network of a plan, as the trainer builds it, freshly initialised."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plan.to_json())
    network: torch.nn.Module = trainer.build_network_architecture(
        manager,
        manager.get_configuration(configuration),
        len(dataset.channels),
        dataset.labels.num_heads,
        trainer.deep_supervision,
    )
    return network


def topology_of(configuration: Configuration) -> Topology:
    """Patch, strides and kernels of a planned configuration."""
    kwargs = configuration.architecture.kwargs
    return Topology(
        configuration.patch_size,
        configuration.spacing,
        tuple(kwargs["strides"]),
        tuple(kwargs["kernel_sizes"]),
    )


def base_plan(
    dataset: Dataset,
    fingerprint: Fingerprint,
    choice: Choice,
    request: Request,
    coarsening: float = 1.0,
) -> Plan:
    """nnU-Net's plan for a choice, or a model's plan.

    Args:
        dataset: that is planned.
        fingerprint: of the same data set.
        choice: its preset is planned with, where nnU-Net has one of that name.
        request: memory target and the axis that slices are cut along.
        coarsening: factor on the target spacing.
    """
    preset = choice.name if choice.name in PRESETS else "nnunet"
    memory_gb = request.memory_gb
    order = True if request.axis is None else first_axis(request.axis)
    plan = plan_experiment(dataset, fingerprint, preset, memory_gb=memory_gb, transpose=order)
    if (source := Start.of(choice).plan_from) is not None:
        trainer = nnunet.trainer_class(choice.name)
        network = class_path(trainer.architecture or trainer.planned_architecture)
        return move_plan(source, dataset, fingerprint, plan, network)
    if coarsening == 1.0:
        return plan
    spacing = list(plan.configurations.values())[-1].spacing
    whole = [999.0] * (3 - len(spacing)) + [n * coarsening for n in spacing]
    if len(spacing) == 2:
        whole[0] = plan.original_median_spacing[0]
    array_order = [whole[plan.transpose_backward[axis]] for axis in range(3)]
    return plan_experiment(
        dataset, fingerprint, preset, memory_gb=memory_gb, spacing=array_order, transpose=order
    )
