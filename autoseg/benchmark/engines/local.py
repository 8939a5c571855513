"""Snakemake on this machine."""

from __future__ import annotations

from autoseg.benchmark.engine import Order
from autoseg.benchmark.jobs.devices import devices
from autoseg.benchmark.schedulers.snakemake import SnakemakeEngine


class Local(SnakemakeEngine):
    """Several jobs at once on this machine, a GPU each (Snakemake)."""

    def limits(self, order: Order) -> list[str]:
        """As many jobs as there are cores and GPUs for."""
        return ["--cores", str(order.jobs), "--resources", f"gpu={max(len(devices()), 1)}"]
