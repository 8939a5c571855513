"""A plan fitted to one trainer, the device and the time there is."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autoseg import plugins
from autoseg.errors import PlanError
from autoseg.planner.budget import FEWEST_STEPS, Shape
from autoseg.planner.cascade import joined
from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.planner.normalization_schemes import with_percentiles
from autoseg.planner.orientation import has_orientations, orientation_decision, slicing_axes
from autoseg.planner.plan import Configuration, Decision, Plan
from autoseg.planner.training_spec import TrainingSpec
from autoseg.tailoring.choose_configuration import choose_configuration
from autoseg.tailoring.choose_shape import fit
from autoseg.tailoring.fit_to_resources import TRAINING_FRACTION, Fitting, predicted_steps, published_width
from autoseg.tailoring.options import (
    is_stock,
    normalization_of,
    rate_changes,
    wanted_orientations,
)
from autoseg.tailoring.plan_of_model import keeps_normalization, moved_words
from autoseg.tailoring.trainer_spec import NORMALIZATION, Choice, Start
from autoseg.tailoring.training_length import (
    Chosen,
    count_steps,
    optimiser_words,
    small_shape,
    step_changes,
    with_adamw,
    with_high_rate,
    without_mirroring,
)
from autoseg.tailoring.variant import Variant, dimension_of
from autoseg.transfer.initialisation import RANDOM

if TYPE_CHECKING:
    pass

__all__ = [
    "choose_configuration",
    "dimension_of",
    "member_variants",
    "tailor",
    "tailor_members",
]

log = logging.getLogger(__name__)


def member_variants(variant: Variant) -> tuple[Variant, ...]:
    """The trainings of a variant: itself, or one for each orientation, with equal fractions of the time.

    Raises:
        PlanError: if the data have no configuration that the trainer can train.
        UsageError: for an unknown trainer, or a number of orientations that there is not.
    """
    wanted = wanted_orientations(variant.trainer, variant.choice)
    if wanted == 1:
        return (variant,)
    configuration, _ = variant.configuration
    axes = slicing_axes(variant.base, configuration.name, wanted, "orientations" in variant.choice.options)
    if len(axes) == 1:
        return (variant,)
    requests = (dataclasses.replace(variant.request, axis=axis, run_fraction=1 / len(axes)) for axis in axes)
    return tuple(map(variant.with_request, requests))


def tailor(variant: Variant) -> Plan:
    """Fit a plan with one configuration to a trainer, a device and a budget.

    Raises:
        PlanError: if the data have no configuration that the trainer can train.
        UsageError: for an unknown trainer, or options that it does not take.
    """
    from autoseg.training.schedule import schedule_changes

    trainer, choice, request, start = variant.trainer, variant.choice, variant.request, variant.start
    planned, why = variant.configuration
    if trainer.architecture is None:
        _refuse_single_stage(planned, choice)
    chosen, counted = _counted(variant)
    fixed_width = is_stock(choice) or start.plan_from is not None
    width = None if fixed_width else published_width(trainer, variant.network_options)
    fitting = Fitting(variant, planned.name, Shape(planned.batch_size, width, 1.0))
    shape, fitted = _fitted_shape(fitting)
    chosen, shortened = _shortened(variant, chosen, fitted)
    orientation, left_out = _orientation(variant, planned.name)
    plan = fitting.plan(shape)
    if normalization_of(trainer, choice) == "percentile" and not keeps_normalization(plan):
        channels = variant.dataset.channels
        plan = with_percentiles(plan, channels, requested=NORMALIZATION in choice.options)
    changes = [
        *left_out,
        *shape_changes(planned, plan.configurations[planned.name], shape, fitting.published),
        *(["no mirroring"] if chosen.mirroring is False else []),
        *(optimiser_words(trainer, chosen) if "optimizer_name" not in choice.options else []),
        *schedule_changes(trainer, chosen, request.member_s),
        *step_changes(trainer, request.steps),
        *start.words,
        *rate_changes(trainer, chosen, start),
        *moved_words(plan),
    ]
    return dataclasses.replace(
        plan,
        name=variant.plan_name,
        decisions=(*plan.decisions, *why, *counted, *fitted, *shortened, *orientation),
        training=_training(variant, chosen, changes, planned.name),
    )


def _counted(variant: Variant) -> Chosen:
    """The hyper-parameters that a user set, with a length in epochs or steps."""
    chosen, request = Hyperparameters.named(variant.choice.options), variant.request
    if request.epochs is not None:
        chosen = dataclasses.replace(chosen, epochs=request.epochs)
    return (chosen, []) if request.steps is None else count_steps(request.steps, chosen)


def _fitted_shape(fitting: Fitting) -> tuple[Shape, list[Decision]]:
    """The shape that is trained: the published one, a small one, or what the time allows."""
    variant, published = fitting.variant, fitting.published
    if is_stock(variant.choice):
        return published, []
    if variant.request.member_s is not None:
        return fit(fitting, variant.request.member_s)
    if variant.request.small:
        patch = variant.configuration[0].patch_size
        return small_shape(published, variant.trainer.smallest_batch, math.prod(patch)), []
    return published, []


def _refuse_single_stage(configuration: Configuration, choice: Choice) -> None:
    """nnU-Net's networks have no output where there is one stage and so no decoder (nnU-Net 2.8).

    Raises:
        PlanError: in that case.
    """
    if len(configuration.architecture.kwargs.get("strides", (1, 1))) == 1:
        patch = "x".join(map(str, configuration.patch_size))
        raise PlanError(
            f"{choice} cannot train patches of {patch} voxels: its network halves an axis of at least 8, and "
            f"without that it has no decoder and no output. Give larger images, or another trainer."
        )


def _training(
    variant: Variant, chosen: Hyperparameters, changes: Sequence[str], configuration: str
) -> TrainingSpec:
    """What a plan says to its trainer."""
    choice, seconds = variant.choice, variant.request.member_s
    spec = TrainingSpec(
        trainer=choice.trainer,
        # Where the trainer's class is found again, if it is a file of somebody's own.
        trainer_file=plugins.PluginFile.of(choice.name) if choice.name.endswith(".py") else None,
        options=dict(choice.options),
        hyperparameters=chosen,
        seed=variant.request.seed,
        run_s=seconds,
        # Under stock nnU-Net nobody measures the prediction; this leaves time for it.
        train_s=None if seconds is None else seconds * TRAINING_FRACTION,
        changes=tuple(changes),
        configuration=configuration,
    )
    return variant.start.applied(spec)


def tailor_cascade(variant: Variant) -> Plan:
    """The plan of a cascade: each of its trainings gets the same time.

    Raises:
        PlanError: as `tailor`; and for a start from another model, whose network has other input channels.
    """
    if variant.start != Start():
        raise PlanError(
            f"{variant.choice}: a cascade starts from random weights and trains on all cases. Leave out "
            f"init, finetune, cases and plan_from, or give --configuration 3d_fullres."
        )
    request, planned = variant.request, variant.configuration[0]
    own = dataclasses.replace(request, run_fraction=request.run_fraction / (1 + request.first_stages))
    second = tailor(variant.with_request(own))
    first = tailor(variant.with_request(dataclasses.replace(own, configuration=planned.previous_stage or "")))
    return dataclasses.replace(joined(first, second), name=variant.plan_name)


def tailor_members(variant: Variant) -> tuple[Plan, ...]:
    """The plans of all trainings of a variant; see `tailor`.

    Where the budget would leave an orientation fewer than `FEWEST_STEPS` steps, it all goes to one of them,
    unless a user asks for more.
    """
    if variant.is_cascade:
        return (tailor_cascade(variant),)
    members = member_variants(variant)
    may_be_one = len(members) > 1 and "orientations" not in variant.choice.options
    try:
        plans = tuple(map(tailor, members))
    except PlanError:
        if may_be_one:
            return (tailor(variant),)
        raise
    steps = [found for found in map(predicted_steps, plans) if found is not None]
    if may_be_one and steps and min(steps) < FEWEST_STEPS:
        return (tailor(variant),)
    return plans


def _orientation(variant: Variant, name: str) -> tuple[list[Decision], list[str]]:
    """Why slices are cut along one axis only, where the trainer would look along more, and the change."""
    wanted = wanted_orientations(variant.trainer, variant.choice)
    if variant.request.axis is not None or wanted == 1:
        return [], []
    changes = [f"orientations {wanted} -> 1"] if has_orientations(variant.base, name) else []
    return [orientation_decision(variant.base, name)], changes


def shape_changes(before: Configuration, after: Configuration, shape: Shape, published: Shape) -> list[str]:
    """What memory and time changed in a planned configuration, in words."""
    trained = dataclasses.replace(shape, batch_size=after.batch_size)
    changes = list(trained.changes(published))
    # A coarser grid has a smaller patch of its own; elsewhere a smaller patch sees less.
    if before.patch_size != after.patch_size and (shape.coarsening == 1.0 or shape.patch_share != 1.0):
        sizes = ("x".join(map(str, each.patch_size)) for each in (before, after))
        changes.append(f"patch {' -> '.join(sizes)}")
    return changes


def _shortened(variant: Variant, chosen: Hyperparameters, fitted: Sequence[Decision]) -> Chosen:
    """What nnU-Net's own training does otherwise where it is short."""
    predicted = (each.inputs.get("predicted_steps") for each in fitted if each.name == "budget")
    steps = next(predicted, None) if variant.request.steps is None else variant.request.steps
    if steps is None or is_stock(variant.choice) or not variant.trainer.adaptive_width:
        return chosen, []
    trained = variant.start.init.is_trained_model
    chosen, mirroring = without_mirroring(steps, chosen)
    before = chosen
    chosen, optimiser = with_adamw(variant.trainer, steps, chosen, trained)
    rate: list[Decision] = []
    if chosen is not before and variant.start.init.source == RANDOM:
        chosen, rate = with_high_rate(steps, chosen)
    return chosen, [*mirroring, *optimiser, *rate]
