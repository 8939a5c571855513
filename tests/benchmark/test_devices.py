"""A GPU for each job on a machine without a scheduler."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from autoseg.benchmark.jobs import devices
from autoseg.benchmark.jobs.devices import VISIBLE, pinned


def use(locks: Path, both: Any, results: Any) -> None:
    """Hold one of two devices until somebody holds the other one."""
    devices.POLL_S = 0.02
    with pinned(locks, 1, ("0", "1")) as taken:
        began = time.monotonic()
        both.wait(timeout=60)
        results.put((taken[0], os.environ[VISIBLE], began, time.monotonic()))


def test_no_two_jobs_share_a_device_and_none_is_idle(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results, both = context.Queue(), context.Barrier(2)
    jobs = [context.Process(target=use, args=(tmp_path, both, results)) for _ in range(4)]
    for job in jobs:
        job.start()
    used = [results.get(timeout=60) for _ in jobs]
    for job in jobs:
        job.join()
    assert all(device == visible for device, visible, _, _ in used)
    assert {device for device, *_ in used} == {"0", "1"}
    for one in used:
        for other in used:
            if one is not other and one[0] == other[0]:
                assert one[3] <= other[2] or other[3] <= one[2]


def test_what_a_scheduler_chose_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "3")
    with pinned(tmp_path, 1) as taken:
        assert taken == ("3",)
        assert os.environ[VISIBLE] == "3"
    with pinned(tmp_path, 0, ("0", "1")):
        assert os.environ[VISIBLE] == "3"
    assert list(tmp_path.iterdir()) == []


def test_the_variable_is_as_it_was_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    with pinned(tmp_path, 2, ("0", "1", "2")):
        assert os.environ[VISIBLE] == "0,1"
    assert VISIBLE not in os.environ
