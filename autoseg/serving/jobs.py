"""Jobs and their journal: one small file for each job, so that a kill loses none.

A job that was running when the server was killed is waiting again when it starts anew. One that was running
at three such ends is taken for their cause and given up.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoseg.errors import AutosegError
from autoseg.system.files import read_json, write_json

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
ENDED = (DONE, FAILED)
MOST_ATTEMPTS = 3
# Ended jobs that are remembered; their results stay in any case.
_REMEMBERED = 1000
_NAME = re.compile(r"\d{8}-[0-9a-f]{8}\.json")


@dataclass(frozen=True)
class Job:
    """One input to segment: a file, the files of a case's channels, a folder or a zip.

    Attributes:
        identifier: begins with a number that grows.
        model: the name of the model.
        name: of the folder of its results.
        sources: what is read.
        marks: what each source looked like when it was taken, see `mark_of`.
        uploaded: whether it came by HTTP; then its sources are the server's own.
        state: waiting, running, done or failed.
        attempts: how often it was begun.
        reason: why it failed.
        files: names of its results.
        left_out: inputs of a job without a result, and why.
        settled: whether its sources have been put away after its end.
        taken: when it was taken.
        ended: when it ended.
    """

    identifier: str
    model: str
    name: str
    sources: tuple[str, ...]
    marks: tuple[str, ...] = ()
    uploaded: bool = False
    state: str = WAITING
    attempts: int = 0
    reason: str = ""
    files: tuple[str, ...] = ()
    left_out: Mapping[str, str] | None = None
    settled: bool = False
    taken: str = ""
    ended: str = ""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The sources as paths."""
        return tuple(map(Path, self.sources))

    def to_json(self) -> dict[str, Any]:
        """As it stands in the journal."""
        return asdict(self)

    def shown(self) -> dict[str, Any]:
        """What is told about it: names of files, no folders of this machine."""
        return {
            "job": self.identifier,
            "model": self.model,
            "name": self.name,
            "state": self.state,
            "sources": [path.name for path in self.paths],
            "reason": self.reason,
            "files": list(self.files),
            "left_out": dict(self.left_out or {}),
            "taken": self.taken,
            "ended": self.ended,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Job:
        """Read what `to_json` gave; TypeError for something else."""
        lists = {key: tuple(map(str, content[key])) for key in ("sources", "marks", "files")}
        return cls(**{**content, **lists})


def mark_of(path: Path) -> str:
    """What a file or folder looks like: another one of its name has another mark; empty if it is gone."""
    try:
        about = path.stat()
    except OSError:
        return ""
    return f"{about.st_ino}:{about.st_mtime_ns}:{about.st_size if path.is_file() else 0}"


def now() -> str:
    """The time, for people."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Journal:
    """All jobs, in memory and on disk. Its methods may be called by several threads.

    Args:
        folder: of its files; created if need be.

    Attributes:
        broken: files that could not be read, with the reason; they are left as they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.RLock()
        folder.mkdir(parents=True, exist_ok=True)
        self._jobs: dict[str, Job] = {}
        self.broken: dict[Path, str] = {}
        for path in sorted(folder.iterdir()):
            if _NAME.fullmatch(path.name):
                self._load(path)
        numbers = [int(name.partition("-")[0]) for name in self._jobs]
        self._number = max(numbers, default=0)

    def _load(self, path: Path) -> None:
        try:
            job = Job.from_json(read_json(path))
        except (AutosegError, TypeError, KeyError) as problem:
            self.broken[path] = str(problem)
            return
        self._jobs[job.identifier] = job
        if job.state != RUNNING:
            return
        if job.attempts < MOST_ATTEMPTS:
            self.put(replace(job, state=WAITING))
        else:
            reason = (
                f"The server ended {job.attempts} times while it was at this job. Look at its memory, or try "
                f"the input with autoseg predict."
            )
            self.put(replace(job, state=FAILED, reason=reason, ended=now()))

    def new_identifier(self) -> str:
        """For a job that comes next."""
        with self._lock:
            self._number += 1
            return f"{self._number:08d}-{secrets.token_hex(4)}"

    def put(self, job: Job) -> Job:
        """Write a job down, in place of what was known of it."""
        with self._lock:
            write_json(self._folder / f"{job.identifier}.json", job.to_json())
            self._jobs[job.identifier] = job
            self._forget_old()
        return job

    def _forget_old(self) -> None:
        old = [job for job in self.jobs() if job.state in ENDED and job.settled]
        for job in old[: max(0, len(old) - _REMEMBERED)]:
            self.remove(job)

    def remove(self, job: Job) -> None:
        """Forget a job."""
        with self._lock, contextlib.suppress(FileNotFoundError):
            self._jobs.pop(job.identifier, None)
            (self._folder / f"{job.identifier}.json").unlink()

    def get(self, identifier: str) -> Job | None:
        """A job by its identifier."""
        with self._lock:
            return self._jobs.get(identifier)

    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        with self._lock:
            return [self._jobs[name] for name in sorted(self._jobs)]

    def claimed(self) -> set[tuple[Path, str]]:
        """Sources with their marks that are a job's already, or were one's and could not be moved away."""
        return {each for job in self.jobs() for each in zip(job.paths, job.marks, strict=False)}

    def waiting(self) -> list[Job]:
        """Those that are to be done, oldest first."""
        return [job for job in self.jobs() if job.state == WAITING]
