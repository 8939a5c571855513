"""The engines that a benchmark can run on: names and what they are, importing nothing."""

from __future__ import annotations

from typing import NamedTuple


class Engine(NamedTuple):
    """One way to run a benchmark's jobs.

    Attributes:
        about: what it does.
        needs: what has to be installed or given besides autoseg; empty: nothing.
    """

    about: str
    needs: str = ""


EXTRA = "autoseg[cluster]"
ENGINES = {
    "serial": Engine("one job after the other in this process; several may walk one suite at once"),
    "local": Engine("several jobs at once on this machine, a GPU each (Snakemake)", EXTRA),
    "slurm": Engine("one SLURM job a run (Snakemake)", EXTRA),
    "lsf": Engine("one LSF job a run (Snakemake)", EXTRA),
    "generic": Engine("any scheduler with a command that submits a script (Snakemake)", f"{EXTRA}, --submit"),
}
