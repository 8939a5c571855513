"""Snakemake's plug-in for SLURM."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from autoseg.benchmark.engine import Order
from autoseg.benchmark.schedulers.snakemake import SnakemakeEngine

STATUS_OPTION = "--slurm-status-command"


class Slurm(SnakemakeEngine):
    """One SLURM job a run (Snakemake)."""

    plugin = "snakemake-executor-plugin-slurm"

    def arguments_of_plugin(self, order: Order) -> list[str]:
        """How to see what became of a job."""
        return status_by_squeue(order.options)


def status_by_squeue(options: Sequence[str]) -> list[str]:
    """Options for a SLURM without accounts: the plug-in reads the queue, or it would wait for ever."""
    if STATUS_OPTION in options or shutil.which("sacct") is None:
        return []
    answer = subprocess.run(["sacct", "--noheader", "--jobs=1"], capture_output=True, check=False)
    return [] if answer.returncode == 0 else [STATUS_OPTION, "squeue"]
