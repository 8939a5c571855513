"""2D, 3D at full or low resolution, or a cascade: decided before any training, with reasons.

nnU-Net trains all of them and lets cross-validation choose. Where the data leave no doubt that is four
trainings for one answer; where they do, the alternatives are named with what they cost, and a short race
between them may decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from autoseg.planner.budget import ENOUGH_STEPS, FEWEST_STEPS, PATCH_SHARES, SMALLEST_BATCH
from autoseg.planner.data_facts import DataFacts, coverage, extent
from autoseg.planner.networks import Hardware, network_facts
from autoseg.planner.plan import Decision, Plan
from autoseg.planner.spacing import ANISOTROPY

Confidence = Literal["clear", "in doubt"]

# Below this many slices, not even the first halving of nnU-Net's 3D network reaches across them.
FEWEST_SLICES = 8
FEWEST_SLICES_AT_ALL = 5
# A structure thinner than this many slices looks the same to a 3D kernel as to a 2D one.
THIN_SLICES = 3
# The ball as large as a structure is narrower than the structure, which may be longer by so much.
ELONGATION = 2.0
# A structure narrower than this, in voxels, is lost at low resolution.
NARROWEST_AT_LOWRES = 6.0
FEW_CASES = 5
YARDSTICK = "nnunet"

_PAPER = "Isensee et al., Nature Methods 2021"
_OWN = "autoseg's choice; the threshold is untested"
_MEASURED = "autoseg, measured: benchmarks/results/deciding.md"
Fired = tuple[str, Confidence, str, str, dict[str, Any]]


@dataclass(frozen=True)
class Alternative:
    """What was not chosen.

    Attributes:
        value: the name of a configuration.
        reason: why not.
        costs: what it would take, in numbers.
    """

    value: str
    reason: str
    costs: Mapping[str, Any]


@dataclass(frozen=True)
class DimensionChoice:
    """The configuration to train, and how sure that is.

    Attributes:
        decision: named ``dimension``; alternatives and confidence stand in its inputs as well, so that a
            plan keeps them.
        alternatives: all other configurations of the plan.
        confidence: ``clear``, or ``in doubt`` where a short race may decide.
    """

    decision: Decision
    alternatives: tuple[Alternative, ...]
    confidence: Confidence

    @property
    def value(self) -> str:
        """The name of the configuration."""
        return str(self.decision.value)

    @property
    def contenders(self) -> tuple[str, ...]:
        """What a race would compare: the choice and, in doubt, its closest alternative."""
        in_doubt = self.confidence == "in doubt"
        return (self.value, *(each.value for each in self.alternatives[: 1 if in_doubt else 0]))


def choose_dimension(
    plan: Plan,
    data: DataFacts,
    hardware: Hardware | None = None,
    run_s: float | None = None,
    trainings: float = 2.0,
) -> DimensionChoice:
    """Decide between the configurations of a plan.

    Args:
        plan: nnU-Net's, with all its configurations.
        data: facts about the same data set.
        hardware: where it will train; None: time decides nothing.
        run_s: wall clock of one run; None: as long as it takes.
        trainings: of a cascade, that share the time of one run.
    """
    question = _Question(plan, data, hardware, run_s, trainings)
    value, confidence, rule, source, inputs = question.in_time(next(question.rules()))
    others = [name for name in plan.configurations if name != value]
    tight = "steps_in_3d" in inputs
    others.sort(key=lambda name: _closeness(value, name) - len(others) * (name == "2d" and tight))
    alternatives = tuple(Alternative(name, question.against(name), question.costs(name)) for name in others)
    shared = {
        "median_shape": [round(n, 1) for n in data.shape],
        "spacing": [round(n, 4) for n in data.spacing],
        "cases": data.cases,
        "channels": data.channels,
        **data.structures,
        **inputs,
        "costs": question.costs(value),
        "confidence": confidence,
        "alternatives": [asdict(each) for each in alternatives],
    }
    return DimensionChoice(Decision("dimension", value, rule, shared, source), alternatives, confidence)


def requested_dimension(plan: Plan, name: str) -> DimensionChoice:
    """A user's choice, which leaves nothing to decide.

    Raises:
        PlanError: if the plan has no such configuration.
    """
    plan.configuration(name)
    inputs = {"planned": list(plan.configurations), "confidence": "clear"}
    return DimensionChoice(Decision("dimension", name, "requested", inputs, "the user"), (), "clear")


@dataclass(frozen=True)
class _Question:
    plan: Plan
    data: DataFacts
    hardware: Hardware | None
    run_s: float | None
    trainings: float = 2.0

    def rules(self) -> Iterator[Fired]:
        """The rules in order; the first that says something decides."""
        yield from self._flat()
        yield from self._too_slow()
        yield from self._few_slices()
        yield from self._thick_slices()
        yield from self._large()
        yield from self._whole()

    def _flat(self) -> Iterator[Fired]:
        names = list(self.plan.configurations)
        if self.data.slices <= 1 or "3d_fullres" not in names:
            rule = "2D where the median case is a single slice or nothing else is planned"
            yield names[0] if "2d" not in names else "2d", "clear", rule, _PAPER, {"slices": self.data.slices}

    def _too_slow(self) -> Iterator[Fired]:
        flat, volume = self._most_steps("2d"), self._most_steps("3d_fullres", PATCH_SHARES[-1])
        if flat is None or volume is None or volume >= FEWEST_STEPS or flat < 2 * volume:
            return
        rule = (
            f"2D where the time allows fewer than {FEWEST_STEPS} steps in 3D, even of nnU-Net at its "
            f"narrowest with a patch of {PATCH_SHARES[-1]:.0%}, and at least twice as many in 2D"
        )
        yield "2d", "in doubt", rule, _OWN, {"steps_in_3d": volume, "steps_in_2d": flat}

    def in_time(self, fired: Fired) -> Fired:
        """What a rule says, after a look at the clock: a step in 3D takes many times as long.

        Where the data leave it open, what gets several times the steps is the safer of the two until 3D has
        enough of them as well. Where they do not, hardly any steps in 3D are a doubt and no more: what only
        3D can see is worth more than what a few more steps give.
        """
        value, confidence, rule, source, inputs = fired
        flat, volume = self._most_steps("2d"), self._most_steps("3d_fullres")
        if not value.startswith("3d") or flat is None or volume is None or flat < 2 * volume:
            return fired
        is_open = confidence == "in doubt"
        if volume >= (ENOUGH_STEPS if is_open else FEWEST_STEPS):
            return fired
        inputs = {**inputs, "steps_in_3d": volume, "steps_in_2d": flat}
        if not is_open or value != "3d_fullres":
            return value, "in doubt", rule, source, inputs
        rule = (
            f"{rule}; but 2D where that leaves it open and the time allows fewer than {ENOUGH_STEPS} steps "
            f"in 3D, and at least twice as many in 2D"
        )
        return "2d", "in doubt", rule, _MEASURED, inputs

    def _few_slices(self) -> Iterator[Fired]:
        if self.data.slices >= FEWEST_SLICES or "2d" not in self.plan.configurations:
            return
        sure = self.data.slices < FEWEST_SLICES_AT_ALL
        rule = (
            f"2D below {FEWEST_SLICES} slices, which no pooling reaches across; without doubt below "
            f"{FEWEST_SLICES_AT_ALL}"
        )
        yield "2d", "clear" if sure else "in doubt", rule, _OWN, {"slices": self.data.slices}

    def _thick_slices(self) -> Iterator[Fired]:
        data = self.data
        coarse = data.anisotropy > ANISOTROPY and data.slices * ANISOTROPY < min(data.shape[1:])
        if not coarse or "2d" not in self.plan.configurations:
            return
        inputs: dict[str, Any] = {"anisotropy": round(data.anisotropy, 2), "slices": data.slices}
        thin = data.largest is not None and data.largest[1] * ELONGATION < THIN_SLICES * data.spacing[0]
        if data.largest is not None:
            inputs |= {"largest_structure_slices": round(data.largest[1] / data.spacing[0], 1)}
        rule = (
            f"slices more than {ANISOTROPY}x thicker than wide, and fewer by as much, leave it open whether "
            f"3D helps: 3D, unless every structure is thinner than {THIN_SLICES} slices"
        )
        yield "2d" if thin else "3d_fullres", "in doubt", rule, _PAPER, inputs

    def _large(self) -> Iterator[Fired]:
        """The patch at full resolution sees little of a case: is context missing?"""
        full, low = (self.plan.configurations.get(name) for name in ("3d_fullres", "3d_lowres"))
        if full is None or low is None:
            return
        seen = extent(full.patch_size, full.spacing)
        inputs: dict[str, Any] = {
            "covered": round(coverage(full), 3),
            "patch_mm": [round(n, 1) for n in seen],
        }
        if self.data.largest is None or self.data.smallest is None:
            rule = (
                "full resolution where a patch sees little of a case and the fingerprint does not say how "
                "large the structures are: one training instead of a cascade's two"
            )
            yield "3d_fullres", "in doubt", rule, _OWN, inputs
            return
        width = self.data.largest[1]
        if width * ELONGATION <= min(seen):
            rule = (
                f"full resolution where a patch sees little of a case, but the largest structure, taken "
                f"{ELONGATION:g}x longer than the ball of its volume, fits into it"
            )
            yield "3d_fullres", "clear", rule, _OWN, inputs
        elif width <= min(seen):
            rule = "full resolution where a patch just holds the largest structure"
            yield "3d_fullres", "in doubt", rule, _OWN, inputs
        else:
            yield self._without_context(low.spacing, inputs)

    def _without_context(self, low_spacing: tuple[float, ...], inputs: dict[str, Any]) -> Fired:
        assert self.data.smallest is not None
        voxels = self.data.smallest[1] / math.prod(low_spacing) ** (1 / 3)
        inputs = {
            **inputs,
            "smallest_at_lowres_voxels": round(voxels, 1),
        }
        steps = self._most_steps("3d_fullres")
        short = steps is not None and steps < self.trainings * ENOUGH_STEPS
        rule = (
            f"a cascade where the largest structure is larger than a patch; if the time is too short for "
            f"{ENOUGH_STEPS} steps of each of its trainings, low resolution, provided that the smallest "
            f"structure stays {NARROWEST_AT_LOWRES:g} voxels wide, else full resolution"
        )
        if steps is not None:
            inputs["steps"] = steps
        if not short and "3d_cascade_fullres" in self.plan.configurations:
            return "3d_cascade_fullres", "in doubt", rule, _PAPER, inputs
        value = "3d_lowres" if voxels >= NARROWEST_AT_LOWRES else "3d_fullres"
        return value, "in doubt", rule, _OWN, inputs

    def _whole(self) -> Iterator[Fired]:
        full = self.plan.configurations["3d_fullres"]
        few = self.data.cases < FEW_CASES
        rule = (
            f"3D at full resolution where slices are not much thicker than wide and a patch sees a good "
            f"part of a case; below {FEW_CASES} cases, which 2D multiplies into slices, with a doubt"
        )
        inputs = {"anisotropy": round(self.data.anisotropy, 2), "covered": round(coverage(full), 3)}
        yield "3d_fullres", "in doubt" if few else "clear", rule, _PAPER, inputs

    def against(self, name: str) -> str:
        """Why a configuration was not taken, in one sentence."""
        data = self.data
        if name == "2d":
            return f"it sees one of {data.slices:.0f} slices at a time"
        if name == "3d_lowres":
            spacing = " x ".join(f"{n:.3g}" for n in self.plan.configurations[name].spacing)
            return f"it sees {spacing} mm instead of {' x '.join(f'{n:.3g}' for n in data.spacing)} mm"
        if name == "3d_cascade_fullres":
            return "it takes two trainings, the second on the result of the first"
        full = self.plan.configurations[name]
        return f"its patch sees {coverage(full):.0%} of the median case"

    def costs(self, name: str) -> dict[str, Any]:
        """Work of a step of nnU-Net's own network, and how many trainings there are."""
        each = self.plan.configurations[name]
        facts = network_facts()[YARDSTICK]
        macs = facts.step_macs(each.dimensions, each.batch_size * math.prod(each.patch_size))
        costs: dict[str, Any] = {
            "patch_size": list(each.patch_size),
            "batch_size": each.batch_size,
            "covered": round(coverage(each), 3),
            "gmac_per_step": round(macs / 1e9, 1),
            "trainings": 2 if each.previous_stage else 1,
        }
        if self.hardware is not None:
            costs["seconds_per_step"] = round(self.hardware.step_seconds(macs, each.dimensions), 3)
        return costs

    def _most_steps(self, name: str, share: float = 1.0) -> int | None:
        """Steps of the cheapest network and batch, on a share of the patch; None where the time is open."""
        each = self.plan.configurations.get(name)
        if each is None or self.hardware is None or self.run_s is None:
            return None
        voxels = min(SMALLEST_BATCH, each.batch_size) * math.prod(each.patch_size) * share
        macs = network_facts()[YARDSTICK].step_macs(each.dimensions, voxels, narrowest=True)
        return self.hardware.steps(macs, self.run_s, each.dimensions)


def _closeness(value: str, name: str) -> int:
    """Order of the alternatives: what differs least from the choice, or rivals it most, comes first."""
    rivals = {
        "2d": ("3d_fullres", "3d_lowres"),
        "3d_fullres": ("3d_lowres", "2d"),
        "3d_lowres": ("3d_fullres", "3d_cascade_fullres"),
        "3d_cascade_fullres": ("3d_fullres", "3d_lowres"),
    }[value]
    return rivals.index(name) if name in rivals else len(rivals)
