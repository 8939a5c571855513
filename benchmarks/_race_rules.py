"""The rules of the races that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoseg.racing.race import Race, Rules, Seen, Stretch, run_race

# At most 40 % of the compute of n trainers is 0.4 n runs. The winner's own run is one of them. With looks
# after 15 and 35 % that cost 5 % each, n = 7, and half of a trainer beside the winner going past the first:
# 7 (0.15 + 0.05) + 1.5 (0.2 + 0.05) + 0.65 = 2.4 runs, or 35 %; every further trainer that goes to the end
# adds 9 %. So all but one have to stop, the tied ones too, and nobody can wait for a slow start. The rules
# that a race has by default (careful) are for finding the best, not for that goal.
THRIFTY = Rules(rungs=(0.15, 0.35), freed="save", steep=0.0, blind=True, ties="stop")
# A test stops no ties, and where all are tied a thrifty race is not thrifty: of those left, the cap lets as
# many go on as there is time for.
CAPPED = replace(THRIFTY, cap=0.35)
# What a cap leaves at the first look is spent on a second one at whoever is least behind. nnunet goes to the
# second look whatever the first one says: the others are compared with it, and it starts slowly. Looks that
# predict all 26 hippocampi take as long as the training before them, so there are 12, and earlier ones.
# 36 % of the full times is 37 to 39 % of a matrix whose runs keep within theirs.
SPENT = replace(CAPPED, rungs=(0.1, 0.3), cap=0.36, spend=True, look_cases=12, reference="nnunet")
CAREFUL = Rules(freed="save")
RULES = {"thrifty": THRIFTY, "capped": CAPPED, "spent": SPENT, "careful": CAREFUL}


def replayed(race: Race, rules: Rules, run_s: float, groups: Sequence[str] | None = None) -> Race:
    """A race again by rules with the same looks that stop more: what it has seen is taken from the race.

    Where it needs no look of those that were taken on the way, their cost is counted all the same.

    Args:
        race: a race of one run of each trainer.
        rules: with the same rungs.
        run_s: wall clock of one run at its full time.
        groups: the group of each case.
    """

    def look(name: str, stretch: Stretch) -> Seen:
        legs = [
            rung
            for rung in race.rungs
            if name in rung.seen
            and stretch.from_s <= rung.stretch.from_s
            and rung.stretch.until_s <= stretch.until_s
        ]
        if not legs or legs[-1].stretch.last != stretch.last:
            raise SystemExit(f"{name} was not seen at {stretch.until_s:g} s, which the other rules ask for.")
        return Seen(legs[-1].seen[name].scores, sum(rung.seen[name].spent_s for rung in legs), groups)

    return run_race(list(race.rungs[0].seen), look, run_s, rules)
