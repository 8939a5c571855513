"""nnU-Net's plan for a trainer, at a coarser spacing too, and the network that a trainer makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoseg import plugins
from autoseg.architectures import class_path
from autoseg.data.dataset import Dataset
from autoseg.data.fingerprint import Fingerprint
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Plan
from autoseg.planner.presets import PRESETS
from autoseg.planner.spacing import first_axis
from autoseg.tailoring.plan_of_model import move_plan
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice, Start

if TYPE_CHECKING:
    pass


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
        fingerprint: the fingerprint of the same data set.
        choice: its preset is planned with, where nnU-Net has one of that name.
        request: memory target and the axis that slices are cut along.
        coarsening: factor on the target spacing.
    """
    preset = choice.name if choice.name in PRESETS else "nnunet"
    memory_gb = request.memory_gb
    order = True if request.axis is None else first_axis(request.axis)
    plan = plan_experiment(dataset, fingerprint, preset, memory_gb=memory_gb, transpose=order)
    if (source := Start.of(choice).plan_from) is not None:
        trainer = plugins.trainer_class(choice.name)
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
