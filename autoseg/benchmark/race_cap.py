"""A race that keeps to a part of the matrix's compute, however close its trainers are.

A test never stops a tie, and where all trainers are nearly as good a race is as dear as the matrix: on 18
cases of stained nuclei, seven trainers within 0.05 Dice of each other took half of it. Who gives a cap takes
any of those that cannot be told apart: of those left after the test, as many as the time is enough for go on,
the best means first. That is successive halving (Jamieson and Talwalkar, AISTATS 2016, arXiv 1502.07943),
with the halving left to the clock. Two go on to the last look whatever the cap, if the test leaves them: who
leads earlier is often not who wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoseg.benchmark.race_verdict import Verdict


def affordable(
    left_s: float, from_s: float, run_s: float, looks_s: Sequence[float], look_s: float, runs: int = 1
) -> int:
    """How many trainers can go on, if one of them goes to the end: at least two to a look, one to the end.

    Args:
        left_s: wall clock that the race may still take.
        from_s: seconds of training of each run so far.
        run_s: wall clock of one run to its end.
        looks_s: seconds of training of each run at the looks to come.
        look_s: what a look at one trainer takes beside training.
        runs: of each trainer.
    """
    if not looks_s:
        return max(1, int(left_s / (runs * (run_s - from_s))))
    to_the_end = runs * (run_s - looks_s[0])
    return max(2, int((left_s - to_the_end) / (runs * (looks_s[0] - from_s) + look_s)))


def capped(verdicts: Mapping[str, Verdict], most: int) -> dict[str, Verdict]:
    """The verdicts, of which at most so many let a trainer go on; those least behind do."""
    going = [name for name, each in verdicts.items() if not each.drop]
    late = set(sorted(going, key=lambda name: verdicts[name].behind)[most:])
    words = f"stops, for time is left for {most}"
    return {
        name: replace(each, drop=True, capped=True, reason=f"{each.reason}: {words}")
        if name in late
        else each
        for name, each in verdicts.items()
    }
