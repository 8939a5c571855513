"""The server: takes what is dropped and sent, and does one job after the other."""

from __future__ import annotations

import itertools
import logging
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoseg import __version__
from autoseg.errors import AutosegError
from autoseg.names import name_problem
from autoseg.serving.drop_folder import DropFolder, Dropped
from autoseg.serving.jobs import DONE, ENDED, FAILED, RUNNING, Job, Journal, mark_of, now
from autoseg.serving.reader_process import ReaderProcess
from autoseg.serving.served_model import ServedModel
from autoseg.system.files import atomic_folder, read_object, write_json

log = logging.getLogger(__name__)

# Beside the results: journal, uploads, the token of HTTP and the lease.
HOME = ".serve"
RECORD = "job.json"
_POLL_S = 1.0


class Server:
    """Does jobs until it is told to stop.

    Args:
        models: by name.
        drops: the folder into which images for each model are dropped; may be empty.
        output: folder of the results; one folder for each job appears in it, whole.
        reader: reads what comes in.
        most_waiting: jobs that may wait; what is dropped beyond that stays where it is.

    Attributes:
        journal: all jobs.
        stopping: set once no further job is to be begun.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        drops: Mapping[str, DropFolder],
        output: Path,
        reader: ReaderProcess,
        most_waiting: int = 100,
    ) -> None:
        self.models, self.drops, self.output = models, drops, output
        self.home, self.most_waiting = output / HOME, most_waiting
        self._reader = reader
        self.stopping, self._wake = threading.Event(), threading.Event()
        self.taking = threading.Lock()  # of a place in the queue
        output.mkdir(parents=True, exist_ok=True)
        for drop in drops.values():
            drop.prepare()
        self.journal = Journal(self.home / "jobs")
        for path, why in self.journal.broken.items():
            log.warning("A job of the journal cannot be read and is left out: %s (%s)", path, why)
        for job in self.journal.jobs():
            if job.state in ENDED and not job.settled:
                self._settle(job)

    def stop(self) -> None:
        """Begin no further job."""
        self.stopping.set()
        self._wake.set()

    def run(self, once: bool = False) -> None:
        """Do jobs until `stop`.

        Args:
            once: end as soon as nothing waits and nothing more is in the drop folders.
        """
        while not self.stopping.is_set():
            self._take_dropped()
            waiting = self.journal.waiting()
            if waiting:
                self.do(waiting[0])
            elif once and self._nothing_dropped():
                return
            else:
                self._wake.wait(_POLL_S)
                self._wake.clear()

    def full(self) -> bool:
        """Whether no further job is taken."""
        return len(self.journal.waiting()) >= self.most_waiting

    def add(self, job: Job) -> Job:
        """Take a job; the server begins it when its turn comes."""
        self.journal.put(job)
        self._wake.set()
        return job

    def result_name(self, name: str) -> str:
        """A name for a folder of results that neither is there nor is promised to another job."""
        promised = {job.name for job in self.journal.jobs() if job.state not in ENDED}
        plain = "input" if name_problem(name) or name == HOME else name
        names = itertools.chain([plain], (f"{plain}_{number}" for number in itertools.count(2)))
        return next(each for each in names if each not in promised and not (self.output / each).exists())

    def _nothing_dropped(self) -> bool:
        claimed = self.journal.claimed()
        return all(drop.is_empty(claimed) for drop in self.drops.values())

    def _take_dropped(self) -> None:
        claimed = self.journal.claimed()
        for model, drop in self.drops.items():
            for dropped in drop.ready(claimed):
                with self.taking:
                    if self.full():
                        return
                    self.add(self._job_of(model, dropped))

    def _job_of(self, model: str, dropped: Dropped) -> Job:
        return Job(
            self.journal.new_identifier(),
            model,
            self.result_name(dropped.name),
            tuple(map(str, dropped.paths)),
            tuple(map(mark_of, dropped.paths)),
            taken=now(),
        )

    def do(self, job: Job) -> Job:
        """Do one job to its end, whatever that is."""
        target = self.output / job.name
        found = read_object(target / RECORD)
        if found.get("job") == job.identifier:  # killed between the result and the journal
            files, left = tuple(map(str, found.get("files", ()))), dict(found.get("left_out", {}))
            return self._end(replace(job, state=DONE, files=files, left_out=left, ended=now()))
        job = self.journal.put(replace(job, state=RUNNING, attempts=job.attempts + 1))
        log.info("%s: %s", job.identifier, ", ".join(path.name for path in job.paths))
        began = time.monotonic()
        try:
            files, left = self._segment(job, target, began)
        except AutosegError as problem:
            return self._failed(job, str(problem))
        except MemoryError:
            return self._failed(
                job, "There is not enough memory for this image. Crop it, or find a larger machine."
            )
        except OSError as problem:
            reason = f"{problem.filename or target}: {problem.strerror or problem}. Is the disk full?"
            return self._failed(job, reason)
        except Exception as problem:  # one input must not stop the others; the reason is told and logged
            log.exception("%s: an error that was not foreseen", job.identifier)
            return self._failed(job, f"An error that was not foreseen ({type(problem).__name__}: {problem}).")
        for name, reason in left.items():
            log.warning("%s: left out: %s: %s", job.identifier, name, reason)
        log.info("%s: %s (%.1f s)", job.identifier, target, time.monotonic() - began)
        return self._end(replace(job, state=DONE, files=files, left_out=left, ended=now()))

    def _segment(self, job: Job, target: Path, began: float) -> tuple[tuple[str, ...], dict[str, str]]:
        model = self.models.get(job.model)
        if model is None:
            raise AutosegError(f"The server has no model {job.model!r} any more. Start it with that model.")
        work = self.home / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            with atomic_folder(target) as folder:
                done = model.segment(job.paths, self._reader, work, folder)
                record: dict[str, Any] = {
                    "job": job.identifier,
                    "model": model.name,
                    "model_sha256": list(model.hashes),
                    "autoseg": __version__,
                    "sources": [path.name for path in job.paths],
                    "files": list(done.files),
                    "left_out": done.left_out,
                    "seconds": round(time.monotonic() - began, 3),
                    "ended": now(),
                }
                write_json(folder / RECORD, record)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return done.files, done.left_out

    def _failed(self, job: Job, reason: str) -> Job:
        log.warning("%s: set aside: %s", job.identifier, reason)
        return self._end(replace(job, state=FAILED, reason=reason, ended=now()))

    def _end(self, job: Job) -> Job:
        self.journal.put(job)
        return self._settle(job)

    def _settle(self, job: Job) -> Job:
        """Put the sources of an ended job away. If that is interrupted, the next start does it."""
        try:
            if job.uploaded:
                shutil.rmtree(self.upload_of(job), ignore_errors=True)
            elif job.model in self.drops:
                self.drops[job.model].put_away(job)
        except OSError as problem:
            log.warning("%s: its input stays where it is: %s", job.identifier, problem)
        return self.journal.put(replace(job, settled=True))

    def upload_of(self, job: Job) -> Path:
        """The folder of what was sent for a job."""
        return self.home / "uploads" / job.identifier
