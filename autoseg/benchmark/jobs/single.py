"""One job of a benchmark in a process of its own, as an engine starts it."""

from __future__ import annotations

import logging

from autoseg.benchmark.jobs.board import FORGIVING, SETTLED, Board, Outcome
from autoseg.benchmark.jobs.devices import pinned
from autoseg.benchmark.jobs.graph import ON_DEVICE, Job
from autoseg.benchmark.jobs.run_job import run_job
from autoseg.errors import RunError

log = logging.getLogger(__name__)


def run_single(board: Board, job: Job, workers: int | None = None) -> Outcome:
    """Run a job, or wait for the process that is at it and take over its outcome.

    A scheduler that restarts a dead driver submits jobs that still run. Waiting leaves the graph intact;
    giving up would fail everything after it.

    Raises:
        RunError: if a job that it needs is not done.
        KeyboardInterrupt: after a scheduler's signal; what is finished stays.
    """
    states = board.states()
    here = states[job.id]
    if here.outcome is not None and here.state in SETTLED and job.stage != "leaderboard":
        log.info("%s is done.", job.id)
        return here.outcome
    if job.stage not in FORGIVING:
        open_ = [need for need in job.needs if states[need].state not in SETTLED]
        if open_:
            before = states[open_[0]]
            raise RunError(
                f"{job.id} needs {open_[0]}, which is {before.state}. {before.reason or 'Run that first.'}"
            )
    gpus = job.resources.gpus if job.stage in ON_DEVICE else 0
    with pinned(board.folder / "leases" / "devices", gpus):
        return run_job(board, job, wait_s=float("inf"), workers=workers)
