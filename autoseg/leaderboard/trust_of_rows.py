"""How well each row knows when it is wrong: what its model's quality.json measured on held-out cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoseg.leaderboard.ranking.entries import Entry
from autoseg.leaderboard.ranking.rows import Row
from autoseg.system.files import read_object

# Beside a model's folds; written by `autoseg.trust`, of which nothing is imported here.
FILE_NAME = "quality.json"


@dataclass(frozen=True)
class Trust:
    """Of one row.

    Attributes:
        cases: held-out cases that were assessed, each by a fit without its group.
        coverage: share of the 90 % intervals of Dice that hold; None with too few groups for intervals.
        coverage_interval: 95 % interval of that share.
        width: mean width of the intervals.
        aurc: area under the risk-coverage curve, by ``expected`` Dice, ``entropy``, ``none``, ``best`` order.
        curve: share of cases that are retained, and their mean risk (1 - Dice).
    """

    cases: int
    coverage: float | None
    coverage_interval: tuple[float, float] | None
    width: float | None
    aurc: Mapping[str, float]
    curve: tuple[tuple[float, float], ...]

    def path(self, highest: float) -> str:
        """The curve as an SVG path of 1000 by 34 units, a risk of `highest` at the top."""
        points = [f"{1000 * share:.0f} {33 - 32 * min(risk / highest, 1):.1f}" for share, risk in self.curve]
        return "M" + "L".join(points)


def trust_of(entry: Entry) -> Trust | None:
    """What is known of a row; None where nothing is, or where other folds were measured than the row has."""
    sources = [record.source for record in entry.records if record.source is not None]
    models = {source.parent.parent for source in sources if source.parent.name.startswith("fold_")}
    if len(models) != 1:
        return None
    document = read_object(models.pop() / FILE_NAME)
    try:
        folds = {f"fold_{record.fold}" for record in entry.records}
        if set(document["about"]["folds"]) != folds:
            return None
        return _read(document["measured"])
    except (KeyError, TypeError, ValueError):  # none, or of a version that measured something else
        return None


def _read(measured: Mapping[str, Any]) -> Trust:
    low_high = measured["coverage_interval"]
    return Trust(
        cases=int(measured["cases"]),
        coverage=None if measured["coverage"] is None else float(measured["coverage"]),
        coverage_interval=None if low_high is None else (float(low_high[0]), float(low_high[1])),
        width=None if measured["width"] is None else float(measured["width"]),
        aurc={str(name): float(value) for name, value in measured["aurc"].items()},
        curve=tuple((float(share), float(risk)) for share, risk in measured["curve"]),
    )


def advice(rows: Sequence[Row]) -> str:
    """Which of ranked rows, the best first, to prefer for it, in words; empty where it is the first."""
    found = ((row, trust_of(row.entry)) for row in rows)
    known = [(row, trust) for row, trust in found if trust is not None]
    return sentence([(row.name, row is rows[0] or bool(row.tied_with_best), trust) for row, trust in known])


def sentence(rows: Sequence[tuple[str, bool, Trust]]) -> str:
    """Which row to prefer for it, in words; empty where the best one is that too.

    Args:
        rows: name, whether it is first or tied with the best, and its trust; best first.
    """
    as_good = [(name, trust) for name, good, trust in rows if good]
    if len(as_good) < 2:
        return ""
    name, trust = min(as_good, key=lambda each: each[1].aurc["expected"])
    first, of_first = as_good[0]
    if name == first:
        return ""
    return (
        f"{name} is tied with the best and knows better when it is wrong: a risk-coverage area of "
        f"{trust.aurc['expected']:.4f}, where {first} has {of_first.aurc['expected']:.4f}. It can be "
        f"preferred."
    )
