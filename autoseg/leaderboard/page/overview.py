"""What holds over all data sets: each trainer's ranks, and every difference that the test tells apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autoseg.leaderboard.page.view import View
from autoseg.leaderboard.page.wording import margin_words, p_words
from autoseg.leaderboard.ranking.ranking import Leaderboard
from autoseg.leaderboard.ranking.rows import Row


@dataclass(frozen=True)
class OverviewLine:
    """A trainer over all data sets."""

    name: str
    number: int
    rows: tuple[Row | None, ...]
    leads: int
    better: int
    worse: int
    present: int
    mean_rank: float
    worst: float


@dataclass(frozen=True)
class Win:
    """A difference between two trainers that holds after Holm."""

    dataset: str
    better: str
    worse: str
    difference: str
    p: str
    small: bool
    margin: str


def decided(board: Leaderboard) -> Iterator[Win]:
    """Every pair of comparable rows, on any data set, that the adjusted test tells apart."""
    for item in board.sets:
        view = View(item, {row.name: 0 for row in item.rows})
        names = [entry.name for entry in item.comparable.entries]
        for pair in item.analysis.pairs:
            if pair.significant and pair.lean:
                better, worse = (pair.a, pair.b) if pair.lean > 0 else (pair.b, pair.a)
                found = item.analysis.pair(better, worse)
                ends = f"{view.signed(found.interval.low)} to {view.signed(found.interval.high)}"
                yield Win(
                    item.comparable.dataset,
                    names[better],
                    names[worse],
                    f"{view.signed(found.mean)} ({ends})",
                    p_words(found.p_holm),
                    item.analysis.negligible(found),
                    margin_words(item.analysis),
                )


def overview(board: Leaderboard, numbers: Mapping[str, int], wins: Sequence[Win]) -> tuple[OverviewLine, ...]:
    """A line per trainer: those on the most data sets first, then by mean rank.

    Args:
        board: from `rank`.
        numbers: the trainers' numbers on the page.
        wins: from `decided`.
    """
    by_name: dict[str, dict[str, Row]] = {}
    for row in board.rows:
        if row.rank is not None and row.comparable_set == 1:
            by_name.setdefault(row.name, {})[row.dataset] = row
    lines = []
    for name, rows in by_name.items():
        ranks = [row.rank for row in rows.values() if row.rank is not None]
        lines.append(
            OverviewLine(
                name=name,
                number=numbers[name],
                rows=tuple(rows.get(dataset) for dataset in board.datasets),
                leads=sum(bool(row.tied_with_best) for row in rows.values()),
                better=sum(win.better == name for win in wins),
                worse=sum(win.worse == name for win in wins),
                present=len(rows),
                mean_rank=sum(ranks) / len(ranks),
                worst=-1e18 if board.quantity.higher_is_better else 1e18,
            )
        )
    return tuple(sorted(lines, key=lambda line: (-line.present, line.mean_rank)))
