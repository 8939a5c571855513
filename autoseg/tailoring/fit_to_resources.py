"""A trainer's plan made smaller until it fits the memory and the time: batch, width, spacing, patch."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autoseg.architectures import Topology, class_path, network_kwargs, requires_import
from autoseg.planner.budget import (
    FEWEST_STEPS,
    Shape,
)
from autoseg.planner.cascade import STAGES, stage_channels
from autoseg.planner.learning import USUAL_STRUCTURES, patch_loss
from autoseg.planner.patch import shrunk
from autoseg.planner.plan import ArchitectureSpec, Configuration, Decision, Plan
from autoseg.planner.structures import Structure, in_voxels, smallest_structure, structures_of
from autoseg.planner.topology import topology_of
from autoseg.tailoring.base_plan import base_plan
from autoseg.tailoring.memory.calibration import cache_file, calibrate
from autoseg.tailoring.memory.trainer_memory import memory_of, within_memory
from autoseg.tailoring.options import is_stock
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

# Of a run's share, what is left for training where nobody measures the prediction.
TRAINING_FRACTION = 0.85


@dataclass(frozen=True)
class Start:
    """What the shapes of one spacing start from.

    Attributes:
        plan: nnU-Net's, all configurations, or another model's.
        configuration: the one that is trained, with the patch and batch that fit the memory.
        topology: the network's topology; None where it must stay as it is.
        decisions: why patch and batch fit the memory.
    """

    plan: Plan
    configuration: Configuration
    topology: Topology | None
    decisions: tuple[Decision, ...] = ()


@dataclass
class Fitting:
    """A variant on its way from the published system to what fits.

    Attributes:
        variant: what is planned.
        name: the configuration that is trained.
        published: the shape of the published system.
    """

    variant: Variant
    name: str
    published: Shape
    _starts: dict[float, Start] = field(default_factory=dict)
    _topologies: dict[tuple[float, float], Topology] = field(default_factory=dict)
    _patch_losses: dict[tuple[float, float], float] = field(default_factory=dict)

    @property
    def moved(self) -> bool:
        """Whether the plan is another model's, of which only the batch may change."""
        return "plan_from" in self.variant.choice.options

    def plan(self, shape: Shape) -> Plan:
        """The plan of a shape, with the one configuration that is trained, and why it fits the memory."""
        start = self.at(shape.coarsening)
        decisions = (*start.plan.decisions, *start.decisions)
        configuration = self.configuration(shape)
        return dataclasses.replace(start.plan, configurations={self.name: configuration}, decisions=decisions)

    def at(self, coarsening: float) -> Start:
        """What a shape of that spacing starts from: nnU-Net's plan and, within the memory, its topology."""
        if coarsening not in self._starts:
            plan = self.variant.base if coarsening == 1.0 else base_plan(self.variant, coarsening)
            self._starts[coarsening] = self._within_memory(plan)
        return self._starts[coarsening]

    def _within_memory(self, plan: Plan) -> Start:
        planned = plan.configurations[self.name]
        if self.moved or is_stock(self.variant.choice):
            return Start(plan, planned, None)
        topology = topology_of(planned)
        if self.variant.request.memory_gb is None:
            return Start(plan, planned, topology)
        device = self.variant.request.device
        calibration = calibrate(cache_file(), device.type)
        memory = memory_of(
            self.variant.trainer,
            self.variant.dataset,
            self.variant.fingerprint,
            plan,
            planned,
            device,
            calibration,
            self._options(),
        )
        fitted, batch, decision = within_memory(memory, planned, topology, self.variant.request.memory_gb)
        planned = dataclasses.replace(planned, patch_size=fitted.patch_size, batch_size=batch)
        return Start(plan, planned, fitted, (decision,))

    def topology(self, shape: Shape) -> Topology | None:
        """Patch and strides of a shape; None where they are not to be touched."""
        start = self.at(shape.coarsening)
        if start.topology is None or shape.patch_share == 1.0:
            return start.topology
        key = (shape.coarsening, shape.patch_share)
        if key not in self._topologies:
            voxels = shape.patch_share * math.prod(start.topology.patch_size)
            self._topologies[key] = shrunk(start.topology, start.configuration.median_shape, voxels)
        return self._topologies[key]

    def configuration(self, shape: Shape) -> Configuration:
        """The configuration of a shape: the planner's at that spacing, with this patch, batch and network."""
        start, topology = self.at(shape.coarsening), self.topology(shape)
        planned = start.configuration
        suffix = "" if shape.coarsening == 1.0 else f"_x{shape.coarsening:g}"
        return dataclasses.replace(
            planned,
            patch_size=planned.patch_size if topology is None else topology.patch_size,
            batch_size=min(shape.batch_size, self.published.batch_size, planned.batch_size),
            architecture=self._architecture(start, topology, shape.width),
            data_identifier=planned.data_identifier + suffix,
        )

    def _options(self, width: int | None = None) -> dict[str, Any]:
        """Options of the network."""
        options = {**self.variant.trainer.architecture_options, **self.variant.network_options}
        return options if width is None else {**options, "width": width}

    def _architecture(self, start: Start, topology: Topology | None, width: int | None) -> ArchitectureSpec:
        planned = start.plan.configurations[self.name]
        options = self._options(width)
        as_planned = self.variant.trainer.architecture is None and not options
        if topology is None or (as_planned and topology.patch_size == planned.patch_size):
            return planned.architecture
        name = self.variant.trainer.architecture or self.variant.trainer.planned_architecture
        kwargs = network_kwargs(name, topology, **options)
        return ArchitectureSpec(class_path(name), kwargs, requires_import(name))

    @property
    def channels(self) -> int:
        """Input channels: the image's and, of a cascade's second stage, those of the first one's labels."""
        dataset = self.variant.dataset
        planned = self.at(1.0).plan.configurations[self.name]
        return len(dataset.channels) + stage_channels(planned, dataset.labels)

    def voxels(self, shape: Shape) -> int:
        """Of a batch."""
        return self.batch(shape) * math.prod(self.patch(shape))

    def smallest(self) -> Structure | None:
        """The smallest structure, its axes in the plan's order; None where it is not known."""
        found = smallest_structure(self.variant.fingerprint, self._image_dimensions)
        return None if found is None else found.turned(self.at(1.0).plan.transpose)

    @property
    def _image_dimensions(self) -> int:
        return 2 if min(self.at(1.0).plan.original_median_shape) == 1 else 3

    def patch_loss(self, shape: Shape) -> float:
        """What the patch of a shape loses against the planned one, in Dice (`autoseg.planner.learning`)."""
        key = (shape.coarsening, shape.patch_share)
        if key not in self._patch_losses:
            axes = self.at(shape.coarsening).configuration.dimensions
            self._patch_losses[key] = patch_loss(self.seen(shape), self.structures_share, axes)
        return self._patch_losses[key]

    def seen(self, shape: Shape) -> float:
        """Of what the planned patch sees of the median image, the part that this one sees."""
        start = self.at(shape.coarsening).configuration
        seen, most = (
            math.prod(min(n, size) for n, size in zip(patch, start.median_shape, strict=True))
            for patch in (self.patch(shape), start.patch_size)
        )
        return float(min(seen / most, 1.0))

    @functools.cached_property
    def structures_share(self) -> float:
        """Part of the median image that the boxes around one of each structure take, at most 1."""
        planned, order = self.at(1.0).configuration, self.at(1.0).plan.transpose
        shares = [
            each.turned(order).share(planned.spacing, planned.median_shape)
            for each in structures_of(self.variant.fingerprint, self._image_dimensions)
        ]
        return min(sum(shares), 1.0) if shares else USUAL_STRUCTURES

    def structure_width(self) -> float:
        """Diameter of the smallest structure, in voxels of the planned spacing."""
        found = self.smallest()
        return 0.0 if found is None else in_voxels(found.width, self.at(1.0).configuration.spacing)

    def holds_structure(self, shape: Shape) -> bool:
        """Whether the patch of a shape holds the smallest structure along every axis, in mm."""
        if self.moved:
            return False
        found, configuration = self.smallest(), self.at(shape.coarsening).configuration
        if found is None or self.name in STAGES:
            return True
        return found.fits(self.patch(shape), configuration.spacing, configuration.median_shape)

    def patch(self, shape: Shape) -> tuple[int, ...]:
        topology = self.topology(shape)
        return self.at(shape.coarsening).configuration.patch_size if topology is None else topology.patch_size

    def batch(self, shape: Shape) -> int:
        return min(shape.batch_size, self.at(shape.coarsening).configuration.batch_size)


def published_width(trainer: type[Trainer], options: Mapping[str, Any]) -> int | None:
    """Features of the first stage where a budget may reduce them; None: the network keeps its size."""
    if not trainer.adaptive_width:
        return None
    return int(options.get("width", 32))


def budget_of(plan: Plan) -> Decision | None:
    """What a plan decided for its budget; None without one."""
    return next((each for each in plan.decisions if each.name == "budget"), None)


def predicted_steps(plan: Plan) -> int | None:
    """Steps that a plan expects within its budget; None without one."""
    found = budget_of(plan)
    return None if found is None else found.inputs["predicted_steps"]


def too_few_steps(plan: Plan, choice: Choice) -> str | None:
    """What to say of a plan whose time allows fewer steps than make sense, if it does."""
    found, run_s = budget_of(plan), plan.require_training().run_s
    if found is None or found.inputs["predicted_steps"] >= FEWEST_STEPS or run_s is None:
        return None
    inputs, steps = found.inputs, found.inputs["predicted_steps"]
    step_s = inputs["predicted_step_s"]
    # A plan from before prediction was counted does not say.
    enough_s = inputs.get("least_run_seconds", FEWEST_STEPS * step_s / TRAINING_FRACTION)
    return what_the_time_allows(str(choice), steps, step_s, run_s, enough_s)


def what_the_time_allows(choice: str, steps: int, step_s: float, run_s: float, enough_s: float) -> str:
    """In words: how many steps there would be, and the time that makes sense."""
    return (
        f"{run_s:.0f} s allow {choice} about {steps} steps of {step_s:.2g} s beside the prediction of the "
        f"held-out cases; {enough_s / 60:.1f} min a run ({FEWEST_STEPS} steps) is the least that makes sense"
    )
