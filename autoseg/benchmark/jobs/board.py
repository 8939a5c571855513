"""What a benchmark's folder says: which jobs are done, running or failed, and for what reason.

Every job leaves one outcome, whole or not at all, whichever engine ran it. An outcome knows the results that
it was made from, so that a job whose inputs have changed since is not taken for done.
"""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from autoseg.benchmark.jobs.graph import Graph, Job
from autoseg.errors import AutosegError
from autoseg.system.files import digest, read_json, write_json
from autoseg.system.lease import Holder, holder_of

State = Literal["done", "impossible", "failed", "blocked", "running", "waiting"]
SETTLED = ("done", "impossible")
# A plan that cannot be fitted must not keep the data set's other plans from being preprocessed: its failure
# is an outcome, for engines that go by files.
FORGIVEN = ("fit",)
FORGIVING = ("preprocess", "race", "leaderboard")


@dataclass(frozen=True)
class Outcome:
    """What a job ended with.

    Attributes:
        job: its id.
        state: ``done``, ``impossible`` (cannot run on this data set) or ``failed``.
        reason: why it is not ``done``, in a sentence.
        result: what later jobs go by.
        upstream: the results of the jobs before, as hashes, by job.
        seconds: wall clock.
        finished: ISO 8601 time.
        host: name of the machine that ran it.
        attempts: how often it was tried.
        trace: traceback of a failure.
    """

    job: str
    state: State
    reason: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    upstream: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    host: str = field(default_factory=platform.node)
    attempts: int = 1
    trace: str = ""

    @property
    def value(self) -> str:
        """What later jobs depend on, as a hash."""
        return digest([self.state, self.result])


@dataclass(frozen=True)
class JobState:
    """Where a job stands."""

    state: State
    reason: str = ""
    outcome: Outcome | None = None
    holder: Holder | None = None


@dataclass(frozen=True)
class Board:
    """A benchmark's folder."""

    graph: Graph

    @property
    def folder(self) -> Path:
        """Where everything below lies."""
        return self.graph.folder

    @property
    def page(self) -> Path:
        """The leaderboard."""
        return self.folder / "leaderboard.html"

    @property
    def progress_page(self) -> Path:
        """The matrix of cells, kept up to date."""
        return self.folder / "progress.html"

    def outcome_of(self, job: Job) -> Path:
        """The file that says that a job is done."""
        return self.folder / job.outcome

    def failure_of(self, job: Job) -> Path:
        """The file that says why a job failed. Apart from the outcome, which engines remove on a failure."""
        return self.folder / "failures" / f"{job.id}.json"

    def lease_of(self, job: Job) -> Path:
        """Held while a job runs."""
        return self.folder / "leases" / f"{job.id}.json"

    def read(self, job: Job) -> Outcome | None:
        """A job's outcome, or its failure, or None."""
        return _read(self.outcome_of(job)) or _read(self.failure_of(job))

    def write(self, outcome: Outcome) -> None:
        """Leave an outcome; a success ends the failures before it."""
        job = self.graph.job(outcome.job)
        content = asdict(outcome)
        if outcome.state == "failed":
            earlier = _read(self.failure_of(job))
            write_json(
                self.failure_of(job), {**content, "attempts": 1 + (earlier.attempts if earlier else 0)}
            )
            if job.stage in FORGIVEN:
                write_json(self.outcome_of(job), content)
            else:
                self.outcome_of(job).unlink(missing_ok=True)
            return
        write_json(self.outcome_of(job), content)
        self.failure_of(job).unlink(missing_ok=True)

    def forget_failures(self) -> int:
        """Let failed jobs be tried again; returns how many there were."""
        files = list((self.folder / "failures").glob("*.json"))
        for file in files:
            (self.folder / "outcomes" / file.name).unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        return len(files)

    def upstream(self, job: Job) -> dict[str, str]:
        """Hashes of what a job is made from now."""
        found = {need: self.read(self.graph.by_id[need]) for need in job.needs}
        return {need: outcome.value for need, outcome in found.items() if outcome is not None}

    def states(self) -> dict[str, JobState]:
        """Where each job stands, by id, in the order of the graph."""
        # Listed once: thousands of looks at files that are not there take long over NFS.
        present = {
            file.relative_to(self.folder).as_posix()
            for name in ("outcomes", "failures", "leases")
            for file in (self.folder / name).glob("*.json")
        }
        found: dict[str, JobState] = {}
        for job in self.graph.jobs:
            found[job.id] = self.state(job, found, present)
        return found

    def state(
        self, job: Job, before: Mapping[str, JobState], present: Collection[str] | None = None
    ) -> JobState:
        """Where one job stands.

        Args:
            job: one of the graph's.
            before: the states of the jobs that it needs.
            present: files of the folder, where they were listed before.
        """
        if _may_be(f"leases/{job.id}.json", present) and (holder := holder_of(self.lease_of(job))):
            return JobState("running", str(holder), holder=holder)
        outcome = _read(self.outcome_of(job)) if _may_be(job.outcome, present) else None
        if outcome is not None and _current(outcome, job, before):
            return JobState(outcome.state, outcome.reason, outcome)
        failure = _read(self.failure_of(job)) if _may_be(f"failures/{job.id}.json", present) else None
        if failure is not None:
            return JobState("failed", failure.reason, failure)
        return self._not_run(job, before)

    def _not_run(self, job: Job, before: Mapping[str, JobState]) -> JobState:
        states = [before[need] for need in job.needs]
        stopped = [state for state in states if state.state in ("failed", "blocked")]
        if job.stage in FORGIVING:
            stopped = [state for state in states if state.state == "blocked"]
            if len(stopped) < len(states) or job.stage == "leaderboard":
                stopped = []
        return JobState("blocked", stopped[0].reason) if stopped else JobState("waiting")


def ready(job: Job, states: Mapping[str, JobState]) -> bool:
    """Whether a job that waits can run now."""
    enough = (*SETTLED, "failed", "blocked") if job.stage in FORGIVING else SETTLED
    return states[job.id].state == "waiting" and all(states[need].state in enough for need in job.needs)


def _current(outcome: Outcome, job: Job, before: Mapping[str, JobState]) -> bool:
    """Whether the results that an outcome was made from are those that are there now."""
    for need in job.needs:
        known = before[need].outcome
        if need not in outcome.upstream and before[need].state != "blocked":
            return False
        if known is not None and outcome.upstream.get(need, known.value) != known.value:
            return False
    return True


def _may_be(name: str, present: Collection[str] | None) -> bool:
    return present is None or name in present


def _read(path: Path) -> Outcome | None:
    with contextlib.suppress(AutosegError, TypeError, json.JSONDecodeError):
        return Outcome(**read_json(path))
    return None
