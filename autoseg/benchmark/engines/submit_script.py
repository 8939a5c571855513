"""Scripts that hand a whole benchmark to SLURM or LSF at once: job arrays with dependencies, no driver.

Each stage is an array; the scheduler starts a stage when the one before has ended, and within a run's stages
each task when its own predecessor has succeeded. Failed tasks hold up nothing but their own successors; a run
that reaches its time limit saves a checkpoint, is queued again and goes on.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from autoseg.benchmark.jobs.graph import ON_DEVICE, STAGES, Graph, Job, Stage
from autoseg.errors import UsageError
from autoseg.system.files import write_text

Scheduler = Literal["sbatch", "bsub"]
# Both schedulers allow arrays of a thousand by default.
LARGEST_ARRAY = 1000
# Seconds before the limit at which a job is told to save and stop.
NOTICE_S = 300
# These have one job for each of the stage before, in the same order.
ONE_TO_ONE: tuple[Stage, ...] = ("verify", "fingerprint", "plan", "predict", "evaluate")

JOB_SCRIPT = """#!/bin/bash
# One task of an array: FILE holds the ids, {index} counts them. Told to stop, it saves and is queued again.
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
AGAIN = {
    "sbatch": """if [ "$stopped" = 1 ] && [ "$code" != 0 ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi""",
    # LSF queues it again by its exit value, see -Q.
    "bsub": """if [ "$stopped" = 1 ] && [ "$code" != 0 ]; then code=99; fi""",
}
INDEX = {"sbatch": "SLURM_ARRAY_TASK_ID", "bsub": "LSB_JOBINDEX"}


def emit_script(
    graph: Graph,
    scheduler: str,
    *,
    at_once: int | None = None,
    command: Sequence[str] = (sys.executable, "-m", "autoseg"),
) -> str:
    """A bash script that submits a benchmark.

    The job list, lists of ids and the script of a task are written to the benchmark's folder.

    Args:
        graph: of the suite.
        scheduler: ``sbatch`` or ``bsub``.
        at_once: tasks of an array that may run at once; None: as the scheduler likes.
        command: what starts autoseg where the jobs run.

    Raises:
        UsageError: for another scheduler.
    """
    if scheduler not in AGAIN:
        raise UsageError(f"No script can be printed for {scheduler!r}. Choose sbatch or bsub.")
    folder = graph.folder / "submit"
    jobs = shlex.quote(str(graph.save()))
    text = JOB_SCRIPT.format(
        command=shlex.join(command), jobs=jobs, index=INDEX[scheduler], again=AGAIN[scheduler]
    )
    write_text(folder / f"{scheduler}_task.sh", text)
    chunks = _chunks(graph, folder)
    lines = _head(graph, scheduler, folder)
    for position, chunk in enumerate(chunks):
        lines += _submission(chunk, chunks[:position], scheduler, at_once)
    lines.append('echo "Submitted. How far it is: autoseg benchmark SUITE --status"')
    return "\n".join(lines) + "\n"


class Chunk:
    """Up to a thousand jobs of one stage: one array."""

    def __init__(self, stage: Stage, number: int, jobs: Sequence[Job], file: Path) -> None:
        self.stage, self.number, self.jobs, self.file = stage, number, jobs, file

    @property
    def name(self) -> str:
        """The variable of its job id."""
        return f"{self.stage}_{self.number}"


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


def _head(graph: Graph, scheduler: str, folder: Path) -> list[str]:
    number = {"sbatch": "sbatch --parsable", "bsub": "bsub"}[scheduler]
    lines = [
        "#!/bin/bash",
        f"# The benchmark {graph.suite}: {len(graph.jobs)} jobs. Written by autoseg; run it on a login node.",
        "set -euo pipefail",
        f"folder={shlex.quote(str(folder))}",
        'mkdir -p "$folder/logs"',
    ]
    if scheduler == "bsub":
        # The id is in a sentence: Job <123> is submitted to queue <normal>.
        lines.append("submit() { bsub \"$@\" | sed -n 's/^Job <\\([0-9]*\\)>.*/\\1/p'; }")
    else:
        lines.append(f'submit() {{ {number} "$@"; }}')
    return lines


def _submission(chunk: Chunk, before: Sequence[Chunk], scheduler: str, at_once: int | None) -> list[str]:
    earlier = [each for each in before if each.stage != chunk.stage]
    needed = [each for each in earlier if each.stage == earlier[-1].stage]
    options = _slurm(chunk, needed, at_once) if scheduler == "sbatch" else _lsf(chunk, needed, at_once)
    task = f'"$folder/{scheduler}_task.sh" "$folder/{chunk.file.name}"'
    start = f"bash {task}" if scheduler == "bsub" else task
    return ["", f"# {chunk.stage}: {len(chunk.jobs)}", f"{chunk.name}=$(submit {' '.join(options)} {start})"]


def _slurm(chunk: Chunk, needed: Sequence[Chunk], at_once: int | None) -> list[str]:
    asked = chunk.jobs[0].resources
    options = [
        f"--job-name={chunk.stage}",
        f"--array=1-{len(chunk.jobs)}{f'%{at_once}' if at_once else ''}",
        f"--cpus-per-task={asked.cpus}",
        f"--mem={math.ceil(asked.memory * 1000)}M",
        f"--time={_minutes(chunk)}",
        "--requeue",
        f"--signal=B:USR2@{NOTICE_S}",
        "--open-mode=append",
        '--output="$folder/logs/%x-%A_%a.log"',
    ]
    if chunk.stage in ON_DEVICE and asked.gpus:
        options.append(f"--gres=gpu:{asked.gpus}")
    if asked.partition:
        options.append(f"--partition={asked.partition}")
    if own := _own(chunk, needed):
        # A task whose predecessor failed can never start: SLURM is to drop it, not to keep it for ever.
        options += [f'--dependency="aftercorr:${{{own.name}}}"', "--kill-on-invalid-dep=yes"]
    elif needed:
        ids = ":".join(f"${{{each.name}}}" for each in needed)
        options.append(f'--dependency="afterany:{ids}"')
    return options


def _lsf(chunk: Chunk, needed: Sequence[Chunk], at_once: int | None) -> list[str]:
    asked = chunk.jobs[0].resources
    memory = math.ceil(asked.memory * 1000)
    options = [
        f'-J "{chunk.stage}[1-{len(chunk.jobs)}]{f"%{at_once}" if at_once else ""}"',
        f"-n {asked.cpus}",
        f'-R "span[hosts=1] rusage[mem={memory}MB]"',
        f"-M {memory}MB",
        f"-W {_minutes(chunk)}",
        f"-wa USR2 -wt {NOTICE_S // 60}",
        "-Q 99",
        '-o "$folder/logs/%J_%I.log"',
    ]
    if chunk.stage in ON_DEVICE and asked.gpus:
        memory_of = f":gmem={asked.gpu_memory:g}G" if asked.gpu_memory else ""
        options.append(f'-gpu "num={asked.gpus}:j_exclusive=yes{memory_of}"')
    if asked.partition:
        options.append(f"-q {asked.partition}")
    if own := _own(chunk, needed):
        options.append(f'-w "done(${{{own.name}}}[*])" -ti')
    elif needed:
        options.append('-w "' + " && ".join(f"ended(${{{each.name}}})" for each in needed) + '"')
    return options


def _own(chunk: Chunk, needed: Sequence[Chunk]) -> Chunk | None:
    """The array whose tasks are the predecessors of this one's, task by task."""
    if chunk.stage not in ONE_TO_ONE:
        return None
    return next((each for each in needed if each.number == chunk.number), None)


def _minutes(chunk: Chunk) -> int:
    return math.ceil(max(job.resources.time or 0.0 for job in chunk.jobs) / 60)
