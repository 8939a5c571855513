"""A plan fitted to one trainer, the device and the time there is."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from autoseg import plugins
from autoseg.data.dataset import Dataset
from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import PlanError
from autoseg.planner.budget import FEWEST_STEPS, Shape
from autoseg.planner.data_facts import DataFacts
from autoseg.planner.dimension import DimensionChoice, choose_dimension
from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.planner.networks import Hardware
from autoseg.planner.normalization_schemes import with_percentiles
from autoseg.planner.orientation import has_orientations, orientation_decision, slicing_axes
from autoseg.planner.plan import Configuration, Decision, Plan
from autoseg.planner.training_spec import TrainingSpec
from autoseg.tailoring.base_plan import base_plan
from autoseg.tailoring.choose_configuration import choose_configuration
from autoseg.tailoring.fit_to_resources import TRAINING_SHARE, Fitting, predicted_steps, published_width
from autoseg.tailoring.options import (
    check_taken_up,
    is_stock,
    network_options,
    normalization_of,
    rate_changes,
    wanted_orientations,
)
from autoseg.tailoring.plan_of_model import keeps_normalization, moved_words
from autoseg.tailoring.request import Request, plan_name
from autoseg.tailoring.trainer_spec import NORMALIZATION, Choice, Start
from autoseg.tailoring.training_length import (
    Chosen,
    count_steps,
    optimiser_words,
    small_shape,
    step_changes,
    with_adamw,
    without_mirroring,
)

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

__all__ = [
    "choose_configuration",
    "dimension_of",
    "member_requests",
    "tailor",
    "tailor_members",
]

log = logging.getLogger(__name__)


def member_requests(
    dataset: Dataset, fingerprint: Fingerprint, choice: Choice, request: Request
) -> tuple[Request, ...]:
    """The trainings of a request: the request itself, or one for each orientation, with equal shares of time.

    Raises:
        PlanError: if the data have no configuration that the trainer can train.
        UsageError: for an unknown trainer, or a number of orientations that there is not.
    """
    trainer = plugins.trainer_class(choice.name)
    wanted = wanted_orientations(trainer, choice)
    if wanted == 1:
        return (request,)
    base = base_plan(dataset, fingerprint, choice, request)
    name, _ = choose_configuration(
        base, trainer, request.configuration, dimension_of(base, fingerprint, request)
    )
    axes = slicing_axes(base, name, wanted, "orientations" in choice.options)
    if len(axes) == 1:
        return (request,)
    return tuple(dataclasses.replace(request, axis=axis, share=1 / len(axes)) for axis in axes)


def tailor(dataset: Dataset, fingerprint: Fingerprint, choice: Choice, request: Request) -> Plan:
    """Fit a plan with one configuration to a trainer, a device and a budget.

    Raises:
        PlanError: if the data have no configuration that the trainer can train.
        UsageError: for an unknown trainer, or options that it does not take.
    """
    from autoseg.training.schedule import schedule_changes

    trainer = plugins.trainer_class(choice.name)
    chosen = Hyperparameters.named(choice.options)
    options, stock = network_options(choice.options), is_stock(choice)
    normalization = normalization_of(trainer, choice)
    start = Start.of(choice)
    decisions: list[Decision] = []
    if request.epochs is not None:
        chosen = dataclasses.replace(chosen, epochs=request.epochs)
    if request.steps is not None:
        chosen, decisions = count_steps(request.steps, chosen)
    base = base_plan(dataset, fingerprint, choice, request)
    requested = request.configuration
    if start.plan_from is not None:
        check_taken_up(choice, options)
        requested = start.plan_from.configuration.name if requested == "auto" else requested
    name, why = choose_configuration(base, trainer, requested, dimension_of(base, fingerprint, request))
    if trainer.architecture is None:
        _refuse_single_stage(base.configurations[name], choice)
    width = None if stock or start.plan_from else published_width(trainer, options)
    published = Shape(base.configurations[name].batch_size, width, 1.0)
    fitting = Fitting(dataset, fingerprint, choice, request, trainer, options, name, published, stock)
    shape, decisions = published, [*why, *decisions]
    if request.small and not stock:
        shape = small_shape(published, trainer.smallest_batch)
    if request.seconds is not None and not stock:
        shape, more = fitting.fit(request.seconds)
        decisions += more
    if not stock:
        chosen, more = _shortened(trainer, chosen, start, request, decisions)
        decisions += more
    orientation, left_out = _orientation(base, name, trainer, choice, request)
    plan = fitting.plan(shape)
    if normalization == "percentile" and not keeps_normalization(plan):
        plan = with_percentiles(plan, dataset.channels, requested=NORMALIZATION in choice.options)
    changes = [
        *left_out,
        *shape_changes(base.configurations[name], plan.configurations[name], shape, published),
        *(["no mirroring"] if chosen.mirroring is False else []),
        *(optimiser_words(trainer, chosen) if "optimizer_name" not in choice.options else []),
        *schedule_changes(trainer, chosen, request.seconds),
        *step_changes(trainer, request.steps),
        *start.words,
        *rate_changes(trainer, chosen, start),
        *moved_words(plan),
    ]
    return dataclasses.replace(
        plan,
        name=plan_name(choice, request, fingerprint),
        decisions=(*plan.decisions, *decisions, *orientation),
        training=_training(choice, chosen, start, request, changes, name),
    )


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
    choice: Choice,
    chosen: Hyperparameters,
    start: Start,
    request: Request,
    changes: Sequence[str],
    configuration: str,
) -> TrainingSpec:
    """What a plan says to its trainer."""
    seconds = request.seconds
    spec = TrainingSpec(
        trainer=choice.trainer,
        # Where the trainer's class is found again, if it is a file of somebody's own.
        trainer_file=plugins.PluginFile.of(choice.name) if choice.name.endswith(".py") else None,
        options=dict(choice.options),
        hyperparameters=chosen,
        seed=request.seed,
        run_s=seconds,
        # Under stock nnU-Net nobody measures the prediction; this leaves time for it.
        train_s=None if seconds is None else seconds * TRAINING_SHARE,
        changes=tuple(changes),
        configuration=configuration,
    )
    return start.applied(spec)


def tailor_members(
    dataset: Dataset, fingerprint: Fingerprint, choice: Choice, request: Request
) -> tuple[Plan, ...]:
    """The plans of all trainings of a request; see `tailor`.

    Where the budget would leave an orientation fewer than `FEWEST_STEPS` steps, it all goes to one of them,
    unless a user asks for more.
    """
    requests = member_requests(dataset, fingerprint, choice, request)
    may_be_one = len(requests) > 1 and "orientations" not in choice.options
    try:
        plans = tuple(tailor(dataset, fingerprint, choice, each) for each in requests)
    except PlanError:
        if may_be_one:
            return (tailor(dataset, fingerprint, choice, request),)
        raise
    steps = [found for found in map(predicted_steps, plans) if found is not None]
    if may_be_one and steps and min(steps) < FEWEST_STEPS:
        return (tailor(dataset, fingerprint, choice, request),)
    return plans


def _orientation(
    base: Plan, name: str, trainer: type[Trainer], choice: Choice, request: Request
) -> tuple[list[Decision], list[str]]:
    """Why slices are cut along one axis only, where the trainer would look along more, and the change."""
    wanted = wanted_orientations(trainer, choice)
    if request.axis is not None or wanted == 1:
        return [], []
    changes = [f"orientations {wanted} -> 1"] if has_orientations(base, name) else []
    return [orientation_decision(base, name)], changes


def shape_changes(before: Configuration, after: Configuration, shape: Shape, published: Shape) -> list[str]:
    """What memory and time changed in a planned configuration, in words."""
    trained = dataclasses.replace(shape, batch_size=after.batch_size)
    changes = list(trained.changes(published))
    # A coarser grid has a smaller patch of its own; elsewhere a smaller patch sees less.
    if before.patch_size != after.patch_size and (shape.coarsening == 1.0 or shape.patch_share != 1.0):
        sizes = ("x".join(map(str, each.patch_size)) for each in (before, after))
        changes.append(f"patch {' -> '.join(sizes)}")
    return changes


def dimension_of(base: Plan, fingerprint: Fingerprint, request: Request) -> DimensionChoice:
    """2D or 3D for a data set, a device and the time there is."""
    cores = torch.get_num_threads() if request.device.type == "cpu" else None
    hardware = Hardware.assumed(request.device.type, request.memory_gb, cores)
    found = choose_dimension(base, DataFacts.of(base, fingerprint), hardware, request.run_seconds)
    return found if request.dimension is None else dataclasses.replace(found, decision=request.dimension)


def _shortened(
    trainer: type[Trainer],
    chosen: Hyperparameters,
    start: Start,
    request: Request,
    decisions: Sequence[Decision],
) -> Chosen:
    """What nnU-Net's own training does otherwise where it is short."""
    predicted = (each.inputs.get("predicted_steps") for each in decisions if each.name == "budget")
    steps = request.steps if request.steps is not None else next(predicted, None)
    if steps is None or not trainer.adaptive_width:
        return chosen, []
    chosen, mirroring = without_mirroring(steps, chosen)
    chosen, optimiser = with_adamw(trainer, steps, chosen, start.init.is_trained_model)
    return chosen, mirroring + optimiser
