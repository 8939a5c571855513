"""Who holds a lease: a process on a machine, and whether it is known to be dead."""

from __future__ import annotations

import os
import platform
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

JOB_VARIABLES = ("SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID", "JOB_ID")


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        host: name of the machine.
        pid: process id there.
        job: the scheduler's job id, or empty.
        since: ISO 8601 time.
        token: a word that no other holder has.
        world: what has to be equal for process ids to mean the same: boot and process namespace.
        started: when the process began, in the kernel's ticks; tells it from a later one with its id.
    """

    host: str
    pid: int
    job: str
    since: str
    token: str
    world: str = ""
    started: str = ""

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        job = next((os.environ[name] for name in JOB_VARIABLES if os.environ.get(name)), "")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        pid = os.getpid()
        return cls(platform.node(), pid, job, now, uuid.uuid4().hex, _world(), _start_of(pid))

    @property
    def gone(self) -> bool:
        """Whether it is known to be dead; False where that cannot be known from here."""
        if not self.world or (self.host, self.world) != (platform.node(), _world()):
            return False
        return _start_of(self.pid) != self.started

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job} (since {self.since})"


def _world() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """Start time of a living process, or empty; a zombie is dead."""
    try:
        # The name in brackets may hold spaces and brackets; what follows the last one does not.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
