"""A plan fitted to one trainer, the device and the time there is."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from autoseg import nnunet
from autoseg.architectures import Topology, class_path, network_kwargs, requires_import
from autoseg.choice import NORMALIZATION, START, Choice, Request, Start, plan_name
from autoseg.dataset import Dataset
from autoseg.errors import PlanError, UsageError
from autoseg.fingerprint import Fingerprint
from autoseg.plan import ArchitectureSpec, Configuration, Decision, Plan
from autoseg.planner import plan_experiment
from autoseg.planner.budget import (
    ENOUGH_STEPS,
    FEWEST_STEPS,
    NARROWEST_STRUCTURE,
    SOURCE,
    STEPS_FOR_MIRRORING,
    Shape,
    choose,
    shapes,
    structure_width,
)
from autoseg.planner.normalization import CHOICES, with_percentiles
from autoseg.planner.orientation import has_orientations, orientation_decision, slicing_axes
from autoseg.planner.presets import PRESETS
from autoseg.planner.spacing import first_axis
from autoseg.probe import probe_patch, step_seconds

if TYPE_CHECKING:
    from autoseg.trainers._base import Trainer

log = logging.getLogger(__name__)

# Features grow by 2^1.55 in time when they double: measured for U-Nets of width 8 to 32 in bfloat16.
WIDTH_EXPONENT = 1.55
# Of a run's share, what start-up, log and final prediction may take; the clock decides in the end.
TRAINING_SHARE = 0.85


def member_requests(
    dataset: Dataset, fingerprint: Fingerprint, choice: Choice, request: Request
) -> tuple[Request, ...]:
    """The trainings of a request: the request itself, or one for each orientation, with equal shares of time.

    Raises:
        PlanError: if the data have no configuration that the trainer can train.
        UsageError: for an unknown trainer, or a number of orientations that there is not.
    """
    trainer = nnunet.trainer_class(choice.name)
    wanted = _wanted_orientations(trainer, choice)
    if wanted == 1:
        return (request,)
    base = _base_plan(dataset, fingerprint, choice, request)
    name, _ = choose_configuration(base, trainer, request.configuration)
    axes = slicing_axes(base, name, wanted, "orientations" in choice.options)
    if len(axes) == 1:
        return (request,)
    return tuple(dataclasses.replace(request, axis=axis, share=1 / len(axes)) for axis in axes)


def _wanted_orientations(trainer: type[Trainer], choice: Choice) -> int:
    wanted: int = choice.options.get("orientations", trainer.orientations)
    return wanted


def tailor(dataset: Dataset, fingerprint: Fingerprint, choice: Choice, request: Request) -> Plan:
    """Fit a plan with one configuration to a trainer, a device and a budget.

    Raises:
        PlanError: if the data have no configuration that the trainer can train.
        UsageError: for an unknown trainer, or options that it does not take.
    """
    from autoseg.trainers._schedule import schedule_changes

    trainer = nnunet.trainer_class(choice.name)
    hyperparameters, options = _split_options(trainer, choice.options)
    stock = is_stock(trainer, choice)
    normalization = _normalization(trainer, choice)
    start = Start.of(choice)
    if request.epochs is not None:
        hyperparameters["epochs"] = request.epochs
    base = _base_plan(dataset, fingerprint, choice, request)
    name, decision = choose_configuration(base, trainer, request.configuration)
    width = None if stock else _published_width(trainer, options)
    published = Shape(base.configurations[name].batch_size, width, 1.0)
    fitting = _Fitting(dataset, fingerprint, choice, request, trainer, options, name, published)
    shape, decisions = (published, [decision])
    if request.seconds is not None and not stock:
        shape, more = fitting.fit(request.seconds)
        decisions += more
        if trainer.adaptive_width and "mirroring" not in hyperparameters:
            decisions.append(_mirroring(more[0], hyperparameters))
    orientation, left_out = _orientation(base, name, trainer, choice, request)
    plan = fitting.plan(shape)
    if normalization == "percentile":
        plan = with_percentiles(plan, dataset.channels, asked=NORMALIZATION in choice.options)
    training = {
        "trainer": choice.name,
        "options": dict(choice.options),
        "hyperparameters": hyperparameters,
        "seed": request.seed,
        **start.settings(request.seed),
        "run_seconds": request.seconds,
        # Under stock nnU-Net nobody measures the prediction; this leaves time for it.
        "train_seconds": None if request.seconds is None else request.seconds * TRAINING_SHARE,
        "changes": [
            *left_out,
            *shape.changes(published),
            *_smaller_patch(base.configurations[name], plan.configurations[name], shape),
            *(["no mirroring"] if hyperparameters.get("mirroring") is False else []),
            *schedule_changes(trainer, hyperparameters, request.seconds),
            *start.words,
        ],
    }
    if request.seconds is None:
        del training["train_seconds"]
    return dataclasses.replace(
        plan,
        name=plan_name(choice, request, fingerprint),
        decisions=(*plan.decisions, *decisions, *orientation),
        provenance={**plan.provenance, "training": training, "configuration": name},
    )


def tailor_members(
    dataset: Dataset, fingerprint: Fingerprint, choice: Choice, request: Request
) -> tuple[Plan, ...]:
    """The plans of all trainings of a request; see `tailor`.

    Where the budget would leave an orientation fewer than `FEWEST_STEPS` steps, it all goes to one of them,
    unless a user asks for more.
    """
    plans = tuple(
        tailor(dataset, fingerprint, choice, each)
        for each in member_requests(dataset, fingerprint, choice, request)
    )
    steps = [
        each.inputs["predicted_steps"] for plan in plans for each in plan.decisions if each.name == "budget"
    ]
    if len(plans) > 1 and steps and min(steps) < FEWEST_STEPS and "orientations" not in choice.options:
        return (tailor(dataset, fingerprint, choice, request),)
    return plans


def _orientation(
    base: Plan, name: str, trainer: type[Trainer], choice: Choice, request: Request
) -> tuple[list[Decision], list[str]]:
    """Why slices are cut along one axis only, where the trainer would look along more, and the change."""
    wanted = _wanted_orientations(trainer, choice)
    if request.axis is not None or wanted == 1:
        return [], []
    changes = [f"orientations {wanted} -> 1"] if has_orientations(base, name) else []
    return [orientation_decision(base, name)], changes


def _smaller_patch(before: Configuration, after: Configuration, shape: Shape) -> list[str]:
    """The change of the patch in words, where it is not a matter of spacing."""
    if shape.memory_share == 1.0 or before.patch_size == after.patch_size:
        return []
    sizes = ("x".join(map(str, each.patch_size)) for each in (before, after))
    return [f"patch {' -> '.join(sizes)}"]


def _mirroring(fitted: Decision, hyperparameters: dict[str, Any]) -> Decision:
    """Leave mirroring out of a short training, in `hyperparameters`, and say so."""
    steps = fitted.inputs["predicted_steps"]
    if steps < STEPS_FOR_MIRRORING:
        hyperparameters["mirroring"] = False
    rule = f"samples are mirrored from {STEPS_FOR_MIRRORING} steps on: fewer do not teach every pose"
    return Decision("mirroring", steps >= STEPS_FOR_MIRRORING, rule, {"predicted_steps": steps}, SOURCE)


def choose_configuration(plan: Plan, trainer: type[Trainer], asked: str) -> tuple[str, Decision]:
    """The configuration that a trainer takes.

    Raises:
        PlanError: if the one asked for is not there or has a dimension that the trainer cannot train.
    """
    there = plan.configurations
    if asked != "auto":
        configuration = plan.configuration(asked)
        if configuration.dimensions not in trainer.dimensions:
            raise PlanError(
                f"{trainer.__name__} trains in {_dimensions(trainer)}, and {asked} is "
                f"{configuration.dimensions}D. Choose another configuration or trainer."
            )
        rule, name = "asked for", asked
    else:
        wanted = [trainer.preferred_dimension] if trainer.preferred_dimension else [3, 2]
        order = [*wanted, *(d for d in trainer.dimensions if d not in wanted)]
        names = [
            n for d in order if d in trainer.dimensions for n in (("3d_fullres",) if d == 3 else ("2d",))
        ]
        name = next((n for n in names if n in there), "")
        if not name:
            raise PlanError(
                f"{trainer.__name__} trains in {_dimensions(trainer)}, and {plan.dataset} has "
                f"{', '.join(there)}. Choose another trainer."
            )
        rule = (
            f"the documented system is {trainer.preferred_dimension}D"
            if trainer.preferred_dimension
            else "3D at full resolution where the data are volumes, else 2D"
        )
    inputs = {"planned": list(there), "trainer": trainer.__name__, "dimensions": list(trainer.dimensions)}
    return name, Decision("configuration", name, rule, inputs, "autoseg")


@dataclass
class _Fitting:
    """One request on its way from the published system to what fits."""

    dataset: Dataset
    fingerprint: Fingerprint
    choice: Choice
    request: Request
    trainer: type[Trainer]
    options: Mapping[str, Any]
    name: str
    published: Shape
    _plans: dict[tuple[float, float], Plan] = field(default_factory=dict)

    def plan(self, shape: Shape) -> Plan:
        """The plan of a shape, with the one configuration that is trained."""
        base = self._at(shape)
        configuration = self.configuration(shape)
        return dataclasses.replace(base, configurations={self.name: configuration})

    def _at(self, shape: Shape) -> Plan:
        key = (shape.coarsening, shape.memory_share)
        if key not in self._plans:
            self._plans[key] = _base_plan(self.dataset, self.fingerprint, self.choice, self.request, *key)
        return self._plans[key]

    def configuration(self, shape: Shape) -> Configuration:
        """The configuration of a shape: the planner's at that spacing, with this batch and network."""
        planned = self._at(shape).configurations[self.name]
        suffix = "" if shape.coarsening == 1.0 else f"_x{shape.coarsening:g}"
        return dataclasses.replace(
            planned,
            batch_size=min(shape.batch_size, self.published.batch_size),
            architecture=self._architecture(planned, shape.width),
            data_identifier=planned.data_identifier + suffix,
        )

    def _architecture(self, planned: Configuration, width: int | None) -> ArchitectureSpec:
        name = self.trainer.architecture or self.trainer.planned_architecture
        options = {**self.trainer.architecture_options, **self.options}
        if width is not None:
            options["width"] = width
        if self.trainer.architecture is None and not options:
            return planned.architecture
        kwargs = network_kwargs(name, topology_of(planned), **options)
        return ArchitectureSpec(class_path(name), kwargs, requires_import(name))

    def fit(self, run_seconds: float) -> tuple[Shape, list[Decision]]:
        """Choose the shape that makes enough steps in the time there is."""
        measured, probe = self._measure()
        width = structure_width(_smallest_structure(self.fingerprint), len(self._planned().patch_size))
        offers = list(shapes(self.published, self.trainer.smallest_batch, width))
        train_seconds = run_seconds * TRAINING_SHARE

        def seconds_of(shape: Shape) -> float:
            voxels = math.prod(self._at(shape).configurations[self.name].patch_size)
            work: float = shape.batch_size * voxels / probe["voxels"]
            if shape.width and self.published.width:
                work *= (shape.width / self.published.width) ** WIDTH_EXPONENT
            return measured * work

        shape, steps = choose(offers, seconds_of, train_seconds)
        inputs = {
            "train_seconds": round(train_seconds, 1),
            "measured_step_s": round(measured, 4),
            "measured_on": probe,
            "predicted_step_s": round(seconds_of(shape), 4),
            "predicted_steps": steps,
            "published": dataclasses.asdict(self.published),
            "smallest_structure_voxels": round(width, 1),
        }
        rule = (
            f"at least {ENOUGH_STEPS} steps: first the batch shrinks"
            + (
                ", then the width"
                if self.published.width
                else " (the documented size of the network is kept)"
            )
            + f"; below {FEWEST_STEPS} steps the spacing grows while the smallest structure stays wider "
            f"than {NARROWEST_STRUCTURE:g} voxels, and then the patch shrinks"
        )
        return shape, [Decision("budget", dataclasses.asdict(shape), rule, inputs, SOURCE)]

    def _planned(self) -> Configuration:
        return self._at(self.published).configurations[self.name]

    def _measure(self) -> tuple[float, dict[str, Any]]:
        """Seconds of a step on a small patch, and what it was measured on."""
        from autoseg.trainers._base import autocast_dtype

        configuration = self.configuration(self.published)
        batch = min(2, configuration.batch_size)
        strides = [math.prod(column) for column in zip(*topology_of(self._planned()).strides, strict=True)]
        patch = probe_patch(configuration.patch_size, batch, strides)
        plan = dataclasses.replace(self._at(self.published), configurations={self.name: configuration})
        network = build(self.trainer, plan, self.name, self.dataset).to(self.request.device).train()
        dtype = autocast_dtype(self.request.device)
        seconds = step_seconds(
            network, (batch, len(self.dataset.channels), *patch), self.request.device, dtype
        )
        probe = {"patch": list(patch), "batch": batch, "voxels": batch * math.prod(patch)}
        return seconds, {**probe, "precision": str(dtype or torch.float32).removeprefix("torch.")}


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


def _base_plan(
    dataset: Dataset,
    fingerprint: Fingerprint,
    choice: Choice,
    request: Request,
    coarsening: float = 1.0,
    memory_share: float = 1.0,
) -> Plan:
    preset = choice.name if choice.name in PRESETS else "nnunet"
    memory_gb = request.memory_gb
    if memory_share != 1.0:
        memory_gb = (memory_gb or PRESETS[preset].memory_gb) * memory_share
    order = True if request.axis is None else first_axis(request.axis)
    plan = plan_experiment(dataset, fingerprint, preset, memory_gb=memory_gb, transpose=order)
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


def _published_width(trainer: type[Trainer], options: Mapping[str, Any]) -> int | None:
    if not trainer.adaptive_width:
        return None
    return int(options.get("width", 32))


def _smallest_structure(fingerprint: Fingerprint) -> float:
    """Mean voxels of the smallest structure where it is present; 0 if unknown."""
    structures = fingerprint.class_sizes.get("structures", {}).values()
    return min((each["voxels"] / each["cases"] for each in structures if each["cases"]), default=0.0)


def _split_options(
    trainer: type[Trainer], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    from autoseg.trainers._base import HYPERPARAMETERS

    hyperparameters = {key: value for key, value in options.items() if key in HYPERPARAMETERS}
    elsewhere = (*HYPERPARAMETERS, *START, NORMALIZATION)
    rest = {key: value for key, value in options.items() if key not in elsewhere}
    return hyperparameters, rest


def _normalization(trainer: type[Trainer], choice: Choice) -> str:
    """How intensities are normalised: as the user says, else as the trainer does.

    Raises:
        UsageError: for a choice that there is not.
    """
    wanted = str(choice.options.get(NORMALIZATION, trainer.normalization))
    if wanted not in CHOICES:
        raise UsageError(f"{choice}: there is no normalisation {wanted!r}. Choose {' or '.join(CHOICES)}.")
    return wanted


def is_stock(trainer: type[Trainer], choice: Choice) -> bool:
    """Whether a choice asks for nnU-Net itself, unmodified.

    Raises:
        UsageError: if the trainer is not nnU-Net's, or another option asks for a change.
    """
    wanted = choice.options.get("stock", False)
    if not isinstance(wanted, bool):
        raise UsageError(f"{choice}: stock is {wanted!r}; expected true or false.")
    if wanted and not trainer.has_stock:
        raise UsageError(
            f"{choice}: {choice.name} is no trainer of nnU-Net, so it has no stock training. "
            f"Choose nnunet:stock=true, or leave the option out."
        )
    if wanted and (others := [key for key in choice.options if key != "stock"]):
        raise UsageError(f"{choice}: stock training takes no other option; leave out {', '.join(others)}.")
    return wanted


def _dimensions(trainer: type[Trainer]) -> str:
    return " and ".join(f"{n}D" for n in trainer.dimensions)
