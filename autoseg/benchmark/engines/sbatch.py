"""A script for SLURM."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoseg.benchmark.jobs.graph import ON_DEVICE
from autoseg.benchmark.schedulers.submit_script import NOTICE_S, Chunk, ScriptEngine, minutes, own_array


class Sbatch(ScriptEngine):
    """Prints a script that submits all to SLURM, in job arrays."""

    index = "SLURM_ARRAY_TASK_ID"
    again = """if [ "$stopped" = 1 ] && [ "$code" != 0 ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi"""
    submission = 'submit() { sbatch --parsable "$@"; }'

    def options(self, chunk: Chunk, needed: Sequence[Chunk], at_once: int | None) -> list[str]:
        """SLURM's options for an array."""
        resources = chunk.jobs[0].resources
        options = [
            f"--job-name={chunk.stage}",
            f"--array=1-{len(chunk.jobs)}{f'%{at_once}' if at_once else ''}",
            f"--cpus-per-task={resources.cpus}",
            f"--mem={math.ceil(resources.memory * 1000)}M",
            f"--time={minutes(chunk)}",
            "--requeue",
            f"--signal=B:USR2@{NOTICE_S}",
            "--open-mode=append",
            '--output="$folder/logs/%x-%A_%a.log"',
        ]
        if chunk.stage in ON_DEVICE and resources.gpus:
            options.append(f"--gres=gpu:{resources.gpus}")  # of each machine
        if chunk.stage == "train" and resources.nodes > 1:
            options.append(f"--nodes={resources.nodes}")
        if resources.partition:
            options.append(f"--partition={resources.partition}")
        if own := own_array(chunk, needed):
            # A task whose predecessor failed can never start: SLURM is to drop it, not to keep it for ever.
            options += [f'--dependency="aftercorr:${{{own.name}}}"', "--kill-on-invalid-dep=yes"]
        elif needed:
            ids = ":".join(f"${{{each.name}}}" for each in needed)
            options.append(f'--dependency="afterany:{ids}"')
        return options
