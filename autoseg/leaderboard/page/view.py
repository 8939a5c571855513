"""One comparable set by one metric and structure, ready for the page's template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autoseg.drawing import axes
from autoseg.drawing.axes import Axis
from autoseg.leaderboard.page import charts
from autoseg.leaderboard.page.colours import Look, look
from autoseg.leaderboard.page.learning import Learning, learning_curves
from autoseg.leaderboard.page.scatter import Scatter, scatters
from autoseg.leaderboard.page.wording import p_words
from autoseg.leaderboard.quantities import HEADLINE, SHOWN, Quantity, columns, quantity
from autoseg.leaderboard.ranking.ranking import RankedSet
from autoseg.leaderboard.ranking.rows import Row
from autoseg.leaderboard.statistics import Difference, Interval
from autoseg.leaderboard.trust_of_rows import Trust, advice, trust_of

_MANY_DOTS = 4000
_MANY_ROWS = 12
COST_TITLES = {
    "parameters": "Parameters",
    "training_steps": "Steps",
    "train_s": "Training",
    "inference_s_per_case": "Time per case",
    "energy_kwh": "Energy",
    "g_co2": "CO\N{SUBSCRIPT TWO}",
}
_SYMBOLS = {"a": "▲", "b": "▼", "equivalent": "≈", "undecided": "·"}
_WORDS = {"a": "better", "b": "worse", "equivalent": "equivalent", "undecided": "not told apart"}


@dataclass(frozen=True)
class Line:
    """One trainer in a view.

    Attributes:
        row: its row of the ranking.
        index: its position in the set's entries.
        number: the trainer's number on the whole page; filters and looks go by it.
    """

    row: Row
    index: int
    number: int

    @property
    def look(self) -> Look:
        """Its colour, dash pattern and marker."""
        return look(self.number)


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix of comparisons: the row's trainer against the column's."""

    kind: str
    symbol: str
    short: str
    words: str


@dataclass(frozen=True)
class Lowest:
    """A case with one of the lowest scores."""

    line: Line
    case: str
    value: float
    note: str


@dataclass(frozen=True)
class View:
    """What the template needs to draw one set by one metric and structure."""

    item: RankedSet
    numbers: Mapping[str, int]

    @cached_property
    def quantity(self) -> Quantity:
        """The metric."""
        return self.item.analysis.quantity

    @property
    def structure(self) -> str | None:
        """The structure; None for the mean over structures."""
        return self.item.analysis.structure

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The trainers, best first."""
        return tuple(
            Line(row, index, self.numbers[row.name])
            for row, index in zip(self.item.rows, self.item.analysis.order, strict=True)
        )

    @cached_property
    def others(self) -> tuple[Quantity, ...]:
        """Further headline metrics that the table shows."""
        known = self.item.rows[0].means
        return tuple(
            self.item.comparable.quantity(name) for name in columns(known) if name != self.quantity.name
        )

    @cached_property
    def costs(self) -> tuple[str, ...]:
        """Costs that some trainer has: a column of dashes says nothing."""
        return tuple(
            name for name in COST_TITLES if any(line.row.cost(name) is not None for line in self.lines)
        )

    @staticmethod
    def cost_title(name: str) -> str:
        """What the column of a cost is called."""
        return COST_TITLES[name]

    @property
    def any_missing(self) -> bool:
        """Whether some trainer gave no prediction for some case."""
        return any(line.row.n_missing for line in self.lines)

    @cached_property
    def forest(self) -> Axis:
        """The axis of the table's intervals."""
        intervals = self.item.analysis.intervals
        return charts.interval_axis([ci.low for ci in intervals], [ci.high for ci in intervals])

    @cached_property
    def axis(self) -> Axis:
        """The axis of the cases' dots."""
        return charts.score_axis(self.item.analysis.scores, self.quantity)

    @cached_property
    def scatters(self) -> tuple[Scatter, ...]:
        """Quality against cost."""
        return scatters(self.item, dict(self.numbers))

    @cached_property
    def learning(self) -> Learning | None:
        """Quality against the number of training cases, where rows differ in that."""
        return learning_curves(self.item, self.numbers)

    @cached_property
    def trusted(self) -> tuple[tuple[Line, Trust], ...]:
        """The trainers whose expected quality was measured; in the view of the mean Dice alone."""
        if self.quantity.name != "dice" or self.structure is not None:
            return ()
        found = ((line, trust_of(line.row.entry)) for line in self.lines)
        return tuple((line, trust) for line, trust in found if trust is not None)

    @property
    def highest_risk(self) -> float:
        """The top of the risk-coverage curves."""
        return max((risk for _, trust in self.trusted for _, risk in trust.curve), default=1.0) or 1.0

    @property
    def trust_sentence(self) -> str:
        """Whether another row than the first can be preferred for it; empty if not."""
        return advice([line.row for line in self.lines]) if self.trusted else ""

    def interval(self, line: Line) -> Interval:
        """Of the mean."""
        return self.item.analysis.intervals[line.index]

    def mean(self, line: Line) -> float:
        """Over cases."""
        return float(self.item.analysis.means[line.index])

    def scores(self, line: Line) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Of every case."""
        return np.asarray(self.item.analysis.scores[line.index])

    def dots(self, line: Line) -> str:
        """A path with one dot per case."""
        return axes.dots(self.scores(line), self.axis, self.item.analysis.scores.size < _MANY_DOTS)

    def beyond(self, line: Line) -> int:
        """How many cases lie in the axis's zone."""
        return sum(self.axis.beyond(value) for value in self.scores(line))

    def quartiles(self, line: Line) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile over cases."""
        low, middle, high = np.quantile(self.scores(line), [0.25, 0.5, 0.75])
        return float(low), float(middle), float(high)

    def cell(self, a: Line, b: Line) -> Cell | None:
        """The comparison of two trainers; None on the diagonal."""
        if a.index == b.index:
            return None
        analysis = self.item.analysis
        pair = analysis.pair(a.index, b.index)
        kind = analysis.verdict(pair)
        short = self.signed(pair.mean) if len(self.lines) <= _MANY_ROWS else ""
        words = self._words(kind, pair)
        words = (
            f"{a.row.name} minus {b.row.name}: {self.signed(pair.mean)} "
            f"[{self.signed(pair.interval.low)}, {self.signed(pair.interval.high)}], "
            f"p after Holm {p_words(pair.p_holm)}: {words}"
            f"{', within the margin' if kind in 'ab' and analysis.negligible(pair) else ''}"
        )
        return Cell({"a": "better", "b": "worse"}.get(kind, kind), _SYMBOLS[kind], short, words)

    def _words(self, kind: str, pair: Difference) -> str:
        """A verdict in words; where nothing can be tested, where the interval lies."""
        if kind == "undecided" and not self.item.analysis.testable:
            return f"cannot be tested, interval {'apart from' if pair.apart else 'holds'} 0"
        return _WORDS[kind]

    def signed(self, value: float) -> str:
        """A difference with its sign, one digit finer than scores: they differ by little."""
        text = f"{value:+.{self.quantity.decimals + 1}f}"
        return (text if float(text) else text[1:]).replace("-", "\N{MINUS SIGN}")

    @property
    def comparisons(self) -> Iterator[tuple[Line, Line, Difference, str]]:
        """All pairs, or with many rows those with the leader: better ranked minus worse ranked."""
        analysis = self.item.analysis
        for i, a in enumerate(self.lines):
            for b in self.lines[i + 1 :]:
                pair = analysis.pair(a.index, b.index)
                verdict = analysis.verdict(pair)
                name = {"a": f"{a.row.name} better", "b": f"{b.row.name} better"}.get(verdict)
                small = ", within the margin" if name and analysis.negligible(pair) else ""
                yield a, b, pair, (name or self._words(verdict, pair)) + small
            if len(self.lines) > _MANY_ROWS:
                return

    @property
    def all_pairs(self) -> bool:
        """Whether `comparisons` lists all pairs."""
        return len(self.lines) <= _MANY_ROWS

    def rank_percent(self, rank: float) -> str:
        """A rank's place on the stability figure's axis, for CSS."""
        last = max(2, len(self.lines))
        return f"{4 + 92 * (rank - 1) / (last - 1):.2f}%"

    def rank_position(self, rank: float) -> float:
        """The same in units of a stretched figure."""
        last = max(2, len(self.lines))
        return 40 + 920 * (rank - 1) / (last - 1)

    @cached_property
    def lowest(self) -> tuple[Lowest, ...]:
        """The ten worst scores of all trainers, the worst first."""
        scores = self.item.analysis.scores
        sign = 1.0 if self.quantity.higher_is_better else -1.0
        flat = np.argsort(sign * scores, axis=None, kind="stable")[:10]
        by_index = {line.index: line for line in self.lines}
        cases = self.item.comparable.cases
        found = []
        for row, column in zip(*np.unravel_index(flat, scores.shape), strict=True):
            line, case = by_index[int(row)], cases[int(column)]
            found.append(Lowest(line, case, float(scores[row, column]), self._note(line, case)))
        return tuple(found)

    def _note(self, line: Line, case: str) -> str:
        notes: dict[str, None] = {}
        for record in line.row.entry.records:
            if case not in record.scores.cases:
                continue
            i = record.scores.cases.index(case)
            for column in record.scores.columns:
                if column.metric == self.quantity.name and self.structure in (None, column.structure):
                    notes.setdefault(_status_words(column.statuses.get(i, "ok"), column.structure))
        return ", ".join(note for note in notes if note)


def _status_words(status: str, structure: str) -> str:
    return {
        "ok": "",
        "missing_file": "no prediction",
        "missing_prediction_structure": f"{structure} missed",
        "empty_reference": f"{structure} predicted where there is none",
        "empty_both": "",
    }.get(status, status)


def wanted_views(item: RankedSet) -> list[tuple[str, str | None]]:
    """Metrics and structures that a page can show for a set, the most important first."""
    chosen = item.comparable
    first = item.analysis.quantity.name
    further = (name for name in columns(chosen.metrics) if quantity(name).ranked)
    shown = dict.fromkeys((*SHOWN, *further))
    metrics = [first, *(name for name in shown if name in chosen.metrics and name != first)]
    structures: Sequence[str] = chosen.structures if len(chosen.structures) > 1 else ()
    means: list[tuple[str, str | None]] = [(metric, None) for metric in metrics]
    headline = [name for name in metrics if name in (first, *HEADLINE)]
    parts: list[tuple[str, str | None]] = [(metric, name) for metric in headline for name in structures]
    return [*means, *parts]
