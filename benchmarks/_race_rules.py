"""The rules of the races that are measured."""

from __future__ import annotations

from autoseg.benchmark.race import Rules

# At most 40 % of the compute of n trainers is 0.4 n runs. The winner's own run is one of them. With looks
# after 15 and 35 % that cost 5 % each, n = 7, and half of a trainer beside the winner going past the first:
# 7 (0.15 + 0.05) + 1.5 (0.2 + 0.05) + 0.65 = 2.4 runs, or 35 %; every further trainer that goes to the end
# adds 9 %. So all but one have to stop, the tied ones too, and nobody can wait for a slow start. The rules
# that a race has by default (careful) are for finding the best, not for that goal.
THRIFTY = Rules(rungs=(0.15, 0.35), freed="save", steep=0.0, blind=True, ties="stop")
CAREFUL = Rules(freed="save")
RULES = {"thrifty": THRIFTY, "careful": CAREFUL}
