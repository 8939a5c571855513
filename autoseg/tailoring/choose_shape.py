"""The shape of a training that is expected to lack least, in the time and on the machine that there is."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any

from autoseg.errors import PlanError
from autoseg.planner.budget import (
    AS_GOOD,
    FEWEST_STEPS,
    LEAST_STEPS,
    NARROWEST_STRUCTURE,
    SMALLEST_BATCH,
    STEPS_FOR_MIRRORING,
    Shape,
    bearable_batch,
    choose,
    shapes,
)
from autoseg.planner.cascade import STAGES
from autoseg.planner.dimension import Alternative
from autoseg.planner.explain.value_words import entries
from autoseg.planner.learning import SOURCE, gap, spacing_loss, width_loss
from autoseg.planner.plan import Decision
from autoseg.tailoring.fit_to_resources import Fitting, what_the_time_allows
from autoseg.tailoring.machine.kept import given_file, machine_model, share_now
from autoseg.tailoring.pace import Pace, Width
from autoseg.tailoring.prediction_cost import PredictionCost, prediction_cost, windows_per_case
from autoseg.tailoring.probe import around_network, kind_of, measured, modelled_lines
from autoseg.tailoring.steps_in_time import seconds_beside_steps, seconds_of_run, steps_within
from autoseg.training.second_look import ENTRY

# Times that a shape is measured and, with what was found, chosen again.
MOST_MEASUREMENTS = 3
# A difference beyond this, in Dice, is no estimate any more.
HARDLY = 0.2
# Alternatives that are named.
NAMED = 5


@dataclass(frozen=True)
class Expected:
    """What is expected of a training with a shape.

    Attributes:
        steps: that fit into what predicting leaves.
        step_s: seconds of one.
        train_s: seconds of the training.
        predicting: what predicting the held-out cases takes.
        loss: what it lacks, in Dice.
    """

    steps: int
    step_s: float
    train_s: float
    predicting: PredictionCost
    loss: float

    @property
    def costs(self) -> dict[str, float]:
        """In numbers, for an explanation."""
        return {
            "expected_loss": round(min(self.loss, 1.0), 4),
            "steps": self.steps,
            "seconds_per_step": round(self.step_s, 4),
            "prediction_seconds": round(self.predicting.seconds, 1),
        }


@dataclass
class ShapeChoice:
    """A choice among all shapes of a variant.

    Attributes:
        fitting: makes configurations of shapes.
        run_s: seconds of a run, prediction included.
        pace: how long steps take.
        precision: what the machine computes in.
    """

    fitting: Fitting
    run_s: float
    pace: Pace
    precision: str
    _windows: dict[tuple[float, tuple[int, ...]], float] = field(default_factory=dict)
    _measured: dict[str, float] = field(default_factory=dict)

    def decide(self) -> tuple[Shape, list[Decision]]:
        """Choose, measure a step of what was chosen and, with that, choose again.

        Raises:
            PlanError: if the time is too short for any shape; the message says what would make sense.
        """
        usual, small = self._offers
        shape = self._best(usual, small)
        tried: set[tuple[Width, int]] = set()
        while given_file() is None and len(tried) < MOST_MEASUREMENTS and self._key(shape) not in tried:
            tried.add(self._key(shape))
            self._measure(shape)
            shape = self._best(usual, small)
        found = self.expected(shape)
        enough = min(self._least_run_seconds(each) for each in (*usual, *small))
        self._refuse(found, enough)
        return shape, [self._decision(shape, found, enough)]

    def _key(self, shape: Shape) -> tuple[Width, int]:
        return shape.width, self.fitting.voxels(shape)

    def expected(self, shape: Shape) -> Expected:
        """What is expected of a shape."""
        fitting = self.fitting
        step_s = self.pace.seconds(fitting.batch(shape), fitting.voxels(shape), shape.width)
        predicting = self._prediction(shape, step_s)
        train_s = max(self.run_s - seconds_beside_steps(self.pace.share) - predicting.seconds, 0.0)
        steps = steps_within(train_s, step_s)
        loss = (
            gap(steps, fitting.batch(shape))
            + width_loss(shape.width)
            + fitting.patch_loss(shape)
            + spacing_loss(shape.coarsening, fitting.structure_width())
        )
        return Expected(steps, step_s, train_s, predicting, loss)

    def _prediction(self, shape: Shape, step_s: float) -> PredictionCost:
        fitting, variant = self.fitting, self.fitting.variant
        start, patch = fitting.at(shape.coarsening), fitting.patch(shape)
        key = (shape.coarsening, patch)
        if key not in self._windows:
            configuration = dataclasses.replace(start.configuration, patch_size=patch)
            self._windows[key] = windows_per_case(configuration, start.plan, variant.fingerprint)
        # A short training by nnU-Net's recipe is not mirrored, and so neither are its predictions.
        short = variant.trainer.adaptive_width and self.run_s < STEPS_FOR_MIRRORING * step_s
        wanted = variant.choice.options.get("mirroring", not short and variant.trainer.mirroring)
        cases = len(variant.fingerprint.spacings)
        device, forward = variant.request.device.type, self.pace.forward(fitting.voxels(shape), shape.width)
        return prediction_cost(
            self._windows[key], cases, patch, forward, device, self.run_s if wanted else 0.0
        )

    @functools.cached_property
    def _offers(self) -> tuple[list[Shape], list[Shape]]:
        """What may be chosen, and what else where none of it learns."""
        fitting, smallest = self.fitting, self.fitting.variant.trainer.smallest_batch
        # Low resolution is coarse already, and a coarser grid may have none and so no cascade.
        structure = 0.0 if fitting.moved or fitting.name in STAGES else fitting.structure_width()
        usual, small = shapes(
            fitting.published, smallest, structure, lambda s: bearable_batch(smallest, fitting.patch(s))
        )
        # A patch that cannot hold a structure teaches less than fewer steps do.
        usual, small = (
            [each for each in some if each.patch_share == 1.0 or fitting.holds_structure(each)]
            for some in (usual, small)
        )
        return usual, small

    def _best(self, usual: list[Shape], small: list[Shape]) -> Shape:
        found = choose(usual, lambda shape: self.expected(shape).loss)
        if self.expected(found).steps >= FEWEST_STEPS or not small:
            return found
        return choose([*usual, *small], lambda shape: self.expected(shape).loss)

    def _measure(self, shape: Shape) -> None:
        pace, fitting = self.pace, self.fitting
        expected_s = pace.network(fitting.voxels(shape), shape.width)
        pace.learn(shape.width, *measured(fitting, shape, expected_s))
        size = "x".join(map(str, (fitting.batch(shape), *fitting.patch(shape))))
        width = "" if shape.width is None else f" width {shape.width}"
        self._measured[size + width] = round(self._computed(shape), 4)

    def _computed(self, shape: Shape) -> float:
        """Seconds of computing of a step."""
        fitting = self.fitting
        return self.pace.computed(fitting.batch(shape), fitting.voxels(shape), shape.width)

    def _least_run_seconds(self, shape: Shape) -> float:
        """Seconds of a run that has the fewest steps that make sense."""
        found = self.expected(shape)
        return seconds_of_run(FEWEST_STEPS, found.step_s, found.predicting.seconds, self.pace.share)

    def _refuse(self, found: Expected, enough_s: float) -> None:
        if found.steps < LEAST_STEPS:
            problem = what_the_time_allows(
                str(self.fitting.variant.choice), found.steps, found.step_s, self.run_s, enough_s
            )
            raise PlanError(
                f"{problem}. Give a larger budget, fewer trainers or folds, or a smaller network."
            )

    def _decision(self, shape: Shape, found: Expected, enough_s: float) -> Decision:
        fitting, pace = self.fitting, self.pace
        inputs: dict[str, Any] = {
            "train_seconds": round(found.train_s, 1),
            "prediction_seconds": round(found.predicting.seconds, 1),
            "windows": round(found.predicting.windows),
            "mirrored_copies": found.predicting.copies,
            "measured_step_s": dict(self._measured),
            "precision": self.precision,
            "machine_share": round(pace.share, 3),
            "correction": round(pace.correction, 3),
            "computed_step_s": round(self._computed(shape), 5),
            "predicted_step_s": round(found.step_s, 4),
            "predicted_steps": found.steps,
            "expected_loss": round(min(found.loss, 1.0), 4),
            "least_run_seconds": round(enough_s, 1),
            "published": dataclasses.asdict(fitting.published),
            "smallest_structure_voxels": round(fitting.structure_width(), 1),
            "alternatives": [dataclasses.asdict(each) for each in self._beaten(shape, found)],
            ENTRY: self._for_a_second_look(shape),
        }
        return Decision("budget", dataclasses.asdict(shape), self._rule(), inputs, SOURCE)

    def _for_a_second_look(self, shape: Shape) -> dict[str, Any]:
        """What the training itself may still change: batch and patch of the very same network."""
        fitting = self.fitting
        architecture = fitting.configuration(shape).architecture
        offers = [*self._offers[0], *self._offers[1]]
        same = [
            each
            for each in dict.fromkeys((shape, *offers))
            if (each.width, each.coarsening) == (shape.width, shape.coarsening)
            and fitting.configuration(each).architecture == architecture
        ]
        patches = {fitting.patch(each): each for each in same}
        fixed_s, sample_s, voxel_s = self.pace.parts(fitting.voxels(shape), shape.width)
        return {
            "fixed_s": fixed_s,
            "sample_s": sample_s,
            "voxel_s": voxel_s,
            "batches": sorted({fitting.batch(each) for each in same}),
            "patches": [
                {
                    "patch_size": list(patch),
                    "loss": round(fitting.patch_loss(each), 5),
                    "prediction_seconds": round(self.expected(each).predicting.seconds, 2),
                }
                for patch, each in patches.items()
            ],
        }

    def _beaten(self, shape: Shape, found: Expected) -> list[Alternative]:
        """The published shape, and of each aspect the best other value."""
        others = [each for each in self._offers[0] if each != shape]
        named = [each for each in others if each == self.fitting.published]
        for aspect in ("batch_size", "width", "coarsening", "patch_share"):
            same = [each for each in others if _differs_in(each, shape) == [aspect]]
            named += sorted(same, key=lambda each: self.expected(each).loss)[:1]
        return [
            Alternative(
                entries({key: value for key, value in dataclasses.asdict(each).items() if value is not None}),
                _verdict(self.expected(each).loss - found.loss),
                self.expected(each).costs,
            )
            for each in dict.fromkeys(named[:NAMED])
        ]

    def _rule(self) -> str:
        if self.fitting.moved:
            return "the batch that is expected to lack least; all else is the other model's"
        width = "width, " if self.fitting.published.width else ""
        below = self.fitting.variant.trainer.smallest_batch > SMALLEST_BATCH
        return (
            f"of batch, {width}spacing and patch what is expected to lack least, in Dice: for its steps in "
            "what predicting the held-out cases leaves of the time, and for a smaller "
            f"{width}grid and patch. The smallest structure stays wider than {NARROWEST_STRUCTURE:g} voxels, "
            f"and a smaller patch holds it; what lacks hardly more ({AS_GOOD:g}) and is closer to the "
            "published system comes first"
            + (f"; below {FEWEST_STEPS} steps the batch may be smaller than required" if below else "")
        )


def _differs_in(one: Shape, other: Shape) -> list[str]:
    first, second = dataclasses.asdict(one), dataclasses.asdict(other)
    return [key for key in first if first[key] != second[key]]


def _verdict(more: float) -> str:
    if more > HARDLY:
        return "hardly anything is learnt in so few steps"
    if more > AS_GOOD:
        return f"expected {more:.3f} Dice lower"
    return "expected to be as good, and further from the published system"


def fit(fitting: Fitting, run_s: float) -> tuple[Shape, list[Decision]]:
    """Choose the shape of a training for the time that there is.

    Args:
        fitting: the variant, before anything is fitted.
        run_s: seconds of the run, prediction included.

    Raises:
        PlanError: if the time is too short for any; the message says what would make sense.
    """
    machine = machine_model(fitting.variant.request.device)
    pace = Pace(
        lambda width: modelled_lines(fitting, width, machine),
        1.0 if given_file() is not None else machine.correction(kind_of(fitting)),
        share_now(machine),
        around_network(fitting),
    )
    return ShapeChoice(fitting, run_s, pace, machine.precision).decide()
