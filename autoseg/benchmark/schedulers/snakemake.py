"""What the engines of Snakemake share: the program, its arguments, and an end when the driver ends."""

from __future__ import annotations

import importlib.util
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from autoseg.benchmark.engine import EXTRA, Engine, Order, Ran
from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.graph import Graph
from autoseg.benchmark.status.watch import Watch
from autoseg.errors import MissingDependency

log = logging.getLogger(__name__)

# Snakemake pins packages that others need newer: it may live in an environment of its own.
PROGRAM_VARIABLE = "AUTOSEG_SNAKEMAKE"
# Starts a program that ends when this process is killed: two drivers would submit everything twice.
FOLLOWING = """
import ctypes, os, sys
try:
    ctypes.CDLL(None).prctl(1, 9)
except (AttributeError, OSError):
    pass
os.execvp(sys.argv[1], sys.argv[1:])
"""
HERE = Path(__file__).parent


class SnakemakeEngine(Engine):
    """Hands the job list to Snakemake and waits until it has ended.

    Attributes:
        plugin: the package of Snakemake's executor; empty: none is needed.
        profile: Snakemake's profile, a folder; None: the one named as the engine is.
    """

    needs = EXTRA
    plugin: ClassVar[str] = ""
    profile: ClassVar[Path | None] = None

    def run(self, graph: Graph, order: Order) -> Ran:
        """Run all jobs; see `Engine.run`."""
        arguments = [*self._program(), *self.arguments(graph, order), *order.options]
        if order.retry_failed:
            Board(graph).forget_failures()
        # A driver that was killed leaves its lock; leases keep two drivers from doing one job twice.
        log.info("%s", shlex.join(arguments))
        with Watch(graph):
            return Ran(_driven([sys.executable, "-c", FOLLOWING, *arguments]))

    def arguments(self, graph: Graph, order: Order) -> list[str]:
        """Snakemake's arguments for a job list, which is written first.

        Raises:
            UsageError: if the order lacks what the engine needs.
        """
        own = self.arguments_of_plugin(order)
        profile = self.profile or HERE / "profiles" / self.name
        return [
            *("--snakefile", str(HERE / "Snakefile"), "--profile", str(profile)),
            *("--directory", str(graph.folder), "--nolock"),
            *("--config", f"jobs={graph.save()}", f"command={shlex.join(order.command)}"),
            *own,
            *self.limits(order),
        ]

    def arguments_of_plugin(self, order: Order) -> list[str]:
        """Arguments for Snakemake's executor."""
        return []

    def limits(self, order: Order) -> list[str]:
        """How much may run at once."""
        return ["--jobs", str(order.jobs)]

    def _program(self) -> list[str]:
        own = os.environ.get(PROGRAM_VARIABLE)
        if own:
            return [own]
        for package in filter(None, ("snakemake", self.plugin)):
            if importlib.util.find_spec(package.replace("-", "_")) is None:
                raise MissingDependency(package, "cluster", f"The engine {self.name}")
        return [sys.executable, "-m", "snakemake"]


def _driven(command: Sequence[str]) -> int:
    """Run Snakemake to its end; an interrupt lets it take back its jobs, a second one ends it at once.

    It is in a group of its own, or the terminal would interrupt it too, which then counts as the second one.
    """
    process = subprocess.Popen(command, process_group=0)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        try:
            process.wait()
        except KeyboardInterrupt:
            process.kill()
        raise
