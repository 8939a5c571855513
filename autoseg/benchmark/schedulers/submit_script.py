"""Scripts that hand a whole benchmark to a scheduler at once: job arrays with dependencies, no driver.

Each stage is an array; the scheduler starts a stage when the one before has ended, and within a run's stages
each task when its own predecessor has succeeded. Failed tasks hold up nothing but their own successors; a run
that reaches its time limit saves a checkpoint, is queued again and goes on.
"""

from __future__ import annotations

import math
import shlex
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from autoseg.benchmark.engine import Engine, Order, Ran
from autoseg.benchmark.jobs.graph import STAGES, Graph, Job, Stage
from autoseg.system.files import write_text

# Both schedulers allow arrays of a thousand by default.
LARGEST_ARRAY = 1000
# Seconds before the limit at which a job gets the signal to save and stop.
NOTICE_S = 300
# These have one job for each of the stage before, in the same order.
ONE_TO_ONE: tuple[Stage, ...] = ("verify", "fingerprint", "plan", "predict", "evaluate")

JOB_SCRIPT = """#!/bin/bash
# One task of an array: FILE holds the ids, {index} counts them. It saves and queues again on a signal.
stopped=0
{command} benchmark-job {jobs} "${index}" --of "$1" --quiet &
child=$!
trap 'stopped=1; kill -USR2 "$child" 2>/dev/null' USR2
trap 'kill -TERM "$child" 2>/dev/null' TERM INT
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
{again}
exit "$code"
"""


class Chunk:
    """Up to a thousand jobs of one stage: one array."""

    def __init__(self, stage: Stage, number: int, jobs: Sequence[Job], file: Path) -> None:
        self.stage, self.number, self.jobs, self.file = stage, number, jobs, file

    @property
    def name(self) -> str:
        """The variable of its job id."""
        return f"{self.stage}_{self.number}"


class ScriptEngine(Engine):
    """Prints a bash script that submits a benchmark.

    The job list, lists of ids and the script of a task are written to the benchmark's folder.

    Attributes:
        index: the variable that counts the tasks of an array from 1.
        again: lines of a task's script that queue it again where it was ``$stopped`` before its end.
        submission: the shell function ``submit``, which prints the id of what it submits.
        starter: what a task's script is started with.
    """

    kind = "prints"
    index: ClassVar[str]
    again: ClassVar[str]
    submission: ClassVar[str]
    starter: ClassVar[str] = ""

    def run(self, graph: Graph, order: Order) -> Ran:
        """Write the script; see `Engine.run`."""
        folder = graph.folder / "submit"
        jobs = shlex.quote(str(graph.save()))
        text = JOB_SCRIPT.format(
            command=shlex.join(order.command), jobs=jobs, index=self.index, again=self.again
        )
        write_text(folder / f"{self.name}_task.sh", text)
        chunks = _chunks(graph, folder)
        lines = [
            "#!/bin/bash",
            f"# The benchmark {graph.suite}: {len(graph.jobs)} jobs. Written by autoseg; run it on a login "
            f"node.",
            "set -euo pipefail",
            f"folder={shlex.quote(str(folder))}",
            'mkdir -p "$folder/logs"',
            self.submission,
        ]
        at_once = order.jobs if order.jobs > 1 else None
        for position, chunk in enumerate(chunks):
            lines += self._submission(chunk, chunks[:position], at_once)
        lines.append('echo "Submitted. How far it is: autoseg benchmark SUITE --status"')
        return Ran(script="\n".join(lines) + "\n")

    def _submission(self, chunk: Chunk, before: Sequence[Chunk], at_once: int | None) -> list[str]:
        earlier = [each for each in before if each.stage != chunk.stage]
        needed = [each for each in earlier if each.stage == earlier[-1].stage]
        options = self.options(chunk, needed, at_once)
        task = f'{self.starter}"$folder/{self.name}_task.sh" "$folder/{chunk.file.name}"'
        call = f"{chunk.name}=$(submit {' '.join(options)} {task})"
        return ["", f"# {chunk.stage}: {len(chunk.jobs)}", call]

    @abstractmethod
    def options(self, chunk: Chunk, needed: Sequence[Chunk], at_once: int | None) -> list[str]:
        """The scheduler's options for an array.

        Args:
            chunk: the jobs of the array, which all ask for the same.
            needed: the arrays of the stage before.
            at_once: tasks that may run at once; None: as the scheduler likes.
        """


def _chunks(graph: Graph, folder: Path) -> list[Chunk]:
    found = []
    for stage in STAGES:
        jobs = graph.of(stage)
        for number, start in enumerate(range(0, len(jobs), LARGEST_ARRAY)):
            part = jobs[start : start + LARGEST_ARRAY]
            file = folder / f"{stage}_{number}.txt"
            write_text(file, "".join(f"{job.id}\n" for job in part))
            found.append(Chunk(stage, number, part, file))
    return found


def own_array(chunk: Chunk, needed: Sequence[Chunk]) -> Chunk | None:
    """The array whose tasks are the predecessors of this one's, task by task."""
    if chunk.stage not in ONE_TO_ONE:
        return None
    return next((each for each in needed if each.number == chunk.number), None)


def minutes(chunk: Chunk) -> int:
    return math.ceil(max(job.resources.time or 0.0 for job in chunk.jobs) / 60)
