"""The leaderboard of a benchmark: a row for every cell that has an end, whichever end that was."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autoseg.benchmark.jobs.board import Board, JobState
from autoseg.benchmark.jobs.foreign_data import foreign_records
from autoseg.benchmark.jobs.graph import Job
from autoseg.benchmark.suite.matrix import MatrixCell, choice_of, trainer_label
from autoseg.errors import AutosegError
from autoseg.leaderboard.records.collapse import marked
from autoseg.leaderboard.records.files import Record, read_records

if TYPE_CHECKING:
    from autoseg.leaderboard.ranking.ranking import Leaderboard

log = logging.getLogger(__name__)


def records(board: Board, states: Mapping[str, JobState] | None = None) -> tuple[Record, ...]:
    """A record for each cell that has scores, failed or cannot run; none for cells that still wait."""
    states = states or board.states()
    found = [_record(board, job, states[job.id]) for job in board.graph.of("evaluate")]
    return (*(record for record in found if record is not None), *foreign_records(board, states))


def _record(board: Board, job: Job, state: JobState) -> Record | None:
    if job.cell is None or state.state in ("waiting", "running"):
        return None
    if state.state == "done" and state.outcome is not None:
        path = board.graph.workspace.results / str(state.outcome.result["record"])
        try:
            return marked(read_records(path)[0])
        except (OSError, AutosegError, IndexError) as problem:
            return without_scores(job.cell, "failed", f"its record is gone: {problem}")
    status = "impossible" if state.state == "impossible" else "failed"
    return without_scores(job.cell, status, state.reason)


def without_scores(cell: MatrixCell, status: Any, reason: str) -> Record:
    """The row of a cell that has no scores."""
    choice = choice_of(cell)
    options, trainer = dict(choice.options), trainer_label(cell.trainer)
    with contextlib.suppress(AutosegError):  # a trainer or weights that are gone are why it failed
        trainer = choice.trainer
        options = choice.row_options
    return Record(
        run_id=f"{cell.dataset}/{cell.trainer}/{cell.variant.key}/fold_{cell.fold}",
        dataset=cell.dataset,
        trainer=trainer,
        configuration=cell.configuration,
        fold=cell.fold,
        seed=cell.seed,
        status=status,
        reason=reason,
        options=options,
    )


def leaderboard(board: Board, states: Mapping[str, JobState] | None = None) -> Leaderboard | None:
    """The ranking so far, or None while there is no row."""
    from autoseg.leaderboard.ranking.ranking import rank

    rows = records(board, states)
    return rank(rows) if rows else None


def write_leaderboard(board: Board) -> Leaderboard:
    """Write the page of the benchmark, with what there is.

    Raises:
        UsageError: if there is no row.
    """
    from autoseg.data.dataset import load_dataset
    from autoseg.leaderboard.of_workspace import draw_page
    from autoseg.leaderboard.ranking.ranking import rank

    found = rank(records(board))
    datasets = []
    for job in board.graph.of("import"):
        try:
            datasets.append(load_dataset(board.graph.workspace.find_raw(job.cell.source if job.cell else "")))
        except AutosegError as problem:
            log.info("No pictures of %s: %s", job.dataset, problem)
    draw_page(found, board.page, datasets)
    return found
