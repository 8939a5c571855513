"""Snakemake's plug-in for LSF."""

from __future__ import annotations

from autoseg.benchmark.schedulers.snakemake import SnakemakeEngine


class Lsf(SnakemakeEngine):
    """One LSF job a run (Snakemake)."""

    plugin = "snakemake-executor-plugin-lsf"
