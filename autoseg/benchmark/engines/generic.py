"""Snakemake's plug-in for any scheduler that takes scripts."""

from __future__ import annotations

from autoseg.benchmark.engine import EXTRA, Order
from autoseg.benchmark.schedulers.snakemake import SnakemakeEngine
from autoseg.errors import UsageError


class Generic(SnakemakeEngine):
    """Any scheduler with a command that submits a script (Snakemake)."""

    needs = f"{EXTRA}, --submit"
    plugin = "snakemake-executor-plugin-cluster-generic"

    def arguments_of_plugin(self, order: Order) -> list[str]:
        """The command that submits.

        Raises:
            UsageError: if there is none.
        """
        if not order.submit:
            raise UsageError(
                "The engine generic needs --submit COMMAND, which a job's script is appended to, "
                "for example --submit 'qsub -l nodes=1:ppn={threads}'."
            )
        return ["--cluster-generic-submit-cmd", order.submit]
