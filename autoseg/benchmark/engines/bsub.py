"""A script for LSF."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoseg.benchmark.jobs.graph import ON_DEVICE
from autoseg.benchmark.schedulers.submit_script import NOTICE_S, Chunk, ScriptEngine, minutes, own_array


class Bsub(ScriptEngine):
    """Prints a script that submits all to LSF, in job arrays."""

    index = "LSB_JOBINDEX"
    # LSF queues it again by its exit value, see -Q.
    again = """if [ "$stopped" = 1 ] && [ "$code" != 0 ]; then code=99; fi"""
    # The id is in a sentence: Job <123> is submitted to queue <normal>.
    submission = "submit() { bsub \"$@\" | sed -n 's/^Job <\\([0-9]*\\)>.*/\\1/p'; }"
    starter = "bash "

    def options(self, chunk: Chunk, needed: Sequence[Chunk], at_once: int | None) -> list[str]:
        """LSF's options for an array."""
        resources = chunk.jobs[0].resources
        memory = math.ceil(resources.memory * 1000)
        options = [
            f'-J "{chunk.stage}[1-{len(chunk.jobs)}]{f"%{at_once}" if at_once else ""}"',
            f"-n {resources.cpus}",
            f'-R "span[hosts=1] rusage[mem={memory}MB]"',
            f"-M {memory}MB",
            f"-W {minutes(chunk)}",
            f"-wa USR2 -wt {NOTICE_S // 60}",
            "-Q 99",
            '-o "$folder/logs/%J_%I.log"',
        ]
        if chunk.stage in ON_DEVICE and resources.gpus:
            memory_of = f":gmem={resources.gpu_memory:g}G" if resources.gpu_memory else ""
            options.append(f'-gpu "num={resources.gpus}:j_exclusive=yes{memory_of}"')
        if resources.partition:
            options.append(f"-q {resources.partition}")
        if own := own_array(chunk, needed):
            options.append(f'-w "done(${{{own.name}}}[*])" -ti')
        elif needed:
            options.append('-w "' + " && ".join(f"ended(${{{each.name}}})" for each in needed) + '"')
        return options
