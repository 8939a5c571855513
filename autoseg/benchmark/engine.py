"""What every engine is: it takes a job list to its end, or hands it to something that does.

An engine is one file with one class derived from `Engine`: in ``autoseg/benchmark/engines``, in an installed
package under the entry point group ``autoseg.engines``, or anywhere, given by its path. Jobs leave their
outcomes in the benchmark's folder, so every engine goes on where any other stopped.
"""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from autoseg import plugins
from autoseg.benchmark.jobs.board import JobState
from autoseg.benchmark.jobs.graph import Graph
from autoseg.errors import DISTRIBUTION, UsageError

AUTOSEG = (sys.executable, "-m", "autoseg")
EXTRA = f"{DISTRIBUTION}[cluster]"


@dataclass(frozen=True)
class Order:
    """How a benchmark is to be run.

    Attributes:
        jobs: at once, at most.
        workers: processes of each job for reading and preprocessing; None: what the job asks for.
        retry_failed: whether jobs that failed before are tried again.
        submit: command that a job's script is appended to, for engines that submit scripts.
        options: further arguments of the program that the engine uses, for what a cluster wants of its own.
        command: what starts autoseg where the jobs run.
    """

    jobs: int = 1
    workers: int | None = None
    retry_failed: bool = False
    submit: str | None = None
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = AUTOSEG


@dataclass(frozen=True)
class Ran:
    """What an engine came to.

    Attributes:
        exit_status: 0, or that of the program that ran the jobs.
        script: text for standard output, of engines that run nothing themselves.
    """

    exit_status: int = 0
    script: str = ""


class Engine(ABC):
    """Base of all engines. The first line of a subclass's docstring tells users what it does.

    Attributes:
        needs: what has to be installed or given besides autoseg; empty: nothing.
        kind: ``runs``: `run` returns when all jobs have ended; ``prints``: it returns a script.
    """

    needs: ClassVar[str] = ""
    kind: ClassVar[Literal["runs", "prints"]] = "runs"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not (cls.__doc__ or "").strip():
            raise UsageError(
                f"The engine {cls.__name__} has no docstring. Write one: its first line is what "
                f"`autoseg list engines` tells users."
            )
        if cls.kind not in ("runs", "prints"):
            raise UsageError(f"The engine {cls.__name__} has the kind {cls.kind!r}. Set runs or prints.")

    @property
    def name(self) -> str:
        """The name of its file."""
        return Path(inspect.getfile(type(self))).stem

    @classmethod
    def about(cls) -> str:
        """The first line of the docstring, without the full stop."""
        return (cls.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    @abstractmethod
    def run(self, graph: Graph, order: Order) -> Ran:
        """Take every job that is not done to its end.

        Each job is ``COMMAND benchmark-job JOBS.json ID``, with `order.command`, the file that
        `graph.save()` writes, and the id of a job all of whose `needs` have ended.

        Args:
            graph: the jobs, in an order in which they can run.
            order: how to run them.

        Raises:
            MissingDependency: if what it needs is not installed.
            UsageError: if the order lacks what it needs.
        """


def engine_named(name: str) -> Engine:
    """An engine by its name or its file.

    Raises:
        UsageError: if there is none.
    """
    found: Engine = plugins.find_class("engines", name)()
    return found


@dataclass(frozen=True)
class Summary:
    """How many jobs ended how.

    Attributes:
        run: jobs that a call ran, the leaderboard and data sets that had not changed left out.
        done, impossible, failed, blocked: numbers of jobs in the whole benchmark.
        elsewhere: number of jobs that other processes hold.
    """

    run: int
    done: int
    impossible: int
    failed: int
    blocked: int
    elsewhere: int

    @classmethod
    def of(cls, states: Mapping[str, JobState], run: int = 0) -> Summary:
        """Count the states of jobs."""
        found = [state.state for state in states.values()]
        done, impossible, failed, blocked, running = (
            found.count(kind) for kind in ("done", "impossible", "failed", "blocked", "running")
        )
        return cls(run, done, impossible, failed, blocked, running)
