"""A command in a forked process that is killed at a processor time."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def run(command: list[str], folder: Path, kill_at_s: float | None) -> tuple[int, float]:
    """Run a command in a forked process, and kill it at a processor time; exit status and processor time."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _child(command, folder)
    while kill_at_s is not None and not _ended(pid):
        if _cpu_s(pid) >= kill_at_s:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime


def _child(command: list[str], folder: Path) -> None:
    status = 70
    try:
        os.setpgid(0, 0)
        os.environ |= {"AUTOSEG_WORKSPACE": str(folder / "workspace")}
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["autoseg", *command]
        from autoseg.cli import app

        app.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    finally:
        os._exit(status)


def _ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _cpu_s(root: int) -> float:
    """Of a process and its children."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
            if int(fields[2]) == root:  # its process group
                total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total
