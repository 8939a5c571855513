"""Leases: one holder, one heir, and nothing left behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from autoseg.system import lease
from autoseg.system.lease import Held, Holder, Lease, hold, holder_of

PROCESSES, ROUNDS = 6, 40


def stale_lease(path: Path, age_s: float = 1000.0) -> Holder:
    """A lease of a machine that fell silent a while ago."""
    holder = replace(Holder.me(), host="elsewhere", token=f"stale{time.monotonic_ns()}", world="other")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(holder)))
    os.utime(path, (time.time() - age_s,) * 2)
    return holder


def race(paths: list[Path], barrier: Any, results: Any) -> None:
    """Try every path at the same moment as the other processes; keep what is won."""
    won = []
    for path in paths:
        barrier.wait()
        won.append(Lease(path).acquire())
    barrier.wait()  # who ends gives its leases up
    results.put(won)


def winners(paths: list[Path]) -> list[int]:
    """For each path, how many of the processes won it."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    racers = [context.Process(target=race, args=(paths, barrier, results)) for _ in range(PROCESSES)]
    for racer in racers:
        racer.start()
    found = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    return [sum(column) for column in zip(*found, strict=True)]


def test_of_processes_that_race_exactly_one_wins(tmp_path: Path) -> None:
    paths = [tmp_path / f"run{i}" / lease.NAME for i in range(ROUNDS)]
    assert winners(paths) == [1] * ROUNDS


def test_a_stale_lease_has_exactly_one_heir(tmp_path: Path) -> None:
    paths = [tmp_path / f"run{i}" / lease.NAME for i in range(ROUNDS)]
    for path in paths:
        stale_lease(path)
    assert winners(paths) == [1] * ROUNDS
    left = {item.name for path in paths for item in path.parent.iterdir()}
    assert left == {lease.NAME}


def test_without_hard_links_there_is_one_winner_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    paths = [tmp_path / f"run{i}" / lease.NAME for i in range(10)]
    for path in paths[5:]:
        stale_lease(path)
    assert winners(paths) == [1] * 10


def test_a_fresh_lease_of_another_machine_is_respected(tmp_path: Path) -> None:
    path = tmp_path / lease.NAME
    there = stale_lease(path, age_s=1.0)
    assert holder_of(path) == there
    with pytest.raises(Held, match="elsewhere"), hold(path):
        pass
    assert json.loads(path.read_text())["token"] == there.token


def test_an_old_claim_by_a_dead_heir_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / lease.NAME
    stale = stale_lease(path)
    heir = replace(stale, token="heir", host="gone")
    claim = tmp_path / f".{lease.NAME}.{stale.token}.claim"
    claim.write_text(json.dumps(asdict(heir)))
    assert not Lease(path).acquire()  # the heir may be about to take it
    os.utime(claim, (time.time() - 1000,) * 2)
    assert Lease(path).acquire()
    assert [item.name for item in tmp_path.iterdir()] == [lease.NAME]


def test_one_who_judged_before_another_took_over_comes_too_late(tmp_path: Path) -> None:
    path = tmp_path / lease.NAME
    stale = stale_lease(path)
    first, second = Lease(path), Lease(path)
    assert first.acquire()
    # The second read the stale holder before; the claim's name is free again by now.
    mine = second._own("new")
    assert not second._take_over(stale.token, mine)
    assert first.mine


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / lease.NAME
    code = (
        "import sys, time, pathlib; from autoseg.system.lease import Lease;"
        "Lease(pathlib.Path(sys.argv[1])).__enter__(); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(Held, match=str(process.pid)), hold(path):
        pass
    process.kill()
    process.wait()
    assert holder_of(path) is None
    with hold(path):
        found = holder_of(path)
        assert found is not None and found.pid == os.getpid()
    assert not path.exists()


def test_the_heartbeat_keeps_a_lease_alive_and_an_interrupt_releases_it(tmp_path: Path) -> None:
    path = tmp_path / lease.NAME
    with pytest.raises(KeyboardInterrupt), hold(path, heartbeat_s=0.05, stale_s=0.5):
        time.sleep(1.0)
        assert holder_of(path, stale_s=0.5) is not None
        with pytest.raises(Held):
            Lease(path, stale_s=0.5).__enter__()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_holder_learns_that_it_was_taken_over_and_leaves_the_heir_alone(tmp_path: Path) -> None:
    path, told = tmp_path / lease.NAME, threading.Event()
    with hold(path, heartbeat_s=0.05, on_lost=told.set):
        heir = stale_lease(path, age_s=0.0)
        assert told.wait(5)
    assert json.loads(path.read_text())["token"] == heir.token


def test_a_thread_may_hold_twice_and_another_thread_may_not(tmp_path: Path) -> None:
    path, refused = tmp_path / lease.NAME, []

    def other() -> None:
        try:
            with hold(path):
                pass
        except Held as problem:
            refused.append(problem)

    with hold(path):
        with hold(path):
            pass
        assert path.is_file()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert not path.exists()


def test_waiting_ends_when_the_holder_does(tmp_path: Path) -> None:
    path = tmp_path / lease.NAME
    first = Lease(path)
    first.__enter__()
    threading.Timer(0.3, first.release).start()
    began = time.monotonic()
    with hold(path, wait_s=20, poll_s=0.05):
        assert 0.2 < time.monotonic() - began < 10
