"""Which trainers get how much of the time, so that the best model of all is expected to be best.

Of several trainers the best is better than each: how good one is on new data is not known before. But each
has fewer steps. Both are counted in Dice: the steps by the law of `autoseg.planner.learning`, the choice by
the expected largest of normal variables with the spread that trainers have among each other. A network whose
width follows the time turns more of it into a larger shape too, which is counted as features: by nnunet
alone, 18 minutes gave 0.984 on hearts, with twice the features, and 0.833 on nuclei, with the whole patch;
half of them 0.974 and 0.789 (benchmarks/results/auto.md).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from autoseg.planner.budget import FEWEST_STEPS
from autoseg.planner.learning import NARROW, gap, width_loss

# Dice of trainers with equal time differed by 0.015 on Hippocampus and by 0.010 on FetalHead (standard
# deviation, benchmarks/results/documented_*.md), part of which is in the steps that they made.
SPREAD = 0.01
# Another trainer has to be worth this much, so that what is rough decides nothing.
LEAST_GAIN = 0.0005
# What a run takes before its first step and after its last, beside prediction.
OVERHEAD_S = 15.0
POINTS = 801
# Widths that the time is tried on, from the narrowest on; twice the features took 2.9 (Hippocampus) and 3.4
# times (FetalHead) as long (benchmarks/results/train_step.md).
WIDTHS, DOUBLING_COST = (NARROW, 2 * NARROW, 4 * NARROW), 3.0
# Networks of one width are taken as nnunet's of 16. Beside it with as much time, and after what steps and
# features explain, the seven that suit the data were from 0.021 lower to 0.030 higher (documented_*.md), and
# without any loss mednext_s would get 44 % of 30 minutes on Hippocampus, where it had been 0.037 lower.
FIXED_LOSS = width_loss(2 * NARROW)


@dataclass(frozen=True)
class Allocation:
    """Trainers and their parts of the time.

    Attributes:
        fractions: of the whole time, by trainer, best suited first; they add up to 1.
        expected: the best model of all, in Dice above a trainer of which nothing is known with all steps and
            features.
        left: for each trainer that was left, how much lower the best model would be with it, or why not.
    """

    fractions: Mapping[str, float]
    expected: float
    left: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What was decided, in one sentence."""
        if len(self.fractions) == 1:
            (name,) = self.fractions
            return f"{name} alone gets all of the time: another would cost more steps than it offers"
        parts = ", ".join(f"{name} {fraction:.0%}" for name, fraction in self.fractions.items())
        return f"the time is divided so that the best of them is expected to be best: {parts}"


def allocate(
    rates: Mapping[str, float], run_s: float, most: int = 6, widening: Collection[str] = ()
) -> Allocation:
    """Divide the time of a fold among trainers.

    Args:
        rates: steps per second, by trainer, best suited first; the first is always taken.
        run_s: seconds of a fold for all trainers together.
        most: number of trainers at most.
        widening: those whose width follows the time; their rate is that of the narrowest network.
    """
    first, *others = rates
    taken = Allocation({first: 1.0}, expected_best([shortfall(rates[first], run_s, first in widening)]))
    left: dict[str, str] = {}
    for name in others:
        if len(taken.fractions) == most:
            left[name] = f"{most} others come first"
            continue
        names = [*taken.fractions, name]
        trial = _divided({each: rates[each] for each in names}, run_s, widening)
        steps = {each: steps_in(rates[each], part * run_s) for each, part in trial.fractions.items()}
        fewest = min(steps, key=lambda each: steps[each])
        lower = taken.expected - trial.expected
        if steps[fewest] < FEWEST_STEPS:
            left[name] = (
                f"with it {fewest} would make {steps[fewest]:.0f} steps in "
                f"{trial.fractions[fewest] * run_s:.0f} s; below {FEWEST_STEPS} none learns"
            )
        elif lower > -LEAST_GAIN:
            left[name] = (
                f"with it the best model is expected to be no better: {max(lower, 0.0):.3f} Dice lower, for "
                f"{steps[names[0]]:.0f} steps of {names[0]} instead of "
                f"{steps_in(rates[names[0]], taken.fractions[names[0]] * run_s):.0f}"
            )
        else:
            taken = trial
    return Allocation(taken.fractions, taken.expected, left)


def steps_in(rate: float, seconds: float) -> float:
    """Steps of a run, whose beginning and end take their part."""
    return rate * max(seconds - OVERHEAD_S, 0.0)


def shortfall(rate: float, seconds: float, widens: bool) -> float:
    """How far a trainer is below what it would be with all steps and features; at most 1.

    Args:
        rate: steps per second; of the narrowest network where it widens.
        seconds: its time.
        widens: whether its width follows the time.
    """
    steps = steps_in(rate, seconds)
    if not widens:
        return min(gap(steps) + FIXED_LOSS, 1.0)
    found = [gap(steps / DOUBLING_COST**doublings) + width_loss(w) for doublings, w in enumerate(WIDTHS)]
    return min(*found, 1.0)


def _divided(rates: Mapping[str, float], run_s: float, widening: Collection[str]) -> Allocation:
    """All of some trainers: since a gap is 1 / steps, the sum of gaps is least by the square root.

    The first has its equal part at least: its rate is that of its narrowest network, and time makes it wider.
    """
    needs = {name: 1 / math.sqrt(rate) for name, rate in rates.items()}
    fractions = {name: need / sum(needs.values()) for name, need in needs.items()}
    first = next(iter(rates))
    equal = 1 / len(rates)
    if fractions[first] < equal:
        rest = 1 - fractions[first]
        fractions = {name: each * (1 - equal) / rest for name, each in fractions.items()}
        fractions[first] = equal
    short = [shortfall(rates[name], part * run_s, name in widening) for name, part in fractions.items()]
    return Allocation(fractions, expected_best(short))


def expected_best(short: Sequence[float]) -> float:
    """Expected Dice of the best of some trainers, above the mean of all with all steps that they want.

    Args:
        short: how far each is below that, see `shortfall`.
    """
    means = -np.asarray(short)
    values = np.linspace(means.min() - 6 * SPREAD, means.max() + 6 * SPREAD, POINTS)
    below = ndtr((values[:, None] - means) / SPREAD).prod(axis=1)
    return float(values[-1] - np.trapezoid(below, values))
