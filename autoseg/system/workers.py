"""Worker processes that start at once: forked, so that nothing is imported again."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import starmap
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import RunError

Result = TypeVar("Result")


class Workers:
    """Runs functions over lists of arguments, in order, in one process or several."""

    def __init__(self, pool: ProcessPoolExecutor | None, count: int) -> None:
        self.count = count
        self._pool = pool

    def map(self, function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
        """Results of `function(*job)` in the order of the jobs, each once it and those before are there.

        Raises:
            RunError: if a process dies. What a job raises is raised here.
        """
        if self._pool is None:
            return starmap(function, jobs)
        # A few jobs at a time, but never so many that one process is left with the rest.
        share = max(1, min(8, len(jobs) // (8 * self.count)))
        return self._guarded(self._pool.map(_call, [function] * len(jobs), jobs, chunksize=share))

    def _guarded(self, results: Iterator[Result]) -> Iterator[Result]:
        try:
            yield from results
        except BrokenProcessPool:
            raise RunError(
                f"A worker process ended without a word, most likely for want of memory ({self.count} "
                f"processes). Run again with fewer workers."
            ) from None


@contextmanager
def forked(workers: int | None, jobs: int) -> Iterator[Workers]:
    """Processes that live as long as the block; they are forked at its first `map`.

    Where processes cannot be forked, or one is enough, everything runs in this process.

    Args:
        workers: how many; as many as there are processors if None.
        jobs: how many are of use at most.
    """
    count = max(1, min(workers or processors(), jobs))
    if count == 1 or "fork" not in multiprocessing.get_all_start_methods():
        yield Workers(None, 1)
        return
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(count, context, initializer=_leave_interrupts_to_the_parent)
    try:
        yield Workers(pool, count)
    finally:
        pool.shutdown(cancel_futures=True)


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(function: Callable[..., Result], job: tuple[Any, ...]) -> Result:
    return function(*job)


_shared: dict[int, NDArray[Any]] = {}


class SharedArray:
    """An array that this process and those it forks later on all read and write.

    Passed to a worker it is named, not copied. Memory is taken only as it is written to.

    Args:
        shape: the array's shape.
        dtype: the array's data type.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        import mmap

        count = int(np.prod(shape, dtype=np.int64))
        buffer = mmap.mmap(-1, max(1, count * np.dtype(dtype).itemsize))
        self._key = id(self)
        _shared[self._key] = np.frombuffer(buffer, dtype, count).reshape(shape)

    @property
    def array(self) -> NDArray[Any]:
        """The array itself."""
        return _shared[self._key]

    def close(self) -> None:
        """Give the memory back once nothing refers to the array any more."""
        _shared.pop(self._key, None)
