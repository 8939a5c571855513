"""Forked workers."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from autoseg.errors import DataError, RunError
from autoseg.system.workers import SharedArray, Workers, forked


def _square(number: int) -> int:
    time.sleep(0.02 if number == 0 else 0)
    return number * number


def _write(shared: SharedArray, index: int) -> int:
    shared.array[index] = index
    return os.getpid()


def _fail(number: int) -> int:
    if number == 3:
        raise DataError("case 3 is damaged")
    return number


def _die(number: int) -> None:
    os._exit(1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_jobs(count: int) -> None:
    with forked(count, 50) as processes:
        assert processes.count == count
        assert list(processes.map(_square, [(n,) for n in range(50)])) == [n * n for n in range(50)]


def test_a_shared_array_is_written_by_other_processes() -> None:
    shared = SharedArray((40,), np.int64)
    with forked(2, 40) as processes:
        writers = set(processes.map(_write, [(shared, n) for n in range(40)]))
    assert os.getpid() not in writers
    assert shared.array.tolist() == list(range(40))
    shared.close()


def test_there_are_no_more_workers_than_jobs() -> None:
    with forked(8, 2) as processes:
        assert processes.count == 2


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_job_arrives_as_it_is(count: int) -> None:
    with forked(count, 20) as processes, pytest.raises(DataError, match="case 3 is damaged"):
        list(processes.map(_fail, [(n,) for n in range(20)]))


def test_a_dead_process_is_an_error_that_says_what_to_do() -> None:
    with forked(2, 4) as processes, pytest.raises(RunError, match="fewer workers"):
        list(processes.map(_die, [(n,) for n in range(4)]))


def test_without_a_pool_nothing_runs_before_it_is_asked_for() -> None:
    ran: list[int] = []
    results = Workers(None, 1).map(ran.append, [(1,), (2,)])
    assert ran == []
    assert len(list(results)) == 2 and ran == [1, 2]
