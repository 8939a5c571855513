"""The process that reads: started before any model is loaded, and small, so that it can fork for each call.

Each call runs in a child of it with limits of memory and time (`autoseg.system.guard`), so that a file that
brings a library down ends that child, and neither this process nor the one with the models.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from autoseg.errors import AutosegError, DataError, RunError

Result = TypeVar("Result")


class ReaderProcess:
    """Runs functions elsewhere, one at a time; a context that ends its process.

    Args:
        guarded: whether each call has limits.
    """

    def __init__(self, guarded: bool = True) -> None:
        self._guarded, self._lock = guarded, threading.Lock()
        self._start()

    def _start(self) -> None:
        # A fresh interpreter: what this one has of threads and locks does not come along.
        context = multiprocessing.get_context("spawn")
        self._end, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._guarded), daemon=True)
        self._process.start()
        other.close()

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What a function of a module gives; it and its arguments are pickled.

        Raises:
            DataError: if the process that ran it ended.
            AutosegError: what the function raised.
        """
        with self._lock:
            try:
                self._end.send((function, arguments))
                kind, value = self._end.recv()
            except (EOFError, OSError):
                self._process.join()
                self._start()
                raise DataError(
                    "The process that reads the input ended at it. Restore the file, or take it away."
                ) from None
        if kind == "result":
            found: Result = value
            return found
        raise value

    def __enter__(self) -> ReaderProcess:
        return self

    def __exit__(self, *problem: object) -> None:
        self._end.close()  # it ends by itself; one that does not is ended
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(end: Connection, limited: bool) -> None:
    """Answer calls until the other end is closed."""
    from autoseg.system.guard import guarded

    # A service is stopped by a signal to all its processes; this one has to see the job through.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            function, arguments = end.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[str, Any] = (
                "result",
                guarded(function, *arguments) if limited else function(*arguments),
            )
        except AutosegError as problem:
            kind = DataError if isinstance(problem, DataError) else RunError
            answer = ("error", kind(str(problem)))
        except MemoryError:
            answer = ("error", DataError("There is not enough memory to read this input."))
        except Exception as problem:  # it is told to whoever sent the input; the process goes on
            answer = ("error", DataError(f"It cannot be read ({type(problem).__name__}: {problem})."))
        end.send(answer)
