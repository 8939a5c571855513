"""Who is clearly behind: the verdict on every trainer at one rung of a race.

The evidence is the out-of-fold Dice of every case, the same cases for all. A trainer stops if a paired test
(Wilcoxon, after Holm over all rivals of the leader) and the interval of its mean difference say that it is
behind by more than a margin, and if what it has gained on the leader since the rung before would not bring it
back. Closed testing of rivals against the leader is in the spirit of F-race (Birattari et al., GECCO 2002);
that nobody has to be told apart who would not be better by more than a margin, in that of selection with an
indifference zone (Kim and Nelson, ACM TOMACS 2001).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoseg.leaderboard import statistics
from autoseg.leaderboard.resamples import Floats

# Below these many cases (or groups) a paired test cannot see anything: nobody is dropped.
FEWEST_CASES = 8
MARGIN = 0.01
ALPHA = 0.05
RESAMPLES = 2000


@dataclass(frozen=True)
class Verdict:
    """What is known of one trainer at one rung, against the leader.

    Attributes:
        behind: mean paired difference to the leader, in Dice; 0 for the leader.
        at_least: lower end of the 95 % interval of `behind`.
        p: two-sided Wilcoxon p value after Holm.
        predicted: `behind` at the end, if it goes on gaining as since the last rung.
        drop: whether it stops.
        tied: whether it stops although it is not clearly behind: it is not expected to come out ahead.
        reason: the reason in a sentence.
        capped: whether the race's cap decided: it stops for nothing else, or goes on for time is left.
    """

    behind: float
    at_least: float
    p: float
    predicted: float
    drop: bool
    reason: str
    tied: bool = False
    capped: bool = False


@dataclass(frozen=True)
class LookRules:
    """How a rung is judged.

    Attributes:
        margin: differences below it are not worth stopping for, in Dice.
        alpha: level of the test.
        steep: who has less than this part of the leader's Dice is not judged: it may have its steep part
            before it.
        stop_ties: whether those stop, too, that are not expected to come out ahead by more than the margin.
        still: time to come, in units of the time since the rung before; 0 if there is none; infinite if
            there was no rung before, and then nobody stops.
        groups: the group of each case; then groups are the units of the test.
        seed: fixes the bootstrap.
    """

    margin: float = MARGIN
    alpha: float = ALPHA
    steep: float = 0.0
    stop_ties: bool = False
    still: float = 0.0
    groups: Sequence[str] | None = None
    seed: int = 0


def judge(
    scores: Mapping[str, Floats], earlier: Mapping[str, Floats] | None = None, look: LookRules | None = None
) -> tuple[str, dict[str, Verdict]]:
    """Who leads, and who is clearly behind.

    Args:
        scores: scores of each trainer, shape (cases,); the same cases for all.
        earlier: the same at the rung before, for how fast each closes the gap.
        look: how to judge.

    Returns:
        The leader, and a verdict for everyone.
    """
    look = look or LookRules()
    names = list(scores)
    table = np.stack([_per_unit(scores[name], look.groups) for name in names])
    means = table.mean(axis=1)
    leader = int(means.argmax())
    rivals = [i for i in range(len(names)) if i != leader]
    found = {names[leader]: Verdict(0.0, 0.0, 1.0, 0.0, False, "leads")}
    if rivals:
        gaps = table[leader] - table[rivals]
        p = statistics.holm(statistics.wilcoxon(gaps))
        weights = statistics.resample(gaps.shape[1], n_resamples=RESAMPLES, seed=look.seed)
        lows = [each.low for each in statistics.mean_intervals(gaps, weights)]
        paced = math.isfinite(look.still)
        closing = _closing(names, leader, rivals, means, earlier, look.groups)
        for row, i in enumerate(rivals):
            behind = float(gaps[row].mean())
            predicted = behind - (look.still if paced else 0.0) * max(float(closing[row]), 0.0)
            known = Verdict(behind, float(lows[row]), float(p[row]), predicted, False, "")
            is_steep = bool(means[i] < look.steep * means[leader])
            found[names[i]] = _decided(known, is_steep, gaps.shape[1], look)
    return names[leader], {name: found[name] for name in names}


def _decided(known: Verdict, is_steep: bool, units: int, look: LookRules) -> Verdict:
    gap = f"{known.behind:.3f} Dice behind (at least {known.at_least:.3f}, p = {known.p:.2g})"
    clearly = known.p < look.alpha and known.at_least > look.margin
    if units < FEWEST_CASES:
        return replace(known, reason=f"{gap}: {units} cases are too few to decide")
    if math.isinf(look.still):
        return replace(known, reason=f"{gap}: its pace is not known yet")
    if is_steep:
        return replace(known, reason=f"{gap}, but may have its steep part before it")
    if clearly and known.predicted > look.margin:
        return replace(known, drop=True, reason=f"{gap}: stops")
    if look.stop_ties and known.predicted > -look.margin:
        words = f"{gap}: stops, for it is not expected to come out ahead by more than {look.margin:g}"
        return replace(known, drop=True, tied=True, reason=words)
    return replace(known, reason=f"{gap}, and may catch up" if clearly else f"{gap}: not clearly behind")


def _closing(
    names: Sequence[str],
    leader: int,
    rivals: Sequence[int],
    means: Floats,
    earlier: Mapping[str, Floats] | None,
    groups: Sequence[str] | None,
) -> Floats:
    """By how much each rival's gap has shrunk since the rung before; nothing, where that is not known."""
    if earlier is None or any(name not in earlier for name in names):
        return np.zeros(len(rivals))
    before = np.array([_per_unit(earlier[name], groups).mean() for name in names])
    gaps = (before[leader] - before) - (means[leader] - means)
    return np.asarray([gaps[i] for i in rivals], dtype=np.float64)


def _per_unit(values: Floats, groups: Sequence[str] | None) -> Floats:
    """Mean of each group, or the values."""
    if groups is None:
        return np.asarray(values, dtype=np.float64)
    of = np.unique(np.asarray(groups), return_inverse=True)[1]
    means: Floats = np.bincount(of, weights=values) / np.bincount(of)
    return means
