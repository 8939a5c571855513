"""A race that keeps to a part of the matrix's compute, however close its trainers are.

A test never stops a tie, and where all trainers are nearly as good a race is as dear as the matrix: on 18
cases of stained nuclei, seven trainers within 0.05 Dice of each other took half of it. Who gives a cap
takes any of those that cannot be told apart: of those left after the test, as many as the time is enough
for go on, those that are expected to end best first. That is successive halving (Jamieson and Talwalkar,
AISTATS 2016, arXiv 1502.07943), with the halving left to the clock. Two go on to the last look whatever the
cap, if the test leaves them: who leads earlier is often not who wins.

With `spend`, a blind look, which knows no pace yet, gives no time back, for the same reason: where
its test leaves fewer than the time is enough for, the least behind of those that it would stop go on. After
18 of 120 s on hippocampi a test was sure that an nnU-Net was 0.28 Dice behind; it ended 0.03 ahead. With
twenty trainers on drawn curves it takes a third to a half more compute and finds no better ones, so it has
to be requested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoseg.racing.verdict import Verdict


def affordable(
    left_s: float, from_s: float, run_s: float, looks_s: Sequence[float], look_s: float, runs: int = 1
) -> int:
    """How many trainers there is time for, if one of them goes to the end.

    Args:
        left_s: wall clock that the race may still take.
        from_s: seconds of training of each run so far.
        run_s: wall clock of one run to its end.
        looks_s: seconds of training of each run at the looks to come.
        look_s: seconds that a look at one trainer takes beside training.
        runs: number of runs of each trainer.
    """
    if not looks_s:
        return max(0, int(left_s / (runs * (run_s - from_s))))
    to_the_end = runs * (run_s - looks_s[0])
    return max(0, int((left_s - to_the_end) / (runs * (looks_s[0] - from_s) + look_s)))


def capped(
    verdicts: Mapping[str, Verdict],
    affordable: int,
    least: int,
    spend: bool = False,
    first: str | None = None,
) -> dict[str, Verdict]:
    """The verdicts, of which as many let a trainer go on as there is time for.

    Args:
        verdicts: by trainer.
        affordable: how many there is time for.
        least: so many of those that are not stopped go on all the same.
        spend: whether those that are stopped go on while there is time.
        first: who goes on before all others, if it is not stopped.
    """
    ordered = sorted(verdicts, key=lambda name: (name != first, verdicts[name].predicted))
    going = [name for name in ordered if not verdicts[name].drop]
    stopped = [name for name in ordered if verdicts[name].drop]
    most = max(affordable, least)
    late = dict.fromkeys(going[most:], True)
    spared = dict.fromkeys(stopped[: max(affordable - len(going), 0)] if spend else [], False)
    words = {True: f"stops, for time is left for {most}", False: "goes on all the same, for there is time"}
    changed = {
        name: replace(
            verdicts[name], drop=drop, capped=True, reason=f"{verdicts[name].reason}: {words[drop]}"
        )
        for name, drop in {**late, **spared}.items()
    }
    return {name: changed.get(name, verdict) for name, verdict in verdicts.items()}
