"""A trainer's plan made smaller until it fits the memory and the time: batch, width, spacing, patch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from autoseg.architectures import Topology, class_path, network_kwargs, requires_import
from autoseg.errors import PlanError
from autoseg.planner.budget import (
    ENOUGH_STEPS,
    FEWEST_STEPS,
    LEAST_STEPS,
    NARROWEST_STRUCTURE,
    SMALLEST_BATCH,
    SOURCE,
    Shape,
    bearable_batch,
    choose,
    shapes,
)
from autoseg.planner.patch import shrunk
from autoseg.planner.plan import ArchitectureSpec, Configuration, Decision, Plan
from autoseg.planner.structures import Structure, in_voxels, smallest_structure
from autoseg.planner.topology import divisors, topology_of
from autoseg.tailoring.base_plan import base_plan
from autoseg.tailoring.memory.calibration import cache_file, calibrate
from autoseg.tailoring.memory.trainer_memory import memory_of, within_memory
from autoseg.tailoring.network import build
from autoseg.tailoring.options import is_stock
from autoseg.tailoring.prediction_cost import PredictionCost, prediction_cost, windows_per_case
from autoseg.tailoring.step_time import StepTime, forward_seconds, probe_batches, step_seconds
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

# Features grow by 2^1.55 in time when they double: measured for U-Nets of width 8 to 32 in bfloat16.
WIDTH_EXPONENT = 1.55
# Of a run's share, what start-up, log and final prediction may take; the clock decides in the end.
TRAINING_FRACTION = 0.85
# Of a run's share, what start-up, log and the writing of checkpoint and predictions take beside prediction.
CLOSING_FRACTION = 0.05


@dataclass(frozen=True)
class _Start:
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
    _starts: dict[float, _Start] = field(default_factory=dict)
    _windows: dict[tuple[float, tuple[int, ...]], float] = field(default_factory=dict)
    # Of a forward pass at the published width; measured with the step.
    _forward: StepTime = field(default_factory=lambda: StepTime(0.0, 0.0))

    @property
    def moved(self) -> bool:
        """Whether the plan is another model's, of which only the batch may change."""
        return "plan_from" in self.variant.choice.options

    def plan(self, shape: Shape) -> Plan:
        """The plan of a shape, with the one configuration that is trained, and why it fits the memory."""
        start = self._at(shape.coarsening)
        decisions = (*start.plan.decisions, *start.decisions)
        configuration = self.configuration(shape)
        return dataclasses.replace(start.plan, configurations={self.name: configuration}, decisions=decisions)

    def _at(self, coarsening: float) -> _Start:
        """What a shape of that spacing starts from: nnU-Net's plan and, within the memory, its topology."""
        if coarsening not in self._starts:
            plan = self.variant.base if coarsening == 1.0 else base_plan(self.variant, coarsening)
            self._starts[coarsening] = self._within_memory(plan)
        return self._starts[coarsening]

    def _within_memory(self, plan: Plan) -> _Start:
        planned = plan.configurations[self.name]
        if self.moved or is_stock(self.variant.choice):
            return _Start(plan, planned, None)
        topology = topology_of(planned)
        if self.variant.request.memory_gb is None:
            return _Start(plan, planned, topology)
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
        return _Start(plan, planned, fitted, (decision,))

    def _topology(self, shape: Shape) -> Topology | None:
        """Patch and strides of a shape; None where they are not to be touched."""
        start = self._at(shape.coarsening)
        if start.topology is None or shape.patch_share == 1.0:
            return start.topology
        voxels = shape.patch_share * math.prod(start.topology.patch_size)
        return shrunk(start.topology, start.configuration.median_shape, voxels)

    def configuration(self, shape: Shape) -> Configuration:
        """The configuration of a shape: the planner's at that spacing, with this patch, batch and network."""
        start, topology = self._at(shape.coarsening), self._topology(shape)
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

    def _architecture(self, start: _Start, topology: Topology | None, width: int | None) -> ArchitectureSpec:
        planned = start.plan.configurations[self.name]
        options = self._options(width)
        as_planned = self.variant.trainer.architecture is None and not options
        if topology is None or (as_planned and topology.patch_size == planned.patch_size):
            return planned.architecture
        name = self.variant.trainer.architecture or self.variant.trainer.planned_architecture
        kwargs = network_kwargs(name, topology, **options)
        return ArchitectureSpec(class_path(name), kwargs, requires_import(name))

    def fit(self, run_s: float) -> tuple[Shape, list[Decision]]:
        """Choose the shape that makes enough steps in the time there is.

        Raises:
            PlanError: if the time is too short for any; the message says what would make sense.
        """
        measured, probe = self._measure()
        line = StepTime.through(measured)
        width = self._structure_width()

        def seconds_of(shape: Shape) -> float:
            return line.seconds(self._voxels(shape)) * self._width_factor(shape)

        def train_s(shape: Shape) -> float:
            left = run_s * (1 - CLOSING_FRACTION) - self.prediction(shape, run_s).seconds
            return min(run_s * TRAINING_FRACTION, max(left, 0.0))

        def least_run_seconds(shape: Shape) -> float:
            trained = FEWEST_STEPS * seconds_of(shape)
            both = trained + self.prediction(shape, run_s).seconds
            return max(trained / TRAINING_FRACTION, both / (1 - CLOSING_FRACTION))

        offers = self._offers(width, line)
        shape, steps = choose(offers, seconds_of, train_s)
        predicting = self.prediction(shape, run_s)
        enough = min(least_run_seconds(each) for each, _ in offers)
        self._refuse(steps, seconds_of(shape), run_s, enough)
        inputs = {
            "train_seconds": round(train_s(shape), 1),
            "prediction_seconds": round(predicting.seconds, 1),
            "windows": round(predicting.windows),
            "mirrored_copies": predicting.copies,
            "measured_step_s": {str(voxels): round(seconds, 4) for voxels, seconds in measured.items()},
            "measured_on": probe,
            "fixed_step_s": round(line.fixed, 4),
            "predicted_step_s": round(seconds_of(shape), 4),
            "predicted_steps": steps,
            "least_run_seconds": round(enough, 1),
            "published": dataclasses.asdict(self.published),
            "smallest_structure_voxels": round(width, 1),
        }
        return shape, [Decision("budget", dataclasses.asdict(shape), self._rule(), inputs, SOURCE)]

    def _width_factor(self, shape: Shape) -> float:
        """What a narrower network saves, as a factor on the time of the published width."""
        if not shape.width or not self.published.width:
            return 1.0
        return float((shape.width / self.published.width) ** WIDTH_EXPONENT)

    def prediction(self, shape: Shape, run_s: float) -> PredictionCost:
        """What predicting the held-out cases takes with a shape."""
        start, patch = self._at(shape.coarsening), self._patch(shape)
        if (shape.coarsening, patch) not in self._windows:
            configuration = dataclasses.replace(start.configuration, patch_size=patch)
            self._windows[shape.coarsening, patch] = windows_per_case(
                configuration, start.plan, self.variant.fingerprint
            )
        factor = self._width_factor(shape)
        forward = StepTime(factor * self._forward.fixed, factor * self._forward.per_voxel)
        windows, cases = self._windows[shape.coarsening, patch], len(self.variant.fingerprint.spacings)
        return prediction_cost(windows, cases, patch, forward, self.variant.request.device.type, run_s)

    def _offers(self, structure: float, line: StepTime) -> list[tuple[Shape, int]]:
        """What may be chosen, from the published shape to the cheapest."""
        if self.moved:
            structure = 0.0
        elif self.name == "3d_lowres":
            structure = 0.0  # low resolution is coarse already, and a coarser grid may have none
        smallest = self.variant.trainer.smallest_batch
        offers = shapes(
            self.published, smallest, structure, lambda s: bearable_batch(smallest, self._patch(s))
        )
        kept: list[tuple[Shape, int]] = []
        for shape, wanted in offers:
            # A patch that cannot hold a structure teaches less than fewer steps do.
            if shape.patch_share < 1.0 and not self._holds_structure(shape):
                continue
            last = kept[-1][0] if kept else shape
            same_grid = (shape.coarsening, shape.patch_share) == (last.coarsening, last.patch_share)
            if same_grid or line.follows_size(self._voxels(last)):
                kept.append((shape, wanted))
        return kept

    def _voxels(self, shape: Shape) -> int:
        """Of a batch."""
        return self._batch(shape) * math.prod(self._patch(shape))

    def _smallest(self) -> Structure | None:
        """The smallest structure, its axes in the plan's order; None where it is not known."""
        plan = self._at(1.0).plan
        found = smallest_structure(self.variant.fingerprint, 2 if min(plan.original_median_shape) == 1 else 3)
        return None if found is None else found.turned(plan.transpose)

    def _structure_width(self) -> float:
        """Diameter of the smallest structure, in voxels of the planned spacing."""
        found = self._smallest()
        return 0.0 if found is None else in_voxels(found.width, self._at(1.0).configuration.spacing)

    def _holds_structure(self, shape: Shape) -> bool:
        """Whether the patch of a shape holds the smallest structure along every axis, in mm."""
        if self.moved:
            return False
        found, configuration = self._smallest(), self._at(shape.coarsening).configuration
        if found is None or self.name == "3d_lowres":
            return True
        return found.fits(self._patch(shape), configuration.spacing, configuration.median_shape)

    def _patch(self, shape: Shape) -> tuple[int, ...]:
        topology = self._topology(shape)
        return (
            self._at(shape.coarsening).configuration.patch_size if topology is None else topology.patch_size
        )

    def _batch(self, shape: Shape) -> int:
        return min(shape.batch_size, self._at(shape.coarsening).configuration.batch_size)

    def _refuse(self, steps: int, step_s: float, run_s: float, enough_s: float) -> None:
        if steps < LEAST_STEPS:
            problem = _what_the_time_allows(str(self.variant.choice), steps, step_s, run_s, enough_s)
            raise PlanError(
                f"{problem}. Give a larger budget, fewer trainers or folds, or a smaller network."
            )

    def _rule(self) -> str:
        if self.moved:
            return f"at least {ENOUGH_STEPS} steps: the batch shrinks; all else is the other model's"
        kept = ", then the width" if self.published.width else " (the network keeps its documented size)"
        below = self.variant.trainer.smallest_batch > SMALLEST_BATCH
        return (
            f"at least {ENOUGH_STEPS} steps in what predicting the held-out cases leaves: first the batch "
            f"shrinks{kept}; below {FEWEST_STEPS} steps the "
            f"spacing grows while the smallest structure stays wider than {NARROWEST_STRUCTURE:g} voxels"
            + (f", then the batch below {self.variant.trainer.smallest_batch}" if below else "")
            + ", and at last the patch shrinks while it can hold that structure; spacing and patch stay "
            "where voxels take less than half of a step"
        )

    def _measure(self) -> tuple[dict[int, float], dict[str, Any]]:
        """Seconds of a step by voxels of a small batch, and what they were measured on."""
        from autoseg.system.device import autocast_dtype

        configuration, topology = self.configuration(self.published), self._at(1.0).topology
        # A network that names no strides is measured on its whole patch.
        rows = configuration.architecture.kwargs.get("strides", [configuration.patch_size])
        strides = divisors(topology) if topology else [math.prod(c) for c in zip(*rows, strict=True)]
        plan = dataclasses.replace(self._at(1.0).plan, configurations={self.name: configuration})
        network = (
            build(self.variant.trainer, plan, self.name, self.variant.dataset)
            .to(self.variant.request.device)
            .train()
        )
        dtype = autocast_dtype(self.variant.request.device)
        channels = len(self.variant.dataset.channels)
        probes = probe_batches(configuration.patch_size, configuration.batch_size, strides)
        measured = {
            batch * math.prod(patch): step_seconds(
                network, (batch, channels, *patch), self.variant.request.device, dtype
            )
            for batch, patch in probes
        }
        forward = {
            batch * math.prod(patch): forward_seconds(
                network, (batch, channels, *patch), self.variant.request.device, dtype
            )
            for batch, patch in probes
        }
        self._forward = StepTime.through(forward)
        on = {"batches": [[batch, *patch] for batch, patch in probes]}
        return measured, {**on, "precision": str(dtype or torch.float32).removeprefix("torch.")}


def published_width(trainer: type[Trainer], options: Mapping[str, Any]) -> int | None:
    """Features of the first stage where a budget may reduce them; None: the network keeps its size."""
    if not trainer.adaptive_width:
        return None
    return int(options.get("width", 32))


def predicted_steps(plan: Plan) -> int | None:
    """Steps that a plan expects within its budget; None without one."""
    return next((each.inputs["predicted_steps"] for each in plan.decisions if each.name == "budget"), None)


def too_few_steps(plan: Plan, choice: Choice) -> str | None:
    """What to say of a plan whose time allows fewer steps than make sense, if it does."""
    steps = predicted_steps(plan)
    run_s = plan.require_training().run_s
    if steps is None or steps >= FEWEST_STEPS or run_s is None:
        return None
    (inputs,) = (each.inputs for each in plan.decisions if each.name == "budget")
    step_s = inputs["predicted_step_s"]
    # A plan from before prediction was counted does not say.
    enough_s = inputs.get("least_run_seconds", FEWEST_STEPS * step_s / TRAINING_FRACTION)
    return _what_the_time_allows(str(choice), steps, step_s, run_s, enough_s)


def _what_the_time_allows(choice: str, steps: int, step_s: float, run_s: float, enough_s: float) -> str:
    return (
        f"{run_s:.0f} s allow {choice} about {steps} steps of {step_s:.2g} s beside the prediction of the "
        f"held-out cases; {enough_s / 60:.1f} min a run ({FEWEST_STEPS} steps) is the least that makes sense"
    )
