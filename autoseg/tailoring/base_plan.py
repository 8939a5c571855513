"""nnU-Net's plan for a trainer, at a coarser spacing too, and the network that a trainer makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoseg.architectures import class_path
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Plan
from autoseg.planner.presets import PRESETS
from autoseg.planner.spacing import first_axis
from autoseg.tailoring.plan_of_model import move_plan

if TYPE_CHECKING:
    from autoseg.tailoring.variant import Variant


def base_plan(variant: Variant, coarsening: float = 1.0) -> Plan:
    """nnU-Net's plan for a variant, or a model's plan.

    Args:
        variant: its trainer's preset is planned with, where nnU-Net has one of that name; of its request the
            memory target, and the axis that slices are cut along.
        coarsening: factor on the target spacing.
    """
    dataset, fingerprint, request = variant.dataset, variant.fingerprint, variant.request
    preset = variant.choice.name if variant.choice.name in PRESETS else "nnunet"
    memory_gb = request.memory_gb
    order = True if request.axis is None else first_axis(request.axis)
    plan = plan_experiment(dataset, fingerprint, preset, memory_gb=memory_gb, transpose=order)
    if (source := variant.start.plan_from) is not None:
        network = class_path(variant.trainer.architecture or variant.trainer.planned_architecture)
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
