"""A page that shows how far a benchmark is, rewritten while it runs: one file, no network, no server.

The browser loads it again by itself. A page whose writer has ended says when it was written.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from autoseg.benchmark.jobs.board import Board, JobState, Outcome, State
from autoseg.benchmark.jobs.graph import Graph
from autoseg.benchmark.jobs.standings import leaderboard
from autoseg.benchmark.status.status import CellStatus, Status, by_row, duration
from autoseg.drawing.html import templates
from autoseg.system.files import write_text

if TYPE_CHECKING:
    from autoseg.leaderboard.ranking.ranking import Leaderboard
    from autoseg.leaderboard.ranking.rows import Row

log = logging.getLogger(__name__)

REFRESH_S = 10
# Ranking thousands of records takes seconds; it is done when a run has ended, not at every refresh.
EVERY_S = 15.0
SHOWN: tuple[State, ...] = ("done", "running", "failed", "blocked", "impossible", "waiting")


class Watch:
    """Keeps the page of a benchmark up to date for as long as the context lasts."""

    def __init__(self, graph: Graph, every_s: float = EVERY_S) -> None:
        self.board, self.every_s = Board(graph), every_s
        self._ended = threading.Event()
        self._standings: Leaderboard | None = None
        self._ranked: tuple[str, ...] = ()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._keep_writing, name="progress page", daemon=True)

    def __enter__(self) -> Watch:
        log.info("How far it is: %s", self.board.progress_page)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.write(refresh=False)

    def after_each(self, board: Board, outcome: Outcome) -> None:
        """Show at once that a run has ended."""
        if board.graph.job(outcome.job).stage == "evaluate":
            self.write()

    def write(self, refresh: bool = True) -> None:
        """Write the page once; rank anew if a run has ended since the last time."""
        with self._writing:
            states = self.board.states()
            ended = tuple(
                f"{job.id} {states[job.id].state}"
                for job in self.board.graph.of("evaluate")
                if states[job.id].state not in ("waiting", "running")
            )
            if ended != self._ranked:
                self._standings, self._ranked = _so_far(self.board, states), ended
            write_progress(self.board, self._standings, refresh=refresh)

    def _keep_writing(self) -> None:
        while True:
            try:
                self.write()
            except OSError as problem:  # a full disk is the runs' trouble, not the page's
                log.warning("The progress page cannot be written: %s", problem)
            if self._ended.wait(self.every_s):
                return


def _so_far(board: Board, states: Mapping[str, JobState]) -> Leaderboard | None:
    try:
        return leaderboard(board, states)
    except Exception as problem:
        log.warning("No ranking on the progress page: %s", problem)
        return None


def write_progress(board: Board, standings: Leaderboard | None, *, refresh: bool) -> Path:
    """Write the progress page, whole or not at all.

    Args:
        board: the benchmark's state.
        standings: the ranking so far, if there is one.
        refresh: whether the browser is to load it again by itself.
    """
    status = Status.of(board)
    write_text(board.progress_page, render(status, standings, refresh=refresh, page=board.page))
    return board.progress_page


def render(status: Status, standings: Leaderboard | None, *, refresh: bool, page: Path) -> str:
    """The page as text."""
    template = templates(Path(__file__).parent).get_template("watch.html")
    return template.render(_content(status, standings, refresh, page))


def _content(status: Status, standings: Leaderboard | None, refresh: bool, page: Path) -> dict[str, Any]:
    tally = Counter(_css(each) for each in status.cells)
    kinds = ("done", "collapsed", "running", "failed", "blocked", "impossible", "waiting")
    counts = [(kind, tally[kind]) for kind in kinds if tally[kind]]
    ended = len(status.cells) - tally["running"] - tally["waiting"]
    left = (
        f"About {duration(status.remaining_s)} of work left" if status.remaining_s > 1 else "Nothing is left"
    )
    jobs = sum(state.state == "done" for state in status.states.values())
    return {
        "suite": status.graph.suite,
        "refresh": REFRESH_S if refresh else 0,
        "percent": 100 * ended // max(len(status.cells), 1),
        "headline": f"{ended} of {len(status.cells)} runs have ended",
        "facts": f"{left} · {jobs} of {len(status.graph.jobs)} jobs done · {_spent(status)} of runs so far",
        "counts": counts,
        "counts_words": ", ".join(f"{count} {kind}" for kind, count in counts),
        "total": max(len(status.cells), 1),
        "running": [
            (name, state.reason) for name, state in status.states.items() if state.state == "running"
        ],
        "matrices": list(_matrices(status)),
        "reasons": list(_reasons(status.cells)),
        "boards": list(_boards(standings)) if standings else [],
        "written": f"Written {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}"
        + ("" if refresh else ", when the benchmark last ended"),
        "page": page.name if page.is_file() else "",
    }


def _spent(status: Status) -> str:
    return duration(sum(each.seconds for each in status.cells))


def _css(each: CellStatus) -> str:
    return "collapsed" if each.collapsed else each.state


def _matrices(status: Status) -> list[tuple[str, list[int], list[tuple[str, list[Any]]]]]:
    """For each data set its folds and, for each trainer, a cell or nothing."""
    rows = by_row(status.cells)
    found = []
    for dataset in dict.fromkeys(name for name, _ in rows):
        own = {name: group for (of, name), group in rows.items() if of == dataset}
        folds = sorted({each.cell.fold for group in own.values() for each in group})
        lines = []
        for name, group in own.items():
            by_fold = {each.cell.fold: _shown(each) for each in group}
            lines.append((name, [by_fold.get(fold) for fold in folds]))
        found.append((dataset, folds, lines))
    return found


def _shown(each: CellStatus) -> dict[str, str]:
    parts = []
    if each.dice is not None:
        parts.append(f"{each.dice:.3f}")
    elif each.state in ("running", "failed", "blocked"):
        parts.append(each.stage)
    if each.seconds >= 1:
        parts.append(duration(each.seconds))
    title = (
        f"{each.cell.dataset}, {each.cell.name}, fold {each.cell.fold}: {each.word}. {each.reason}".strip()
    )
    return {"css": _css(each), "word": each.word, "detail": " · ".join(parts), "title": title}


def _reasons(cells: Sequence[CellStatus]) -> list[tuple[str, str]]:
    """Each reason once, with all whom it stopped."""
    by_reason: dict[str, list[CellStatus]] = {}
    for each in cells:
        if each.collapsed or each.state in ("failed", "blocked", "impossible"):
            by_reason.setdefault(f"{each.word} at {each.stage}. {each.reason}", []).append(each)
    return [(_who(group), what) for what, group in by_reason.items()]


def _who(group: Sequence[CellStatus]) -> str:
    names = list(dict.fromkeys(f"{each.cell.name} on {each.cell.dataset}" for each in group))
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown


def _boards(standings: Leaderboard) -> list[tuple[str, str, list[list[str]]]]:
    found = []
    for dataset in standings.datasets:
        rows = [row for row in standings.rows if row.dataset == dataset]
        found.append(
            (dataset, standings.quantity.label, [_line(row, standings.quantity.name) for row in rows])
        )
    return found


def _line(row: Row, metric: str) -> list[str]:
    if row.rank is None:
        return ["-", row.name, row.status, "", ""]
    tie = " =" if row.tied_with_best and row.rank > 1 else ""
    interval = row.intervals.get(metric)
    score = f"{row.means[metric]:.3f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else "")
    return [f"{row.rank}{tie}", row.name, score, str(row.n_cases), ", ".join(map(str, row.folds))]
