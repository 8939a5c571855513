"""The engine without a cluster: the job list in order, in this process.

Any number of processes may walk the same benchmark at once, on one machine or on several: a job that another
one holds is left to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from autoseg.benchmark.engine import Engine, Order, Ran, Summary
from autoseg.benchmark.jobs.board import Board, JobState, Outcome, ready
from autoseg.benchmark.jobs.graph import LOOKED_AT, Graph, Job
from autoseg.benchmark.jobs.run_job import run_job
from autoseg.benchmark.status.watch import Watch
from autoseg.system import progress
from autoseg.system.lease import Held

log = logging.getLogger(__name__)


class Serial(Engine):
    """One job after the other in this process; several may walk one suite at once."""

    def run(self, graph: Graph, order: Order) -> Ran:
        """Run all jobs; see `Engine.run`."""
        with Watch(graph) as watch:
            run_local(
                graph,
                retry_failed=order.retry_failed,
                workers=order.workers,
                after_each=watch.after_each,
            )
        return Ran()


def run_local(
    graph: Graph,
    *,
    retry_failed: bool = False,
    workers: int | None = None,
    after_each: Callable[[Board, Outcome], None] | None = None,
) -> Summary:
    """Run all jobs that are not done, one after the other; a failure never stops what does not need it.

    Args:
        graph: the suite's jobs.
        retry_failed: whether jobs that failed before are tried again.
        workers: processes for reading and preprocessing.
        after_each: called after each job.

    Raises:
        KeyboardInterrupt: after an interrupt; everything finished so far stays.
    """
    graph.save()
    board = Board(graph)
    if retry_failed:
        log.info("%d failed jobs are tried again.", board.forget_failures())
    ran, total = 0, sum(job.seconds for job in graph.jobs)
    with progress.stage(f"Benchmark {graph.suite}", total=total) as advance:
        # Again while something was done: what another process held may be open to this one by now.
        while now := _walk(board, workers, lambda job: advance(job.seconds, detail=job.id), after_each):
            ran += now
            if not any(state.state in ("waiting", "running") for state in board.states().values()):
                break
    return Summary.of(board.states(), ran)


def _walk(
    board: Board,
    workers: int | None,
    passed: Callable[[Job], None],
    after_each: Callable[[Board, Outcome], None] | None,
) -> int:
    """Once through the list.

    Returns:
        How many jobs were run, data sets that had not changed and the leaderboard left out.
    """
    states: dict[str, JobState] = {}
    ran = 0
    for job in board.graph.jobs:
        states[job.id] = board.state(job, states)
        if _wanted(job, states, ran) and (outcome := _run(board, job, workers)):
            changed = states[job.id].state != "done" or job.stage not in LOOKED_AT
            # A leaderboard of what there is can always be made again: no reason for another walk.
            ran += changed and job.stage != "leaderboard"
            states[job.id] = board.state(job, states)
            if after_each is not None and changed:
                after_each(board, outcome)
        passed(job)
    return ran


def _wanted(job: Job, states: Mapping[str, JobState], ran: int) -> bool:
    state = states[job.id].state
    if job.stage == "leaderboard":
        ended = any(states[need].state not in ("waiting", "running") for need in job.needs)
        return ended and (state in ("waiting", "failed") or (state == "done" and ran > 0))
    # Whether raw data have changed cannot be told from outcomes; looking costs little.
    looked = job.stage in LOOKED_AT and state == "done"
    return ready(job, states) or (looked and all(states[need].state == "done" for need in job.needs))


def _run(board: Board, job: Job, workers: int | None) -> Outcome | None:
    try:
        return run_job(board, job, workers=workers)
    except Held as problem:
        log.info("%s is left to another process. %s", job.id, problem)
        return None
