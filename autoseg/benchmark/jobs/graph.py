"""A suite as one graph of jobs, in an order in which they can run. Nothing here imports torch."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from autoseg.benchmark.suite.matrix import MatrixCell
from autoseg.benchmark.suite.suite import Resources
from autoseg.errors import RunError, UsageError
from autoseg.system.files import read_json, write_json
from autoseg.workspace import Workspace

Stage = Literal[
    "import",
    "verify",
    "fingerprint",
    "plan",
    "fit",
    "preprocess",
    "race",
    "train",
    "predict",
    "evaluate",
    "foreign",
    "leaderboard",
]
STAGES: tuple[Stage, ...] = get_args(Stage)
OF_DATASETS: tuple[Stage, ...] = ("import", "verify", "fingerprint", "plan")
# Whether files outside the workspace have changed cannot be told from outcomes: these look again.
LOOKED_AT: tuple[Stage, ...] = (*OF_DATASETS, "foreign")
OF_RUNS: tuple[Stage, ...] = ("train", "predict", "evaluate")
# These need the hardware that the runs are made for: fitting a plan measures it.
ON_DEVICE = ("fit", "race", "train", "predict")
SCHEMA = 1


@dataclass(frozen=True)
class Job:
    """One piece of work that leaves one outcome.

    Attributes:
        id: a name that no other job of the benchmark has, fit for files and job arrays.
        stage: what is done.
        dataset: the data set that it works on; empty for the leaderboard.
        needs: ids of jobs that come before.
        outputs: files that it leaves, relative to the workspace's folders (``results/...``) or, its outcome,
            to the benchmark's folder.
        resources: what the job requests from a scheduler; the time limit is always set.
        seconds: estimate.
        cell: the run; for ``fit`` without a fold; for earlier stages without a trainer; else None.
        limit_asked: whether the time limit is the suite's own, not made from the estimate.
        given: what an import or foreign results come from; the rules of a race.
    """

    id: str
    stage: Stage
    dataset: str
    needs: tuple[str, ...]
    outputs: tuple[str, ...]
    resources: Resources
    seconds: float
    cell: MatrixCell | None = None
    limit_asked: bool = False
    given: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def outcome(self) -> str:
        """The file that says that it is done, relative to the benchmark's folder."""
        return f"outcomes/{self.id}.json"

    @property
    def run(self) -> MatrixCell:
        """The run.

        Raises:
            RunError: for the leaderboard, which belongs to none.
        """
        if self.cell is None:
            raise RunError(f"The job {self.id} belongs to no run. Write the job list again.")
        return self.cell

    @property
    def inputs(self) -> tuple[str, ...]:
        """Outcomes of the jobs before, relative to the benchmark's folder."""
        return tuple(f"outcomes/{need}.json" for need in self.needs)

    def to_json(self) -> dict[str, Any]:
        """All fields, and the files of an engine that goes by files."""
        content = {**asdict(replace(self, cell=None)), "resources": self.resources.model_dump()}
        del content["cell"]
        return {**content, "inputs": list(self.inputs), "outcome": self.outcome}


@dataclass(frozen=True)
class Graph:
    """All jobs of a benchmark, each after those that it needs.

    Attributes:
        suite: the suite's name.
        workspace: where everything lies.
        jobs: in an order in which they can run.
    """

    suite: str
    workspace: Workspace
    jobs: tuple[Job, ...] = field(repr=False)

    @cached_property
    def by_id(self) -> dict[str, Job]:
        """Jobs by id."""
        return {job.id: job for job in self.jobs}

    @property
    def folder(self) -> Path:
        """The benchmark's folder: job list, outcomes, pages."""
        return self.workspace.benchmark_of(self.suite)

    @property
    def cells(self) -> tuple[MatrixCell, ...]:
        """All runs."""
        return tuple(job.cell for job in self.jobs if job.stage == "evaluate" and job.cell is not None)

    def of(self, stage: Stage) -> tuple[Job, ...]:
        """Jobs of one stage."""
        return tuple(job for job in self.jobs if job.stage == stage)

    def job(self, id_: str) -> Job:
        """A job by its id.

        Raises:
            UsageError: if there is none.
        """
        if id_ not in self.by_id:
            raise UsageError(
                f"The benchmark {self.suite} has no job {id_!r}. See them all: autoseg benchmark --dry-run"
            )
        return self.by_id[id_]

    def save(self) -> Path:
        """Write the job list, which every engine reads."""
        path = self.folder / "jobs.json"
        runs = list(dict.fromkeys(job.cell for job in self.jobs if job.cell is not None))
        number = {cell: i for i, cell in enumerate(runs)}
        jobs = [{**job.to_json(), "cell": number[job.cell] if job.cell else None} for job in self.jobs]
        places = {name: str(getattr(self.workspace, name)) for name in ("raw", "preprocessed", "results")}
        head = {"schema": SCHEMA, "suite": self.suite, "workspace": places}
        write_json(path, {**head, "cells": [cell.to_json() for cell in runs], "jobs": jobs})
        return path

    @classmethod
    def load(cls, path: Path) -> Graph:
        """Read a job list.

        Raises:
            RunError: if it is none of this version.
        """
        content = read_json(path, RunError)
        if not isinstance(content, Mapping) or content.get("schema") != SCHEMA:
            raise RunError(f"{path} is not a job list of this version. Run autoseg benchmark SUITE again.")
        runs = [MatrixCell.from_json(entry) for entry in content["cells"]]
        places = {name: Path(text) for name, text in content["workspace"].items()}
        return cls(
            content["suite"], Workspace(**places), tuple(_job(entry, runs) for entry in content["jobs"])
        )


def _job(entry: Mapping[str, Any], runs: list[MatrixCell]) -> Job:
    known = {key: entry[key] for key in ("id", "stage", "dataset", "seconds", "limit_asked")}
    return Job(
        **known,
        needs=tuple(entry["needs"]),
        outputs=tuple(entry["outputs"]),
        # Checked when they were written; read again, a bare number would be minutes.
        resources=Resources.model_construct(**entry["resources"]),
        cell=None if entry["cell"] is None else runs[entry["cell"]],
        given=entry.get("given", {}),
    )


def in_order(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Jobs after those that they need; where the order is free, as given.

    Raises:
        RunError: for a job that needs itself, or one that is not there.
    """
    listed = {job.id: job for job in jobs}
    if missing := {need for job in listed.values() for need in job.needs} - set(listed):
        raise RunError(f"Jobs are needed that nobody has: {', '.join(sorted(missing))}.")
    placed: set[str] = set()
    if all(_follows(job, placed) for job in listed.values()):
        return tuple(listed.values())
    try:
        order = graphlib.TopologicalSorter({job.id: job.needs for job in listed.values()}).static_order()
        return tuple(listed[name] for name in order)
    except graphlib.CycleError as problem:
        raise RunError(f"Jobs need each other in a circle: {' -> '.join(problem.args[1])}.") from None


def _follows(job: Job, placed: set[str]) -> bool:
    ready = placed.issuperset(job.needs)
    placed.add(job.id)
    return ready
