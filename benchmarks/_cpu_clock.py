"""Run a program whose clock is processor time, so that a budget of minutes is one of CPU minutes.

    python _cpu_clock.py CLOCKS -m MODULE ARGUMENTS...
    python _cpu_clock.py CLOCKS FILE ARGUMENTS...

CLOCKS are names of functions of ``time``, joined by commas. Each keeps its first value and goes on with the
user and system time of this process and of the children that it has waited for. A pause takes no time then,
so a program that waits for something by the clock is not for this.
"""

from __future__ import annotations

# These keep the real clock: their waits end by it.
import concurrent.futures.process
import multiprocessing.connection
import os
import queue
import runpy
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable

WAITING = (concurrent.futures.process, multiprocessing.connection, queue, selectors, subprocess, threading)


def cpu_s() -> float:
    """Seconds of processor time of this process and of its children that have ended."""
    used = os.times()
    # Finer than the ticks of os.times.
    return time.process_time() + used.children_user + used.children_system


def clock(name: str) -> Callable[[], float]:
    """A function of ``time`` that from now on goes by processor time."""
    start = getattr(time, name)() - cpu_s()
    return lambda: float(start + cpu_s())


def main() -> None:
    """Replace the clocks and run the program."""
    for name in sys.argv[1].split(","):
        setattr(time, name, clock(name))
    rest = sys.argv[2:]
    if rest[0] == "-m":
        sys.argv = rest[1:]
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")


if __name__ == "__main__":
    main()
