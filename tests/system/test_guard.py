"""A child process with limits: what ends it is told with the file, and the program goes on."""

from __future__ import annotations

import faulthandler
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.image import ImageError
from autoseg.errors import DataError, UsageError
from autoseg.system import guard
from autoseg.system.guard import guarded, note

PATH = Path("/source/scan 1.nii.gz")


def _doubled(array: np.ndarray) -> np.ndarray:
    note(PATH)
    return array * 2


def test_what_the_child_finds_comes_back() -> None:
    np.testing.assert_array_equal(guarded(_doubled, np.arange(10**6)), np.arange(10**6) * 2)


def _raise(error: BaseException) -> None:
    note(PATH)
    raise error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UsageError("There is no x."), UsageError),
        (ImageError(PATH, "is damaged"), DataError),
        (ZeroDivisionError("boom"), ZeroDivisionError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), UnicodeDecodeError),
    ],
)
def test_what_the_child_raises_is_raised(error: BaseException, kind: type[BaseException]) -> None:
    with pytest.raises(kind) as caught:
        guarded(_raise, error)
    assert str(caught.value) == str(error)


def _die(number: int) -> None:
    note(PATH)
    faulthandler.disable()  # this end is asked for: no report of a crash
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGSEGV, "ended by signal 11"),
        (signal.SIGKILL, "want of memory"),
        (signal.SIGABRT, "signal 6"),
    ],
)
def test_a_child_that_dies_is_told_with_its_file(number: int, words: str) -> None:
    cleared = []
    with pytest.raises(DataError, match=words) as caught:
        guarded(_die, number, after_crash=lambda: cleared.append(True))
    assert str(PATH) in str(caught.value) and "--trusted" in str(caught.value) and cleared == [True]


def _count_for_ever() -> None:
    note(Path("first"))
    note(PATH)
    while True:
        pass


def test_a_file_that_takes_too_long_is_told() -> None:
    with pytest.raises(DataError, match=r"took more than 0\.2 s of processor time, at /source/scan 1"):
        guarded(_count_for_ever, seconds=0.2)


def _take(size: int) -> int:
    note(PATH)
    return len(bytearray(size))


def test_memory_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MEMORY_SHARE", 0.01)
    assert guarded(_take, 1000) == 1000
    with pytest.raises(MemoryError):
        guarded(_take, 2**45)


def test_without_a_child_nothing_is_noted() -> None:
    note(PATH)
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
