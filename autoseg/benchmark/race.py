"""Racing: after a part of the time, what is clearly behind stops, and the rest has its time.

Successive halving (Jamieson and Talwalkar, AISTATS 2016, arXiv 1502.07943) stops a fixed part of the field at
every rung, whether or not the evidence tells it from the rest. Here the evidence is the out-of-fold Dice of
every case, the same cases for all, and a trainer stops only if a paired test (Wilcoxon, after Holm over all
rivals of the leader) and the interval of its mean difference say that it is behind by more than a margin, and
if what it has gained on the leader since the last rung would not bring it back. Closed testing of rivals
against the leader is in the spirit of F-race (Birattari et al., GECCO 2002).

Everything here is a function of learning curves; nothing trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autoseg import statistics
from autoseg.statistics import Floats

# Below these many cases (or groups) a paired test cannot see anything: nobody is dropped.
FEWEST_CASES = 8
MARGIN = 0.01
ALPHA = 0.05
RESAMPLES = 2000

# Given a trainer and the seconds of training it has had, its Dice on every case, shape (cases,).
Evidence = Callable[[str, float], Floats]


@dataclass(frozen=True)
class Verdict:
    """What is known of one trainer at one rung, against the leader.

    Attributes:
        behind: mean paired difference to the leader, in Dice; 0 for the leader.
        at_least: lower end of the 95 % interval of `behind`.
        p: two-sided Wilcoxon p value after Holm.
        predicted: `behind` at the end, if it goes on gaining as since the last rung.
        drop: whether it stops.
        reason: in a sentence.
    """

    behind: float
    at_least: float
    p: float
    predicted: float
    drop: bool
    reason: str


@dataclass(frozen=True)
class Rung:
    """One look at the field.

    Attributes:
        seconds: of training that each trainer in the race has had by then.
        leader: the best mean.
        verdicts: by trainer.
    """

    seconds: float
    leader: str
    verdicts: Mapping[str, Verdict]

    @property
    def kept(self) -> tuple[str, ...]:
        """Who goes on."""
        return tuple(name for name, verdict in self.verdicts.items() if not verdict.drop)


@dataclass(frozen=True)
class Race:
    """A race from start to end.

    Attributes:
        rungs: looks, in order.
        spent: seconds of training by trainer.
        winner: the best mean at the last look.
    """

    rungs: tuple[Rung, ...]
    spent: Mapping[str, float] = field(repr=False)
    winner: str

    @property
    def total(self) -> float:
        """Seconds of training of all together."""
        return sum(self.spent.values())

    @property
    def survivors(self) -> tuple[str, ...]:
        """Who was never dropped."""
        return self.rungs[-1].kept


def judge(
    scores: Mapping[str, Floats],
    earlier: Mapping[str, Floats] | None = None,
    *,
    still: float = 0.0,
    groups: Sequence[str] | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    seed: int = 0,
) -> tuple[str, dict[str, Verdict]]:
    """Who leads, and who is clearly behind.

    Args:
        scores: by trainer, shape (cases,); the same cases for all.
        earlier: the same at the rung before, for how fast each closes the gap.
        still: time to come, in units of the time since the rung before. Learning curves flatten, so a gap
            closes at most as fast in it as it did; 0 at the end.
        groups: the group of each case; then groups are the units of the test.
        margin: differences below it are not worth stopping for, in Dice.
        alpha: level of the test.
        seed: of the bootstrap.

    Returns:
        The leader, and a verdict for everyone.
    """
    names = list(scores)
    table = np.stack([_per_unit(scores[name], groups) for name in names])
    leader = int(table.mean(axis=1).argmax())
    rivals = [i for i in range(len(names)) if i != leader]
    found = {names[leader]: Verdict(0.0, 0.0, 1.0, 0.0, False, "leads")}
    if rivals:
        gaps = table[leader] - table[rivals]
        p = statistics.holm(statistics.wilcoxon(gaps))
        weights = statistics.resample(gaps.shape[1], n_resamples=RESAMPLES, seed=seed)
        lows = [each.low for each in statistics.mean_intervals(gaps, weights)]
        closing = _closing(names, leader, rivals, table, earlier, groups)
        for row, i in enumerate(rivals):
            behind = float(gaps[row].mean())
            predicted = behind - still * max(float(closing[row]), 0.0) if still else behind
            found[names[i]] = _verdict(
                behind, float(lows[row]), float(p[row]), predicted, gaps.shape[1], margin, alpha
            )
    return names[leader], {name: found[name] for name in names}


def _verdict(
    behind: float, low: float, p: float, predicted: float, units: int, margin: float, alpha: float
) -> Verdict:
    told = f"{behind:.3f} Dice behind (at least {low:.3f}, p = {p:.2g})"
    if units < FEWEST_CASES:
        return Verdict(behind, low, p, predicted, False, f"{told}: {units} cases cannot tell")
    if p >= alpha or low <= margin:
        return Verdict(behind, low, p, predicted, False, f"{told}: not clearly behind")
    if predicted <= margin:
        return Verdict(behind, low, p, predicted, False, f"{told}, and may catch up")
    return Verdict(behind, low, p, predicted, True, f"{told}: stops")


def _closing(
    names: Sequence[str],
    leader: int,
    rivals: Sequence[int],
    table: Floats,
    earlier: Mapping[str, Floats] | None,
    groups: Sequence[str] | None,
) -> Floats:
    """By how much each rival's gap has shrunk since the rung before; without one, by as much as may be."""
    if earlier is None or any(name not in earlier for name in names):
        return np.full(len(rivals), np.inf)
    before = np.stack([_per_unit(earlier[name], groups) for name in names]).mean(axis=1)
    now = table.mean(axis=1)
    gaps = (before[leader] - before) - (now[leader] - now)
    return np.asarray([gaps[i] for i in rivals], dtype=np.float64)


def _per_unit(values: Floats, groups: Sequence[str] | None) -> Floats:
    """Mean of each group, or the values."""
    if groups is None:
        return np.asarray(values, dtype=np.float64)
    of = np.unique(np.asarray(groups), return_inverse=True)[1]
    means: Floats = np.bincount(of, weights=values) / np.bincount(of)
    return means


def slice_seconds(left_s: float, racing: int, rungs_left: int, eta: float) -> float:
    """Training that each trainer gets next, if every later slice is `eta` times as long.

    Args:
        left_s: seconds for all together that are not spent yet.
        racing: trainers that share them.
        rungs_left: slices to come, this one included.
        eta: growth.
    """
    return left_s / racing / sum(eta**k for k in range(rungs_left))


def run_race(
    names: Sequence[str],
    evidence: Evidence,
    total_s: float,
    *,
    rungs: int = 4,
    eta: float = 2.0,
    redistribute: bool = True,
    groups: Sequence[str] | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> Race:
    """Race trainers over learning curves.

    Args:
        names: who starts.
        evidence: asks for a trainer's scores after some seconds; it may train up to there.
        total_s: for all together.
        rungs: looks, the last one at the end.
        eta: how much longer each slice is than the one before.
        redistribute: whether the rest has the time of those that stop; else it is saved.
        groups, margin, alpha: see `judge`.
    """
    spent = dict.fromkeys(names, 0.0)
    racing, left, seconds = tuple(names), total_s, 0.0
    looks: list[Rung] = []
    earlier: dict[str, Floats] | None = None
    for rung in range(rungs):
        sharing = len(racing) if redistribute else len(names)
        step = slice_seconds(left, sharing, rungs - rung, eta)
        left -= step * sharing
        seconds += step
        spent |= {name: seconds for name in racing}
        scores = {name: evidence(name, seconds) for name in racing}
        still = sum(eta**k for k in range(1, rungs - rung))
        leader, verdicts = judge(
            scores, earlier, still=still, groups=groups, margin=margin, alpha=alpha, seed=rung
        )
        looks.append(Rung(seconds, leader, verdicts))
        # At the end there is nothing left to stop for.
        racing, earlier = (looks[-1].kept, scores) if rung < rungs - 1 else (racing, scores)
    return Race(tuple(looks), spent, looks[-1].leader)
