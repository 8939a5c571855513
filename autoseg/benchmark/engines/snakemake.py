"""The engines of Snakemake: the job list on this machine, SLURM, LSF or anything that takes scripts."""

from __future__ import annotations

import importlib.util
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from autoseg.benchmark.jobs.devices import devices
from autoseg.benchmark.jobs.graph import Graph
from autoseg.errors import MissingDependency, UsageError

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
STATUS_OPTION = "--slurm-status-command"
HERE = Path(__file__).parent
PLUGINS = {
    "slurm": "snakemake-executor-plugin-slurm",
    "lsf": "snakemake-executor-plugin-lsf",
    "generic": "snakemake-executor-plugin-cluster-generic",
}


def run_snakemake(
    graph: Graph,
    engine: str,
    jobs: int,
    *,
    submit: str | None = None,
    options: Sequence[str] = (),
    command: Sequence[str] = (sys.executable, "-m", "autoseg"),
) -> int:
    """Hand the job list to Snakemake and wait until it has ended.

    Args:
        graph: of the suite.
        engine: ``local``, ``slurm``, ``lsf`` or ``generic``.
        jobs: at once; on this machine also the number of cores.
        submit: for ``generic``: the command that a job's script is appended to.
        options: further arguments of Snakemake, for what a cluster wants of its own.
        command: what starts autoseg where the jobs run.

    Returns:
        Snakemake's exit status.

    Raises:
        MissingDependency: if Snakemake or its plug-in is not installed.
        UsageError: if the engine ``generic`` has no command.
    """
    arguments = [*_program(engine), *arguments_of(graph, engine, jobs, submit, command), *options]
    arguments += _status_by_squeue(engine, options)
    # A driver that was killed leaves its lock; leases keep two drivers from doing one job twice.
    log.info("%s", shlex.join(arguments))
    return _driven([sys.executable, "-c", FOLLOWING, *arguments])


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


def arguments_of(
    graph: Graph, engine: str, jobs: int, submit: str | None, command: Sequence[str]
) -> list[str]:
    """Snakemake's arguments for a job list, which is written first."""
    found = ["--snakefile", str(HERE / "Snakefile"), "--profile", str(HERE / "profiles" / engine)]
    found += [
        "--directory",
        str(graph.folder),
        "--nolock",
        "--config",
        f"jobs={graph.save()}",
        f"command={shlex.join(command)}",
    ]
    if engine == "generic":
        if not submit:
            raise UsageError(
                "The engine generic needs --submit COMMAND, which a job's script is appended to, "
                "for example --submit 'qsub -l nodes=1:ppn={threads}'."
            )
        found += ["--cluster-generic-submit-cmd", submit]
    if engine == "local":
        return [*found, "--cores", str(jobs), "--resources", f"gpu={max(len(devices()), 1)}"]
    return [*found, "--jobs", str(jobs)]


def _status_by_squeue(engine: str, options: Sequence[str]) -> list[str]:
    """Where SLURM keeps no accounts, the plug-in has to be told to ask the queue, or it waits for ever."""
    if engine != "slurm" or STATUS_OPTION in options or shutil.which("sacct") is None:
        return []
    asked = subprocess.run(["sacct", "--noheader", "--jobs=1"], capture_output=True, check=False)
    return [] if asked.returncode == 0 else [STATUS_OPTION, "squeue"]


def _program(engine: str) -> list[str]:
    own = os.environ.get(PROGRAM_VARIABLE)
    if own:
        return [own]
    if importlib.util.find_spec("snakemake") is None:
        raise MissingDependency("snakemake", "cluster", f"The engine {engine}")
    plugin = PLUGINS.get(engine)
    if plugin and importlib.util.find_spec(plugin.replace("-", "_")) is None:
        raise MissingDependency(plugin, "cluster", f"The engine {engine}")
    return [sys.executable, "-m", "snakemake"]
