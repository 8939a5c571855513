"""Work over cases in worker processes, with errors that name the case.

`workers` forks the processes; here they learn manners (one thread each, no life after their parent), and a
process that dies can be blamed on the case that it was at.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TypeVar

from autoseg.errors import AutosegError, DataError, PlanError, RunError, UsageError
from autoseg.system import progress
from autoseg.system.workers import SharedArray, forked

Job = TypeVar("Job")
Result = TypeVar("Result")

_RUNNING, _DONE = 1, 2
_PDEATHSIG = 1  # prctl's PR_SET_PDEATHSIG


def each(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    names: Sequence[str],
    workers: int | None,
    stage: str,
) -> list[Result]:
    """Run `function` on every job.

    Args:
        function: a function of a module, so that workers find it.
        jobs: one per case.
        names: the cases' identifiers, for messages.
        workers: processes; as many as there are processors if None.
        stage: what progress is shown as.

    Returns:
        The results in the order of the jobs.

    Raises:
        AutosegError: what a job raised, with the case's name. No further case is begun then.
        RunError: if a worker died, or a job failed in an unforeseen way.
    """
    states = SharedArray((len(jobs),), "uint8")
    work = [
        (function, job, name, states, index)
        for index, (job, name) in enumerate(zip(jobs, names, strict=True))
    ]
    results = []
    try:
        with forked(workers, len(jobs)) as pool:
            # The processes are forked here, before the progress bar starts a thread.
            arriving = pool.map(_alone if pool.count == 1 else _in_worker, work)
            with progress.stage(stage, len(jobs)) as advance:
                for result, name in zip(arriving, names, strict=True):
                    results.append(result)
                    advance(detail=name)
    except RunError:
        # All workers have ended: whatever still counts as running was cut off.
        over = [name for name, state in zip(names, states.array, strict=True) if state == _RUNNING]
        if not over:
            raise
        raise RunError(
            f"A worker process died over {' or '.join(over)}: it was killed, most likely for want of memory. "
            f"Run again with fewer workers (now {pool.count}); finished cases stay."
        ) from None
    finally:
        states.close()
    return results


def _alone(function: Callable[[Job], Result], job: Job, name: str, states: SharedArray, index: int) -> Result:
    try:
        return function(job)
    except MemoryError:
        raise RunError(f"{name} does not fit into memory. Run again with fewer workers.") from None
    except AutosegError as problem:
        # Rebuilt from its text: an error with more arguments does not survive the way back from a worker.
        kind = next((k for k in (DataError, PlanError, UsageError) if isinstance(problem, k)), RunError)
        raise kind(f"{name}: {problem}") from problem
    except Exception as problem:
        raise RunError(
            f"{name} failed: {type(problem).__name__}: {problem}. Check the files of this case."
        ) from problem


# The worker's own place in the shared states, for the case that it has to end.
_place: tuple[SharedArray, int] | None = None
_settled = -1


def _in_worker(
    function: Callable[[Job], Result], job: Job, name: str, states: SharedArray, index: int
) -> Result:
    global _place
    settle()
    _place = states, index
    states.array[index] = _RUNNING
    try:
        return _alone(function, job, name, states, index)
    finally:
        states.array[index] = _DONE
        _place = None


def settle() -> None:
    """Once in a worker's life: learn to use one thread, to leave interrupts alone, to end with the parent."""
    global _settled
    if _settled == os.getpid():
        return
    _settled = os.getpid()
    # An interrupt goes to the whole terminal: the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    if sys.platform == "linux":
        # A worker would outlive a killed parent, waiting for jobs for ever.
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    _use_one_thread()


def _use_one_thread() -> None:
    """As many workers as cores: a second level of threads would only fight over them."""
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:
        return
    threadpool_limits(1)


def _leave(signal_number: int, frame: FrameType | None) -> None:
    """Ended because another worker died: the case at hand is not to blame."""
    if _place is not None:
        _place[0].array[_place[1]] = _DONE
    os._exit(128 + signal_number)
