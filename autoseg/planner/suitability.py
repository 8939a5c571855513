"""Which trainers suit a data set, a device and the time there is: ``--trainers auto``.

Every trainer gets a verdict with its reasons. First each rule that leaves a trainer out is applied, then
those that remain are put in order, and at last the time is divided among as many as make the best model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from autoseg.planner.allocation import Allocation, allocate
from autoseg.planner.budget import ENOUGH_STEPS, FEWEST_STEPS
from autoseg.planner.networks import NetworkFacts, network_facts
from autoseg.planner.plan import Decision
from autoseg.planner.situation import ALWAYS, Situation

FEW_CASES = 20
SMALL_NETWORK = 35e6
LARGE_NETWORK = 50e6
# A time long enough to count steps in.
RATE_S = 1000.0
# A trainer is tried with at least this, however short the budget is.
SHORTEST_RUN_S = 150.0
MOST_TRAINERS = 6
# What takes more than this part of the budget before it learns would leave no room for others.
LARGEST_SHARE = 1 / 3
# Slice-wise systems beside those for volumes, where the dimension is in doubt.
MOST_SLICEWISE = 2
_SOURCE = "autoseg's choice, from published results and measured speeds; the order is untested"


Facts = Mapping[str, NetworkFacts]


@dataclass(frozen=True)
class Verdict:
    """Whether a trainer is taken, with the reason.

    Attributes:
        trainer: its name.
        taken: whether it will be trained.
        reason: one sentence.
    """

    trainer: str
    taken: bool
    reason: str


@dataclass(frozen=True)
class Suitability:
    """The trainers for a data set, best suited first, and a verdict on each that there is.

    Attributes:
        names: those that are taken.
        verdicts: on all of them.
        decision: the same for a plan.
        allocation: what each gets of the time.
    """

    names: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    decision: Decision
    allocation: Allocation


def suitable_trainers(
    situation: Situation, names: Sequence[str] | None = None, measured: Facts | None = None
) -> Suitability:
    """Choose trainers for a situation.

    Args:
        situation: what they have to suit.
        names: those to choose from; all in the table if None.

    Returns:
        At least one trainer: nnU-Net, whose width follows the time.
    """
    facts = {**network_facts(), **(measured or {})}
    known = [name for name in (names or facts) if name in facts]
    left = {name: reason for name in known for reason in _against(facts[name], situation, facts)[:1]}
    order = [name for name in _order(situation, facts) if name in known and name not in left]
    allocation = _allocated(order, situation, facts)
    taken = tuple(allocation.fractions)
    verdicts = []
    for name in names or facts:
        if name in taken:
            reason = _for(facts[name], situation)
        elif name in known:
            reason = (
                left.get(name) or allocation.left.get(name) or _kin(name, taken, facts) or "others come first"
            )
        else:
            reason = "it does not say what it is for (Trainer.auto); ask for it by name"
        verdicts.append(Verdict(name, name in taken, reason))
    return Suitability(taken, tuple(verdicts), _decision(allocation, verdicts, situation), allocation)


def _against(facts: NetworkFacts, situation: Situation, others: Facts) -> list[str]:
    """Why a trainer cannot or should not be trained; empty if nothing speaks against it."""
    return list(_objections(facts, situation, others)) if facts.name != ALWAYS else []


def _objections(facts: NetworkFacts, situation: Situation, others: Facts) -> Iterator[str]:
    cases, dimensions = situation.data.cases, situation.dimensions_of(facts)
    decided = f"{situation.dimensions}D was decided"
    if dimensions not in facts.dimensions:
        yield f"it trains in {' and '.join(f'{n}D' for n in facts.dimensions)} alone, and {decided}"
        return
    if facts.preferred_dimension not in (None, dimensions):
        yield f"the documented system is {facts.preferred_dimension}D, and {decided}"
    if dimensions == 2 and _is_for_volumes(facts, others):
        yield f"{facts.trainer.kind or facts.name} was published for 3D, and {decided}"
    parameters = situation.parameters(facts)
    if situation.tiny and parameters > LARGE_NETWORK:
        voxels = math.prod(situation.configuration.median_shape)
        yield f"{voxels:,.0f} voxels, the median case, are few for {parameters / 1e6:.0f} million parameters"
    if cases < FEW_CASES and parameters > SMALL_NETWORK and facts.name not in situation.pretrained:
        yield f"few cases ({cases}) for {parameters / 1e6:.0f} million parameters from random weights"
    yield from _resources(facts, situation)


def _is_for_volumes(facts: NetworkFacts, others: Facts) -> bool:
    """Whether a trainer, or the one of its kind that is chosen by itself, is chosen for volumes alone."""
    chosen = facts.trainer.auto or next(
        (each.trainer.auto for each in others.values() if _alike(facts, each) and each.trainer.auto), {}
    )
    return "3d" in chosen and "2d" not in chosen


def _alike(one: NetworkFacts, other: NetworkFacts) -> bool:
    return bool(one.trainer.kind) and one.trainer.kind == other.trainer.kind


def _ranked(facts: Facts, situation: str) -> list[str]:
    """The trainers that are chosen in a situation, by their ranks there."""
    ranks = {
        name: each.trainer.auto[situation] for name, each in facts.items() if situation in each.trainer.auto
    }
    return sorted(ranks, key=lambda name: (ranks[name], name))


def _resources(facts: NetworkFacts, situation: Situation) -> Iterator[str]:
    hardware = situation.hardware
    needed, parameters = situation.memory_gb(facts), situation.parameters(facts)
    if hardware.memory_gb is not None and needed > hardware.memory_gb:
        yield f"it takes {needed:.1f} GB with the smallest batch and patch, of {hardware.memory_gb:g} GB"
    large = hardware.kind == "cpu" and parameters > LARGE_NETWORK
    if situation.total_s is None:
        if large:
            yield f"{parameters / 1e6:.0f} million parameters without a budget on a CPU"
        return
    # nnU-Net is always there, so that nothing ever has more than half.
    run = situation.total_s / situation.runs_each
    share = max(run * LARGEST_SHARE, min(run / 2, SHORTEST_RUN_S))
    steps, whole = situation.steps(facts, share), situation.steps(facts, share, shrunk=False)
    allowed = f"the {share:.0f} s that it could have beside others allow"
    if steps < FEWEST_STEPS:
        yield f"{allowed} {steps} steps of its smallest patch; below {FEWEST_STEPS} none learns"
    elif large and whole < ENOUGH_STEPS:
        yield f"{parameters / 1e6:.0f} million parameters on a CPU, and {allowed} {whole} steps"


def _order(situation: Situation, facts: Facts) -> list[str]:
    """Those that may be chosen, most suitable first."""
    order = _ranked(facts, f"{situation.dimensions}d")
    if situation.data.cases < FEW_CASES:
        # Transfer first, then small networks; nnU-Net stays where it is.
        dimensions = situation.dimensions
        order[1:] = sorted(
            order[1:], key=lambda n: (n not in situation.pretrained, facts[n].parameters.get(dimensions, 0))
        )
    if situation.dimensions == 3:
        slicewise = _ranked(facts, "slices_ct" if situation.data.has_ct else "slices_mr")
        return order + [n for n in slicewise if situation.dimensions_of(facts[n]) == 2][:MOST_SLICEWISE]
    if _is_picture(situation):
        first = [name for name in order if "pictures" in facts[name].trainer.auto]
        order = [order[0], *first, *(name for name in order[1:] if name not in first)]
    return order


def _is_picture(situation: Situation) -> bool:
    return situation.data.natural and situation.dimensions == 2


def _allocated(order: Sequence[str], situation: Situation, facts: Facts) -> Allocation:
    """Those that get time, and how much; without a budget as many as there may be, each with the same."""
    if situation.total_s is None:
        taken = order[:MOST_TRAINERS]
        left = {name: f"{MOST_TRAINERS} others come first" for name in order[MOST_TRAINERS:]}
        return Allocation(dict.fromkeys(taken, 1 / len(taken)), 0.0, left)
    rates = {name: situation.steps(facts[name], RATE_S) / RATE_S for name in order}
    widening = [name for name in order if facts[name].adaptive_width]
    return allocate(rates, situation.total_s / situation.runs_each, MOST_TRAINERS, widening)


def _for(facts: NetworkFacts, situation: Situation) -> str:
    """Why a trainer is taken."""
    dimensions = situation.dimensions_of(facts)
    reasons = []
    if facts.name == ALWAYS:
        reasons.append("the reference, whose width and batch follow the time")
    if facts.name in situation.pretrained and situation.data.cases < FEW_CASES:
        reasons.append(f"pretrained, which helps with few cases ({situation.data.cases})")
    if facts.trainer.documented:
        doubt = ", and whether 2D or 3D is in doubt" if dimensions != situation.dimensions else ""
        reasons.append(f"a documented system for {dimensions}D{doubt}")
    if _is_picture(situation) and "pictures" in facts.trainer.auto:
        reasons.append("its encoder is one for pictures")
    if not reasons:
        size = f"{facts.parameters[dimensions] / 1e6:.1f} million parameters"
        narrowed = facts.adaptive_width and situation.total_s is not None
        reasons.append(f"a general network of {size}" + (", narrower to fit the time" if narrowed else ""))
    if situation.total_s is not None:
        steps = situation.steps(facts, situation.total_s / situation.runs_each)
        reasons.append(f"alone it would get up to {steps} steps")
    return "; ".join(reasons)


def _kin(name: str, taken: Sequence[str], facts: Facts) -> str | None:
    """Why one of several networks that differ in size alone is left."""
    kind = facts[name].trainer.kind
    if not kind:
        return None
    members = [each for each in facts if facts[each].trainer.kind == kind]
    if others := [each for each in members if each in taken and each != name]:
        return f"{others[0]} is taken of the same kind ({kind})"
    chosen = [each for each in members if facts[each].trainer.auto]
    return f"of {kind} only {chosen[0]} is chosen by itself; ask for others by name" if chosen else None


def _decision(allocation: Allocation, verdicts: Sequence[Verdict], situation: Situation) -> Decision:
    budgeted = situation.total_s is not None
    inputs = {
        "dimension": situation.dimension.value,
        "cases": situation.data.cases,
        "device": situation.hardware.kind,
        "macs_per_second": situation.hardware.macs_per_second,
        "memory_gb": situation.hardware.memory_gb,
        "budget_s": situation.total_s,
        "runs_each": situation.runs_each,
        "verdicts": [asdict(each) for each in verdicts],
    }
    if budgeted:
        inputs["fractions"] = {name: round(each, 3) for name, each in allocation.fractions.items()}
        inputs["allocation"] = allocation.sentence
    rule = (
        f"those made for such data, then general ones, at most {MOST_TRAINERS}, and of these as many as are "
        f"expected to make the best model in the time, each with {FEWEST_STEPS} steps; none too large for "
        f"few cases (below {FEW_CASES}), tiny images, memory or time"
    )
    return Decision("trainers", list(allocation.fractions), rule, inputs, _SOURCE)
