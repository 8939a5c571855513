"""How far a benchmark is: as numbers, as a table for the terminal, and as words for a dry run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from autoseg.benchmark.jobs.board import Board, JobState, State
from autoseg.benchmark.jobs.graph import ON_DEVICE, STAGES, Graph, Job, Stage
from autoseg.benchmark.suite.matrix import MatrixCell

if TYPE_CHECKING:
    from rich.console import RenderableType

# Of several jobs of one cell, the first of these is what the cell is in.
ORDER: tuple[State, ...] = ("failed", "blocked", "impossible", "running", "waiting", "done")
MARKS: dict[State, str] = {
    "done": "done",
    "running": "running",
    "failed": "FAILED",
    "blocked": "BLOCKED",
    "impossible": "impossible",
    "waiting": "waiting",
}


@dataclass(frozen=True)
class CellStatus:
    """Where a cell stands.

    Attributes:
        cell: the run that this is about.
        state: state of the whole cell.
        stage: the one that is running, failed or comes next; ``evaluate`` where it is done.
        reason: reason of a failure.
        seconds: time that its jobs took so far.
        dice: mean over its cases, where it is done.
        collapsed: whether it predicts nothing but background.
    """

    cell: MatrixCell
    state: State
    stage: str
    reason: str = ""
    seconds: float = 0.0
    dice: float | None = None
    collapsed: bool = False

    @property
    def word(self) -> str:
        """The state in a word."""
        return "collapsed" if self.collapsed else MARKS[self.state]


@dataclass(frozen=True)
class Status:
    """A benchmark's jobs and their states, taken at one moment."""

    graph: Graph
    states: Mapping[str, JobState]

    @classmethod
    def of(cls, board: Board) -> Status:
        """Look at all jobs."""
        return cls(board.graph, board.states())

    def count(self, state: State, stage: str | None = None) -> int:
        """Jobs in a state."""
        jobs = [job for job in self.graph.jobs if stage is None or job.stage == stage]
        return sum(self.states[job.id].state == state for job in jobs)

    @property
    def remaining_s(self) -> float:
        """Estimate for all jobs that are to come, one after the other."""
        open_ = [job for job in self.graph.jobs if self.states[job.id].state in ("waiting", "running")]
        return sum(self._seconds(job) for job in open_)

    def _seconds(self, job: Job) -> float:
        """What jobs of this stage took on this data set, where that is known, else the estimate."""
        known = self._taken.get((job.stage, job.dataset))
        return known if known is not None and job.stage not in ("train", "predict") else job.seconds

    @cached_property
    def _taken(self) -> dict[tuple[str, str], float]:
        times: dict[tuple[str, str], list[float]] = {}
        for job in self.graph.jobs:
            outcome = self.states[job.id].outcome
            if outcome is not None and outcome.state == "done":
                times.setdefault((job.stage, job.dataset), []).append(outcome.seconds)
        return {key: sum(values) / len(values) for key, values in times.items()}

    @cached_property
    def cells(self) -> tuple[CellStatus, ...]:
        """All cells, in the order of the suite."""
        return tuple(self._cell(job) for job in self.graph.of("evaluate"))

    def _cell(self, evaluate: Job) -> CellStatus:
        chain = self._chain(evaluate)
        states = [self.states[job.id] for job in chain]
        worst = min((s.state for s in states), key=ORDER.index)
        # An engine may have removed what came before the job that failed.
        first = next((i for i, s in enumerate(states) if s.state == worst != "done"), len(chain) - 1)
        job, state = chain[first], states[first]
        own = [
            s.outcome.seconds
            for j, s in zip(chain, states, strict=True)
            if s.outcome and j.cell and j.cell.fold >= 0
        ]
        result = states[-1].outcome.result if worst == "done" and states[-1].outcome else {}
        gone = bool(result.get("collapsed"))
        reason = "It predicts only background." if gone else state.reason
        return CellStatus(evaluate.run, worst, job.stage, reason, sum(own), result.get("dice"), gone)

    def _chain(self, evaluate: Job) -> list[Job]:
        """The jobs of one cell, from import to evaluation; of the plans of others, none."""
        chain, current = [evaluate], evaluate
        while current.needs:
            # The first need is the stage before; of a preprocessing, any plan leads to the data set's.
            current = self.graph.by_id[current.needs[0]]
            chain.insert(0, current)
        train = next(job for job in chain if job.stage == "train")
        chain.insert(chain.index(train), self.graph.by_id[train.needs[1]])
        return chain

    def to_json(self) -> dict[str, Any]:
        """What ``--status --json`` prints."""
        return {
            "suite": self.graph.suite,
            "folder": str(self.graph.folder),
            "jobs": {state: self.count(state) for state in ORDER},
            "remaining_s": round(self.remaining_s),
            "cells": [
                {
                    **each.cell.to_json(),
                    "state": each.state,
                    "stage": each.stage,
                    "reason": each.reason,
                    "dice": each.dice,
                    "collapsed": each.collapsed,
                    "seconds": round(each.seconds, 1),
                }
                for each in self.cells
            ],
        }


def status_table(status: Status) -> RenderableType:
    """Counts, the matrix, and every reason that something did not work."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    counts = ", ".join(f"{status.count(state)} {state}" for state in reversed(ORDER) if status.count(state))
    head = f"{status.graph.suite}: {len(status.cells)} cells, {len(status.graph.jobs)} jobs ({counts})"
    left = f"About {duration(status.remaining_s)} of work left." if status.remaining_s else "Nothing is left."
    table = Table("data set", "trainer", "folds", "where it stands", "Dice", "time")
    for (dataset, name), group in by_row(status.cells).items():
        scores = [each.dice for each in group if each.dice is not None]
        taken = sum(each.seconds for each in group)
        dice = f"{sum(scores) / len(scores):.3f}" if scores else ""
        table.add_row(
            dataset, name, str(len(group)), _state_words(group), dice, duration(taken) if taken >= 1 else ""
        )
    reasons = dict.fromkeys(
        f"{each.cell.dataset}, {each.cell.name}: {each.word} at {each.stage}. {each.reason}"
        for each in status.cells
        if each.collapsed or each.state in ("failed", "blocked", "impossible")
    )
    running = [
        f"{job.id}: {status.states[job.id].reason}"
        for job in status.graph.jobs
        if status.states[job.id].state == "running"
    ]
    notes = [Text(f"  running: {text}", style="cyan") for text in running]
    notes += [Text(f"  {text}", style="red") for text in reasons]
    return Group(Text(head), Text(left), table, *notes)


def by_row(cells: Sequence[CellStatus]) -> dict[tuple[str, str], list[CellStatus]]:
    """Cells by data set and by what all folds share."""
    rows: dict[tuple[str, str], list[CellStatus]] = {}
    for each in cells:
        rows.setdefault((each.cell.dataset, each.cell.name), []).append(each)
    return rows


def _state_words(group: Sequence[CellStatus]) -> str:
    words = list(dict.fromkeys(each.word for each in group))
    if len(words) == 1 and words[0] in ("done", "impossible", "collapsed"):
        return words[0]
    return ", ".join(
        f"fold {each.cell.fold} {each.word}{'' if each.state == 'done' else f' ({each.stage})'}"
        for each in group
    )


def dry_run(status: Status) -> str:
    """The graph in words: what would run, in which order, on what, for how long."""
    graph = status.graph
    lines = [f"{graph.suite}: {len(graph.cells)} cells, {len(graph.jobs)} jobs, in {graph.folder}", ""]
    lines.append(
        f"{'stage':<12}{'jobs':>6}{'to do':>7}  {'each':>9}{'together':>10}  needs           requests"
    )
    lines += [_stage_line(status, stage) for stage in STAGES if graph.of(stage)]
    gpu_s = sum(job.seconds * job.resources.gpus for job in graph.jobs if job.stage in ON_DEVICE)
    lines += [
        "",
        f"One after the other: {duration(sum(job.seconds for job in graph.jobs))}"
        + (f", of which GPUs {duration(gpu_s)}." if gpu_s else "."),
    ]
    lines.append(f"With any number of machines: {duration(critical_path(graph))}, the longest chain.")
    lines += ["", "Cells:"]
    for (dataset, name), group in by_row(status.cells).items():
        folds = ", ".join(str(each.cell.fold) for each in group)
        lines.append(f"  {dataset}  {name}  fold {folds}  {_how_long(group[0].cell)}")
    return "\n".join(lines)


def _how_long(cell: MatrixCell) -> str:
    if cell.run_s is not None:
        return f"{duration(cell.run_s)} each"
    return f"{cell.steps} steps" if cell.steps is not None else f"{cell.epochs or 'all'} epochs"


def _stage_line(status: Status, stage: Stage) -> str:
    jobs = status.graph.of(stage)
    open_ = [job for job in jobs if status.states[job.id].state not in ("done", "impossible")]
    together, each = sum(job.seconds for job in open_), sum(job.seconds for job in jobs) / len(jobs)
    needs = dict.fromkeys(status.graph.by_id[need].stage for job in jobs[:200] for need in job.needs)
    numbers = f"{stage:<12}{len(jobs):>6}{len(open_):>7}  {duration(each):>9}{duration(together):>10}"
    return f"{numbers}  {', '.join(needs) or '-':<16}{_requested(jobs[0])}"


def critical_path(graph: Graph) -> float:
    """Seconds of the longest chain of jobs that need each other."""
    ends: dict[str, float] = {}
    for job in graph.jobs:
        ends[job.id] = job.seconds + max((ends[need] for need in job.needs), default=0.0)
    return max(ends.values(), default=0.0)


def _requested(job: Job) -> str:
    resources = job.resources
    gpus = f"{resources.gpus} GPU{'s' if resources.gpus > 1 else ''}, " if resources.gpus else ""
    where = f", {resources.partition}" if resources.partition else ""
    limit = f", {duration(resources.time)}" if resources.time else ""
    return f"{gpus}{resources.cpus} cores, {resources.memory:g} GB{limit}{where}"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``, ``9.1 days``."""
    for limit, unit, size in ((90, "s", 1.0), (5400, "min", 60.0), (172_800, "h", 3600.0)):
        if seconds < limit:
            return f"{seconds / size:.{0 if unit != 'h' else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} days"
