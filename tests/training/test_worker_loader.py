"""Loading processes give the batches that one process gives, and none of them is waited for in vain."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoseg.errors import RunError
from autoseg.training import worker_loader
from autoseg.training.step_draws import StepLoader, Stream, seek
from autoseg.training.worker_loader import WorkerLoader

CASES = ("case_a", "case_b", "case_c")


class Cases:
    """A data set whose cases may do something when they are loaded."""

    def __init__(self, happens: Callable[[str], None]) -> None:
        self.happens = happens

    def load_case(self, identifier: str) -> float:
        self.happens(identifier)
        return float(CASES.index(identifier))


class Patches:
    """A loader that draws a case and some numbers, as nnU-Net's does: from the global generators."""

    def __init__(self, happens: Callable[[str], None]) -> None:
        self._data = Cases(happens)

    def __next__(self) -> dict[str, Any]:
        name = CASES[np.random.choice(len(CASES))]
        value = self._data.load_case(name)
        data = torch.randn(2, 3) + value
        return {"data": data, "target": [data.round().short(), data > 0], "keys": np.array([name])}


def inner(happens: Callable[[str], None] = lambda _: None) -> StepLoader:
    return StepLoader(Patches(happens), seed=5, stream=Stream.TRAINING_BATCH)


@pytest.fixture
def workers() -> Iterator[Callable[..., WorkerLoader]]:
    """Loaders with processes, which end with the test."""
    made: list[WorkerLoader] = []

    def make(happens: Callable[[str], None] = lambda _: None, processes: int = 2) -> WorkerLoader:
        made.append(WorkerLoader(inner(happens), processes))
        return made[-1]

    yield make
    for each in made:
        each._finish()


def same(found: Any, expected: Any) -> bool:
    return (
        torch.equal(found["data"], expected["data"])
        and all(map(torch.equal, found["target"], expected["target"]))
        and list(found["keys"]) == list(expected["keys"])
    )


@pytest.mark.parametrize("processes", [1, 3])
def test_batches_are_those_of_one_process_in_order(
    workers: Callable[..., WorkerLoader], processes: int
) -> None:
    alone, loader = inner(), workers(processes=processes)
    for _ in range(8):
        assert same(next(loader), next(alone))


@pytest.mark.parametrize("place", [0, 3, 50])
def test_a_training_may_go_on_anywhere(workers: Callable[..., WorkerLoader], place: int) -> None:
    alone, loader = inner(), workers()
    for _ in range(5):
        next(loader)
    for each in (alone, loader):
        seek(each, place)
    for _ in range(4):
        assert same(next(loader), next(alone))


def first_time(flag: Path, action: Callable[[], object]) -> Callable[[str], None]:
    """Do something when case_b is loaded for the first time, in whichever process."""

    def happens(name: str) -> None:
        if name != "case_b":
            return
        try:
            flag.touch(exist_ok=False)
        except FileExistsError:
            return
        action()

    return happens


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_dies_is_named_and_started_again(
    workers: Callable[..., WorkerLoader], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone, loader = inner(), workers(first_time(tmp_path / "flag", die))
    for _ in range(10):
        assert same(next(loader), next(alone))
    assert (tmp_path / "flag").exists()
    (record,) = caplog.records
    assert "was killed from outside, at the case case_b. It is started again." in record.message


def test_memory_is_named_where_the_kernel_says_so(
    workers: Callable[..., WorkerLoader],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_loader, "killed_since", lambda _: True)
    loader = workers(first_time(tmp_path / "flag", die))
    for _ in range(10):
        next(loader)
    assert "was killed by the kernel, for want of memory, at the case case_b" in caplog.text


def test_the_second_death_ends_the_run_in_words(workers: Callable[..., WorkerLoader]) -> None:
    loader = workers(lambda name: die() if name == "case_b" else None)
    with pytest.raises(
        RunError, match=r"case case_b, after one had to be .* nnUNet_n_proc_DA=N .* \(now 2\)"
    ):
        for _ in range(30):
            next(loader)
    assert not any(each.process.is_alive() for each in loader._processes)


def test_a_process_that_hangs_is_ended_and_started_again(
    workers: Callable[..., WorkerLoader],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time that a silence may last is over as soon as a process hangs: nothing depends on a clock."""
    flag, given, over = tmp_path / "flag", worker_loader.wait, []

    def wait(connections: Any, _: float) -> Any:
        while not (found := given(connections, 0.01)):
            if flag.exists() and not over and flag.read_text():
                over.append(True)
                return []
        return found

    def hang() -> None:
        flag.write_text("hangs")
        while True:
            time.sleep(60)

    monkeypatch.setattr(worker_loader, "wait", wait)
    alone, loader = inner(), workers(first_time(flag, hang), processes=1)
    for _ in range(10):
        assert same(next(loader), next(alone))
    assert "has not answered for 600 s, at the case case_b. It is started again." in caplog.text


def test_what_stands_in_the_way_of_a_case_is_said_with_its_name(workers: Callable[..., WorkerLoader]) -> None:
    def happens(name: str) -> None:
        if name == "case_c":
            raise ValueError("its header is torn")

    loader = workers(happens)
    with pytest.raises(RunError, match=r"^case_c cannot be loaded: ValueError: its header is torn\. Check"):
        for _ in range(30):
            next(loader)


def test_the_loaders_of_a_gpu_give_the_batches_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from autoseg.training import loaders

    class Held(Patches):
        held = False

        def __init__(self) -> None:
            super().__init__(lambda _: None)
            self._data.hold = lambda: setattr(self, "held", True)  # type: ignore[attr-defined]

    plain = StepLoader(Held(), 5, Stream.TRAINING_BATCH)
    assert loaders._stepped(plain, 0) is plain and not plain.loader.held
    several = loaders._stepped(plain, 2)
    try:
        assert isinstance(several, WorkerLoader) and plain.loader.held
        assert same(next(several), next(inner()))
    finally:
        several._finish()  # type: ignore[attr-defined]
