"""A child process that reads files from strangers: a fault in a library ends the child, not the program.

The child has a limit of memory and, for each file, of processor time. The file that it is at
stands in memory that both processes share, so that one that ends it can be named.
"""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from autoseg.errors import AutosegError, DataError, PlanError, RunError, UsageError

Result = TypeVar("Result")

# Of processor time. The largest images take less than a minute; what takes longer does not end.
SECONDS_A_FILE: Final = 600.0
# Of the memory that is free when the child begins.
MEMORY_SHARE: Final = 0.8
_SLOT: Final = 4096
_PDEATHSIG: Final = 1  # prctl's PR_SET_PDEATHSIG

# The shared memory of this process, where it is a child with limits; and the seconds that each file gets.
_slot: mmap.mmap | None = None
_seconds = SECONDS_A_FILE


def note(path: Path) -> None:
    """Say which file is read next; in a process without limits this does nothing."""
    if _slot is None:
        return
    name = os.fsencode(path)[: _SLOT - 2]
    _slot[: len(name) + 1] = name + b"\0"
    signal.setitimer(signal.ITIMER_PROF, _seconds)


def guarded(
    function: Callable[..., Result],
    *arguments: Any,
    seconds: float = SECONDS_A_FILE,
    after_crash: Callable[[], object] = lambda: None,
) -> Result:
    """Run a function in a child process with limits.

    Args:
        function: gives something that can be pickled.
        arguments: its arguments.
        seconds: processor time that a file may take.
        after_crash: run here if the child was ended, to remove what it left.

    Raises:
        DataError: naming the file at which the child was ended.
        AutosegError: what the function raises. Where processes cannot be forked, it runs in this one.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        return function(*arguments)
    slot = mmap.mmap(-1, _SLOT)
    reading, writing = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(function, arguments, writing, slot, seconds)
    os.close(writing)
    status, content = _waited(child, reading)
    if os.WIFSIGNALED(status) or not content:
        after_crash()
        at = slot[:].partition(b"\0")[0]
        raise DataError(_words(os.fsdecode(at), status, seconds))
    kind, value = pickle.loads(content)
    if kind == "result":
        found: Result = value
        return found
    raise value


def _waited(child: int, reading: int) -> tuple[int, bytes]:
    """How the child ended and what it sent; an interrupt is passed on, and the child's end waited for."""
    with os.fdopen(reading, "rb") as end:
        try:
            content = end.read()
        except KeyboardInterrupt:
            os.kill(child, signal.SIGINT)
            os.waitpid(child, 0)
            raise
    return os.waitpid(child, 0)[1], content


def _in_child(
    function: Callable[..., Any], arguments: tuple[Any, ...], writing: int, slot: mmap.mmap, seconds: float
) -> NoReturn:
    global _slot, _seconds
    sent: tuple[str, Any]
    try:
        _slot, _seconds = slot, seconds
        _limit()
        sent = ("result", function(*arguments))
    except KeyboardInterrupt:
        sent = ("error", KeyboardInterrupt())
    except AutosegError as problem:
        sent = ("error", _same(problem))
    except Exception as problem:  # whatever it is, the parent is to hear of it
        sent = ("error", problem)
    try:
        content = pickle.dumps(sent)
        pickle.loads(content)
    except Exception:  # an exception with arguments of its own does not survive the way
        content = pickle.dumps(("error", RuntimeError(f"{type(sent[1]).__name__}: {sent[1]}")))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with os.fdopen(writing, "wb") as end:
        end.write(content)
    os._exit(0)


def _same(problem: AutosegError) -> AutosegError:
    """An error of the same kind, of its text: one with more arguments does not survive the way."""
    kinds = (DataError, PlanError, UsageError, RunError)
    kind = next((each for each in kinds if isinstance(problem, each)), AutosegError)
    return kind(str(problem))


def _limit() -> None:
    """Take no more memory than is free, end with the parent, and end where a file takes too long."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    import resource

    free, own = _memory()
    if free:
        most = own + int(MEMORY_SHARE * free)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))


def _memory() -> tuple[int, int]:
    """Bytes that are free, and that this process has mapped; zeros where the system does not say."""
    import resource

    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return free, pages * resource.getpagesize()
    except (OSError, StopIteration, ValueError):
        return 0, 0


def _words(path: str, status: int, seconds: float) -> str:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    known: dict[int, str] = {
        signal.SIGPROF: f"took more than {seconds:g} s of processor time",
        signal.SIGKILL: "was killed, most likely for want of memory",
    }
    why = known.get(number, f"ended by signal {number}" if number else "ended without a word")
    return (
        f"The process that reads the source {why}, at {path or 'no file yet'}. Restore this file, or take it "
        f"away. To read files that you trust without limits: --trusted."
    )
