"""Leases: at most one process works on a thing, on one machine or on many that share a file system.

A lease is a small file that says who holds it. It appears through a hard link, which succeeds for exactly one
of any number of processes, over NFS too. While it is held, a thread touches it now and then; a lease that
nobody has touched for long is stale and may be taken over, by exactly one. Its holder learns of that at its
next touch.

What a lease cannot do: stop a holder that was frozen for longer than `STALE_S` and wakes up. For one
heartbeat both may run; then the first one knows that it lost the lease.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from autoseg.errors import RunError
from autoseg.system.documents import parse_json

__all__ = ["HEARTBEAT_S", "NAME", "STALE_S", "Held", "Holder", "Lease", "hold", "holder_of"]

log = logging.getLogger(__name__)

NAME = "lease.json"
HEARTBEAT_S = 20.0
# A holder is taken for dead after this long without a heartbeat: file servers may pause for minutes.
STALE_S = 300.0
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Held(RunError):
    """Somebody else holds the lease."""


def holder_of(path: Path, stale_s: float = STALE_S) -> Holder | None:
    """Who holds a lease, or None if nobody does or its holder is taken for dead."""
    found = _read(path)
    if found is None or found.gone:
        return None
    try:
        age = _now_at(path.parent) - path.stat().st_mtime
    except OSError:
        return None
    return found if age <= stale_s else None


class Lease:
    """One lease, as a context: acquired on entry, kept alive by a thread, released on exit.

    Args:
        path: the lease's file; folders are made.
        heartbeat_s: seconds between two touches.
        stale_s: seconds without a touch after which others may take over.
        on_lost: called once, from the heartbeat's thread, if another process took the lease over.

    Raises:
        Held: on entry, if another process holds it.
    """

    def __init__(
        self,
        path: Path,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        stale_s: float = STALE_S,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.path, self.heartbeat_s, self.stale_s, self.on_lost = path, heartbeat_s, stale_s, on_lost
        self.me = Holder.me()
        self.lost = threading.Event()
        self._released = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> bool:
        """Try to become the holder; True for exactly one of all that try at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        mine = self._own("new")
        try:
            if _appear(mine, self.path):
                return True
            there = _read(self.path)
            return there is not None and self._stale(there) and self._take_over(there.token, mine)
        finally:
            mine.unlink(missing_ok=True)

    def _stale(self, there: Holder) -> bool:
        if there.gone:
            return True
        try:
            return _now_at(self.path.parent) - self.path.stat().st_mtime > self.stale_s
        except OSError:
            return False

    def _take_over(self, token: str, mine: Path) -> bool:
        """Replace a stale lease. A claim, named after the stale holder, appears for one process only.

        A claimer may die as well; then its own token is claimed, and so on.
        """
        claims = [self._claim_on(token)]
        while not _appear(mine, claims[-1]):
            claimer = _read(claims[-1])
            if claimer is None or not (claimer.gone or _untouched(claims[-1], self.stale_s)):
                return False
            claims.append(self._claim_on(claimer.token))
        began = time.monotonic()
        try:
            # Claims are removed after the rename, so whoever claims after that sees another holder here.
            there = _read(self.path)
            if there is None or there.token != token or time.monotonic() - began > self.stale_s / 2:
                return False
            fresh = self._own("take")
            os.replace(fresh, self.path)
            return True
        finally:
            for claim in claims:
                claim.unlink(missing_ok=True)

    def _claim_on(self, token: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{token}.claim")

    def _own(self, purpose: str) -> Path:
        """A complete lease of this process under a name that nobody else uses."""
        path = self.path.with_name(f".{self.path.name}.{self.me.token}.{purpose}")
        path.write_text(json.dumps(asdict(self.me)) + "\n", encoding="utf-8")
        return path

    def __enter__(self) -> Lease:
        if not self.acquire():
            raise Held(
                f"{self.path.parent} is being worked on by {_read(self.path) or 'another process'}. "
                f"Wait until it has ended; if it is dead, this ends by itself after {self.stale_s:g} s."
            )
        self._thread = threading.Thread(target=self._keep_alive, name=f"lease {self.path}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have it; nothing happens if the lease was lost."""
        self._released.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if not self.lost.is_set() and self.mine:
            self.path.unlink(missing_ok=True)

    @property
    def mine(self) -> bool:
        """Whether the file still names this lease."""
        there = _read(self.path)
        return there is not None and there.token == self.me.token

    def _keep_alive(self) -> None:
        while not self._released.wait(self.heartbeat_s):
            try:
                there = _read(self.path)
                if there is not None and there.token == self.me.token:
                    os.utime(self.path)
                    continue
            except OSError as problem:  # a file server that pauses is no lost lease
                log.warning("The lease %s cannot be touched: %s.", self.path, problem)
                continue
            self._lose()
            return

    def _lose(self) -> None:
        self.lost.set()
        log.error("The lease %s was taken over by %s.", self.path, _read(self.path) or "somebody")
        if self.on_lost is not None:
            self.on_lost()


_held: dict[tuple[Path, int], int] = {}


@contextlib.contextmanager
def hold(
    path: Path,
    *,
    wait_s: float = 0.0,
    poll_s: float = 5.0,
    heartbeat_s: float = HEARTBEAT_S,
    stale_s: float = STALE_S,
    on_lost: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Hold a lease for a block. Within one thread a block may hold again what it holds already.

    Args:
        path: the lease's file.
        wait_s: how long to wait for another holder; ``inf`` for as long as it takes.
        poll_s: seconds between two looks; less at first.
        heartbeat_s, stale_s, on_lost: see `Lease`.

    Raises:
        Held: if another process holds it to the end of the wait.
    """
    key = (path.absolute(), threading.get_ident())
    if key in _held:
        _held[key] += 1
        try:
            yield
        finally:
            _held[key] -= 1
        return
    lease = Lease(path, heartbeat_s=heartbeat_s, stale_s=stale_s, on_lost=on_lost)
    _enter(lease, wait_s, poll_s)
    _held[key] = 1
    try:
        yield
    finally:
        del _held[key]
        lease.release()


def _enter(lease: Lease, wait_s: float, poll_s: float) -> None:
    until, pause = time.monotonic() + wait_s, 0.1
    while True:
        try:
            lease.__enter__()
            return
        except Held as problem:
            if time.monotonic() >= until:
                raise
            if pause == 0.1:
                log.info("Waiting: %s", problem)
        time.sleep(min(pause, max(until - time.monotonic(), 0.0)))
        pause = min(2 * pause, poll_s)


def _appear(source: Path, target: Path) -> bool:
    """Give `source` the further name `target` unless that exists; True for exactly one process."""
    try:
        os.link(source, target)
    except FileExistsError:
        # An answer lost on the network makes a link that succeeded look like one that failed.
        return _same_file(source, target)
    except OSError as problem:
        if problem.errno not in _NO_LINKS:
            raise
        return _appear_without_links(source, target)
    return True


def _appear_without_links(source: Path, target: Path) -> bool:
    try:
        file = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        stream.write(source.read_text(encoding="utf-8"))
    return True


def _same_file(a: Path, b: Path) -> bool:
    try:
        return os.path.samefile(a, b)
    except OSError:
        return False


def _read(path: Path) -> Holder | None:
    """The holder that a file names; None if there is no file or it is being written."""
    try:
        return Holder(**parse_json(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _untouched(path: Path, seconds: float) -> bool:
    try:
        return _now_at(path.parent) - path.stat().st_mtime > seconds
    except OSError:
        return False


def _now_at(folder: Path) -> float:
    """The time on the file system's own clock, which another machine's clock may differ from."""
    probe = folder / f".{uuid.uuid4().hex}.clock"
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


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
