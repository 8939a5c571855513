"""Racing: after a part of the time, what is clearly behind stops, and the rest has its time.

Successive halving (Jamieson and Talwalkar, AISTATS 2016, arXiv 1502.07943) stops a fixed part of the field at
every rung, whether or not the evidence tells it from the rest. Here every rung is judged case by case, see
`autoseg.racing.verdict`.

Nothing here trains: whoever calls says how a trainer is taken to a rung and what was seen of it there.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from autoseg.errors import UsageError
from autoseg.leaderboard.resamples import Floats
from autoseg.racing.cap import affordable, capped
from autoseg.racing.verdict import ALPHA, FEWEST_CASES, MARGIN, LookRules, Verdict, judge

log = logging.getLogger(__name__)

# A run's last part is for its prediction; a look there would come after the end.
LATEST_RUNG = 0.8


@dataclass(frozen=True)
class Rules:
    """How a race is run.

    Attributes:
        rungs: looks, as parts of a run's time, rising; at the end there is one more.
        freed: the time of those that stop is shared among the rest, or saved.
        margin: differences below it are not worth stopping for, in Dice.
        alpha: level of the test.
        steep: who has less than this part of the leader's Dice may have its steep part before it, and is not
            judged before the last look but the end: that a curve is still low says little about its end.
        blind: whether trainers stop before their pace is known, which is from the second look on.
        ties: at that last look, trainers that are not expected to come out ahead of the leader by more than
            the margin go on (``keep``) or ``stop``.
        cap: the most that the race may take, as a part of what all take at their full time; None: as much as
            the tests ask for. Then freed time is saved.
        spend: what the cap leaves at the first look, which is blind, is spent on those least behind (see
            `autoseg.racing.cap`).
        look_cases: held-out cases that a look before the end predicts, of all folds together; None: all.
            Short runs spend much of their time on looks.
        reference: a trainer that the first look, which is blind, does not stop, for the others are compared
            with it.
    """

    rungs: tuple[float, ...] = (0.1, 0.2, 0.4)
    freed: Literal["share", "save"] = "share"
    margin: float = MARGIN
    alpha: float = ALPHA
    steep: float = 0.8
    blind: bool = False
    ties: Literal["keep", "stop"] = "keep"
    cap: float | None = None
    spend: bool = False
    look_cases: int | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        edges = (0.0, *self.rungs, LATEST_RUNG)
        if not self.rungs or any(b < a or b == 0 for a, b in itertools.pairwise(edges)):
            raise UsageError(
                f"The rungs of a race are {self.rungs}; expected rising parts of a run's time, at most "
                f"{LATEST_RUNG:g}, such as 0.1, 0.2, 0.4."
            )
        if self.freed not in ("share", "save"):
            raise UsageError(f"The time that a race frees: {self.freed!r}; expected share or save.")
        if self.ties not in ("keep", "stop"):
            raise UsageError(f"Trainers that are tied in a race: {self.ties!r}; expected keep or stop.")
        if self.cap is not None and (self.freed != "save" or not 0 < self.cap <= 1):
            raise UsageError(
                f"A race's cap is {self.cap:g}, and its freed time is to {self.freed}; expected a part of "
                f"the compute of all, such as 0.35, and freed: save."
            )
        if self.look_cases is not None and self.look_cases < FEWEST_CASES:
            raise UsageError(
                f"look_cases is {self.look_cases}; expected at least {FEWEST_CASES}, because a test finds no "
                f"difference in fewer."
            )


@dataclass(frozen=True)
class Stretch:
    """How far trainers are taken next.

    Attributes:
        rung: its number, from 0; the last is the end.
        from_s: seconds of training of each run when it begins.
        until_s: seconds of training at which it pauses; infinite at the end.
        run_s: wall clock of each run that goes to the end, prediction included.
    """

    rung: int
    from_s: float
    until_s: float
    run_s: float

    @property
    def last(self) -> bool:
        """Whether it goes to the end."""
        return math.isinf(self.until_s)


@dataclass(frozen=True)
class Seen:
    """What was seen of a trainer at a rung.

    Attributes:
        scores: Dice of each case, shape (cases,); the same cases for all, and at all looks but the last.
        spent_s: wall clock that it took since the rung before: training and prediction, all its runs.
        groups: the group of each case; then groups are the units of the test.
    """

    scores: Floats = field(repr=False)
    spent_s: float
    groups: Sequence[str] | None = field(default=None, repr=False)


# Takes a trainer to the end of a stretch. What it raises is the end of this trainer's race.
Look = Callable[[str, Stretch], Seen]


@dataclass(frozen=True)
class Rung:
    """One look at the field.

    Attributes:
        stretch: the stretch of training that led to it.
        leader: the best mean; empty if nobody came here.
        verdicts: by trainer.
        seen: by trainer.
        failed: why a trainer did not come here, by trainer.
        failed_s: wall clock that it took all the same, by trainer.
    """

    stretch: Stretch
    leader: str
    verdicts: Mapping[str, Verdict]
    seen: Mapping[str, Seen] = field(repr=False)
    failed: Mapping[str, str] = field(default_factory=dict)
    failed_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def kept(self) -> tuple[str, ...]:
        """Who goes on."""
        return tuple(name for name, verdict in self.verdicts.items() if not verdict.drop)


@dataclass(frozen=True)
class Race:
    """A race from start to end.

    Attributes:
        rungs: looks, in order; the last one at the end.
    """

    rungs: tuple[Rung, ...]

    @property
    def spent(self) -> dict[str, float]:
        """Wall clock by trainer."""
        found: dict[str, float] = {}
        for rung in self.rungs:
            spent_s = {name: seen.spent_s for name, seen in rung.seen.items()}
            for name, seconds in {**spent_s, **rung.failed_s}.items():
                found[name] = found.get(name, 0.0) + seconds
        return found

    @property
    def total(self) -> float:
        """Wall clock of all together."""
        return sum(self.spent.values())

    @property
    def winner(self) -> str:
        """The best mean at the last look."""
        return self.rungs[-1].leader

    @property
    def survivors(self) -> tuple[str, ...]:
        """Who was never dropped."""
        return tuple(self.rungs[-1].seen)


def run_race(
    names: Sequence[str],
    look: Look,
    run_s: float,
    rules: Rules | None = None,
    *,
    known: Sequence[Rung] = (),
    report: Callable[[Sequence[Rung]], None] | None = None,
    runs: int = 1,
) -> Race:
    """Race trainers.

    Args:
        names: the trainers that start.
        look: trains a trainer further and returns what is seen of it.
        run_s: wall clock of one run at its full time, prediction included.
        rules: rules of the race; None: the usual ones.
        known: rungs of a race that was interrupted; it goes on after them.
        report: called with all rungs after each one.
        runs: number of runs of each trainer (folds and seeds); each has `run_s`.
    """
    rules = rules or Rules()
    rungs = list(known)
    while not rungs or not rungs[-1].stretch.last:
        racing = rungs[-1].kept if rungs else tuple(names)
        stretch = next_stretch(rungs, len(names), run_s, rules, runs)
        seen: dict[str, Seen] = {}
        failed: dict[str, str] = {}
        failed_s: dict[str, float] = {}
        for name in racing:
            began = time.monotonic()
            try:
                seen[name] = look(name, stretch)
            except Exception as problem:  # a trainer's own end, not the others'
                log.error("%s left the race: %s", name, problem)
                failed[name] = f"{type(problem).__name__}: {problem}"
                failed_s[name] = round(time.monotonic() - began, 2)
        rung = replace(_judged(rungs, stretch, seen, failed, rules), failed_s=failed_s)
        if not rungs and rules.reference is not None and rules.reference in rung.verdicts:
            rung = replace(rung, verdicts=_unstopped(rung.verdicts, rules.reference))
        if rules.cap is not None and seen and not stretch.last:
            most = _affordable([*rungs, rung], len(names) * runs * run_s * rules.cap, rules, runs)
            least = 1 if stretch.rung >= len(rules.rungs) - 1 else 2
            blind = not rungs
            first = rules.reference if blind else None
            rung = replace(rung, verdicts=capped(rung.verdicts, most, least, rules.spend and blind, first))
        rungs.append(rung)
        if report is not None:
            report(rungs)
    return Race(tuple(rungs))


def next_stretch(rungs: Sequence[Rung], starters: int, run_s: float, rules: Rules, runs: int = 1) -> Stretch:
    """How far trainers are taken after some rungs.

    Where freed time is shared, each run that goes on has an equal part of what is left of the time of all.
    Who has no rival left goes to the end without another look.

    Args:
        rungs: the rungs so far.
        starters: trainers that started.
        run_s: wall clock of one run at its full time.
        rules: rules of the race.
        runs: number of runs of each trainer.
    """
    race = Race(tuple(rungs))
    whole, number = run_s, len(rungs)
    racing = rungs[-1].kept if rungs else ()
    if rules.freed == "share" and racing:
        spent = race.spent
        left = starters * runs * run_s - race.total
        whole = max(run_s, (left + sum(spent[name] for name in racing)) / len(racing) / runs)
    from_s = rungs[-1].stretch.until_s if rungs else 0.0
    if number == len(rules.rungs) or (rungs and len(racing) < 2):
        return Stretch(number, from_s, math.inf, whole)
    return Stretch(number, from_s, max(rules.rungs[number] * whole, from_s), whole)


def _judged(
    before: Sequence[Rung],
    stretch: Stretch,
    seen: Mapping[str, Seen],
    failed: Mapping[str, str],
    rules: Rules,
) -> Rung:
    if not seen:
        return Rung(Stretch(stretch.rung, stretch.from_s, math.inf, stretch.run_s), "", {}, {}, failed)
    scores = {name: each.scores for name, each in seen.items()}
    # At the end there may be more cases, and no pace is needed.
    paced = bool(before) and not stretch.last
    earlier = {name: each.scores for name, each in before[-1].seen.items()} if paced else None
    look = LookRules(
        margin=rules.margin,
        alpha=rules.alpha,
        # At the last look, whoever is to catch up later has to have begun to.
        steep=0.0 if stretch.rung >= len(rules.rungs) - 1 else rules.steep,
        stop_ties=rules.ties == "stop" and stretch.rung == len(rules.rungs) - 1,
        still=0.0 if rules.blind and not before else time_to_come(stretch),
        groups=next(iter(seen.values())).groups,
        seed=stretch.rung,
    )
    leader, verdicts = judge(scores, earlier, look)
    if stretch.last:  # there is nothing left to stop for
        verdicts = {name: replace(each, drop=False) for name, each in verdicts.items()}
    return Rung(stretch, leader, verdicts, seen, failed)


def _unstopped(verdicts: Mapping[str, Verdict], reference: str) -> dict[str, Verdict]:
    """The verdicts, of which none stops the reference."""
    own = verdicts[reference]
    words = f"{own.reason}: goes on all the same, for the others are compared with it"
    return {**verdicts, reference: replace(own, drop=False, reason=words) if own.drop else own}


def _affordable(rungs: Sequence[Rung], allowed_s: float, rules: Rules, runs: int) -> int:
    """How many trainers a race can take on after its last rung."""
    last = rungs[-1]
    stretch, spent = last.stretch, [seen.spent_s for seen in last.seen.values()]
    return affordable(
        allowed_s - Race(tuple(rungs)).total,
        stretch.until_s,
        stretch.run_s,
        [part * stretch.run_s for part in rules.rungs[stretch.rung + 1 :]],
        max(0.0, sum(spent) / len(spent) - runs * (stretch.until_s - stretch.from_s)),
        runs,
    )


def time_to_come(stretch: Stretch) -> float:
    """How much longer the logarithm of the time will grow after a stretch, in units of its growth in it.

    0 at the end; infinite after the first stretch, which has no pace yet.

    Learning curves are power laws in time (Hestness et al. 2017, arXiv 1712.00409): over equal factors of it
    they gain less and less, so a gap is not expected to close faster in a factor than it did.
    """
    if stretch.last:
        return 0.0
    if stretch.from_s <= 0:
        return math.inf
    return math.log(stretch.run_s / stretch.until_s) / math.log(stretch.until_s / stretch.from_s)
