"""Run a command as whole processes and measure it: wall and CPU time, and peak memory of its process tree."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

INTERVAL_S = 0.1


@dataclass(frozen=True)
class Cost:
    """What a command cost.

    Attributes:
        wall_s: from start to end.
        cpu_s: user and system time of all its processes.
        peak_pss_mb: largest sum over its processes of the proportional set size: shared memory counts once.
        peak_rss_mb: largest sum of the resident set size: shared memory counts in each process.
    """

    wall_s: float
    cpu_s: float
    peak_pss_mb: float
    peak_rss_mb: float

    def __add__(self, other: Cost) -> Cost:
        """Of two commands, one after the other."""
        return Cost(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            max(self.peak_pss_mb, other.peak_pss_mb),
            max(self.peak_rss_mb, other.peak_rss_mb),
        )

    def to_json(self) -> dict[str, Any]:
        """Rounded."""
        return {name: round(value, 2) for name, value in asdict(self).items()}


def measure(
    command: Sequence[str], environment: Mapping[str, str], log: Path, interval_s: float = INTERVAL_S
) -> Cost:
    """Run a command to its end.

    Args:
        command: program and arguments.
        environment: on top of this process's own.
        log: receives what the command prints.
        interval_s: between two looks at its memory, each of which takes a part of a busy machine's time.

    Raises:
        RuntimeError: if it fails; the end of its output is in the message.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        sampler = _Sampler(process.pid, interval_s)
        sampler.start()
        status = process.wait()
        wall = time.perf_counter() - began
        sampler.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        raise RuntimeError(
            f"{' '.join(command)} failed ({status}): {log.read_text(encoding='utf-8')[-2000:]}"
        )
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, sampler.pss / 1e6, sampler.rss / 1e6)


class _Sampler(threading.Thread):
    """Reads the memory of a process and all its descendants, again and again."""

    def __init__(self, root: int, interval_s: float) -> None:
        super().__init__(daemon=True)
        self.pss = self.rss = 0.0
        self._root, self._ended, self._interval_s = root, threading.Event(), interval_s

    def run(self) -> None:
        while not self._ended.wait(self._interval_s):
            tree = [_memory(pid) for pid in _tree(self._root)]
            self.pss = max(self.pss, sum(pss for pss, _ in tree))
            self.rss = max(self.rss, sum(rss for _, rss in tree))

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _tree(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            parents[int(entry.name)] = int(fields.rsplit(")", 1)[1].split()[1])
    tree = [root]
    for member in tree:
        tree += [pid for pid, parent in parents.items() if parent == member]
    return tree


def _memory(pid: int) -> tuple[float, float]:
    """Proportional and resident set size, bytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split(":")[0]: float(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return sizes.get("Pss", 0.0), sizes.get("Rss", 0.0)
