"""Racing on paper: what it saves on many data sets, and how often it stops the one that would have won.

Learning curves are drawn at random: a power law in training time (Hestness et al. 2017, arXiv 1712.00409)
with an end, a start and a pace of its own for each trainer, so that curves cross; on each case a difficulty
that all trainers share, and a part that only this trainer has with this case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from autoseg.leaderboard.resamples import Floats
from autoseg.racing.race import Look, Rules, Seen, Stretch, run_race

# Given a trainer and the seconds of training it has had, its Dice on every case, shape (cases,).
Evidence = Callable[[str, float], Floats]


@dataclass(frozen=True)
class Trainers:
    """What the drawn trainers of a data set are like; all in Dice but `pace`.

    Attributes:
        best: mean of the end of the curves.
        spread: standard deviation of the ends: how different trainers are.
        gain: mean of what the whole training gives over the first hundredth of it.
        pace: lowest and highest exponent: small ones gain late.
        difficulty: standard deviation over cases, shared by all.
        own: standard deviation over cases that each trainer has for itself.
        run: standard deviation between two runs of the same trainer.
    """

    best: float = 0.85
    spread: float = 0.03
    gain: float = 0.35
    pace: tuple[float, float] = (0.3, 0.9)
    difficulty: float = 0.10
    own: float = 0.04
    run: float = 0.004


@dataclass(frozen=True)
class Curves:
    """Learning curves of all trainers on one data set.

    Attributes:
        ends: true mean Dice after the whole time, shape (trainers,).
        evidence: what a race may ask for.
    """

    ends: Floats
    evidence: Evidence


def draw_curves(
    names: list[str], cases: int, whole_s: float, rng: np.random.Generator, kind: Trainers
) -> Curves:
    """Draw the learning curves of a data set.

    Args:
        names: the trainers' names.
        cases: number of cases with out-of-fold predictions.
        whole_s: training time at which a curve is at its end.
        rng: source of all draws.
        kind: what trainers are like.
    """
    count = len(names)
    ends = kind.best + kind.spread * rng.standard_normal(count)
    gains = kind.gain * rng.lognormal(0.0, 0.4, count)
    paces = rng.uniform(*kind.pace, count)
    difficulty = kind.difficulty * rng.standard_normal(cases)
    own = kind.own * rng.standard_normal((count, cases))
    number = {name: i for i, name in enumerate(names)}

    def evidence(name: str, seconds: float) -> Floats:
        i = number[name]
        # 1 after a hundredth of the time, 0 at the end.
        share = max(seconds / whole_s, 0.01)
        left = (share ** -paces[i] - 1) / (0.01 ** -paces[i] - 1)
        mean = ends[i] - gains[i] * left + kind.run * rng.standard_normal()
        scores: Floats = np.clip(mean + difficulty + own[i] - own[i].mean(), 0.0, 1.0)
        return scores

    return Curves(ends, evidence)


def look_at(evidence: Evidence) -> Look:
    """A race's look at learning curves; predicting costs nothing."""

    def look(name: str, stretch: Stretch) -> Seen:
        until_s = min(stretch.until_s, stretch.run_s)
        return Seen(evidence(name, until_s), until_s - stretch.from_s)

    return look


@dataclass(frozen=True)
class Paper:
    """What racing does to a benchmark.

    Attributes:
        full_hours: hours of training without racing.
        raced_hours: hours with it, the time of stopped runs saved.
        lost: share of data sets on which the truly best trainer was stopped.
        lost_more: share on which the winner is worse than the best by more than the margin.
        unraced_lost_more: the same without racing, since the best mean is not always the truly best.
        regret: mean of true Dice given away.
        survivors: mean number of trainers at the end.
    """

    full_hours: float
    raced_hours: float
    lost: float
    lost_more: float
    unraced_lost_more: float
    regret: float
    survivors: float

    @property
    def saved(self) -> float:
        """Part of the training that is not done."""
        return 1 - self.raced_hours / self.full_hours


def paper_calculation(
    datasets: int = 100,
    trainers: int = 20,
    *,
    cases: int = 50,
    folds: int = 5,
    hours: float = 12.0,
    rules: Rules | None = None,
    kind: Trainers | None = None,
    seed: int = 0,
) -> Paper:
    """Compute and risk of racing a benchmark, on drawn learning curves.

    Args:
        datasets, trainers: size of the benchmark.
        cases: number of cases with out-of-fold predictions on each data set, all folds together.
        folds: runs of each trainer on each data set.
        hours: length of one whole run.
        rules: rules of the race; what it frees is saved.
        kind: what trainers are like.
        seed: fixes all draws.
    """
    kind, rules = kind or Trainers(), replace(rules or Rules(), freed="save")
    rng = np.random.default_rng(seed)
    names = [f"trainer{i}" for i in range(trainers)]
    whole = hours * 3600
    spent, lost, more, plain, regret, left = 0.0, 0, 0, 0, 0.0, 0
    for _ in range(datasets):
        curves = draw_curves(names, cases, whole, rng, kind)
        race = run_race(names, look_at(curves.evidence), whole, rules)
        best = int(curves.ends.argmax())
        given_away = float(curves.ends[best] - curves.ends[names.index(race.winner)])
        means = [curves.evidence(name, whole).mean() for name in names]
        spent += race.total
        lost += race.spent[names[best]] < whole * (1 - 1e-9)
        more += given_away > rules.margin
        plain += float(curves.ends[best] - curves.ends[int(np.argmax(means))]) > rules.margin
        regret += given_away
        left += sum(seconds >= whole * (1 - 1e-9) for seconds in race.spent.values())
    return Paper(
        full_hours=datasets * trainers * folds * hours,
        raced_hours=spent * folds / 3600,
        lost=lost / datasets,
        lost_more=more / datasets,
        unraced_lost_more=plain / datasets,
        regret=regret / datasets,
        survivors=left / datasets,
    )
