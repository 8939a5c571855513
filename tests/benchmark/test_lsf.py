"""The engine LSF, through doubles of its commands: what is asked for, and a whole suite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark_data import PROGRAM, ran, snakemake_is_there

from autoseg.benchmark.engines.serial import run_local
from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.graph import OF_RUNS, Graph
from autoseg.benchmark.jobs.layout import build_graph
from autoseg.benchmark.suite.suite import Suite
from autoseg.workspace import Workspace

# bsub notes how it was called and starts the job; bjobs says how each stands; bkill ends one by its process.
DOUBLES = {
    "bsub": """
n=$(($(wc -l < "$LSF_HOME/calls") + 101))
echo "$(printf "%q " "$@")" >> "$LSF_HOME/calls"
command="${@: -1}"
echo "$n RUN" >> "$LSF_HOME/states"
(
  LSB_JOBID=$n setsid bash -c "$command" > "$LSF_HOME/$n.log" 2>&1 &
  echo $! > "$LSF_HOME/$n.pid"
  if wait $!; then echo "$n DONE"; else echo "$n EXIT"; fi >> "$LSF_HOME/states"
) < /dev/null > /dev/null 2>&1 &
echo "Job <$n> is submitted to queue <gpu>."
""",
    "bjobs": "awk '{ state[$1] = $2 } END { for (n in state) print n, state[n] }' \"$LSF_HOME/states\"\n",
    "bkill": """
echo "$@" >> "$LSF_HOME/killed"
for n in "$@"; do kill -- "-$(cat "$LSF_HOME/$n.pid")"; done
""",
    "lsclusters": "printf 'CLUSTER_NAME STATUS\\nrig ok\\n'\n",
    "badmin": (
        'printf "head\\nLSB_SHAREDIR = $LSF_HOME\\nLSF_CONFDIR = $LSF_HOME\\n"\n'
        'echo "LSF_UNIT_FOR_LIMITS = MB"\n'
    ),
}
ONE_RUN = """
datasets: [Dataset001_A]
trainers: [nnunet]
folds: [0]
budget: {per_run: 2h}
device: cpu
resources:
  run: {gpus: 1, cpus: 2, memory: 8GB, partition: gpu, gpu_memory: 10GB, time: 3h}
  prepare: {cpus: 4, memory: 4GB, partition: long}
"""
DRIVER = """
import os, sys
from pathlib import Path
from autoseg.benchmark.jobs.graph import Graph
from autoseg.benchmark.engine import Order, engine_named
order = Order(4, command=tuple(sys.argv[2:]))
sys.exit(engine_named("lsf").run(Graph.load(Path(sys.argv[1])), order).exit_status)
"""


@pytest.fixture
def lsf(tmp_path: Path) -> Path:
    """The folder of LSF's doubles, and of what they noted."""
    folder = tmp_path / "lsf"
    folder.mkdir()
    for name, text in DOUBLES.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    parameters = folder / "lsbatch" / "rig" / "configdir" / "lsb.params"
    parameters.parent.mkdir(parents=True)
    parameters.write_text("DEFAULT_QUEUE = normal\n")
    for name in ("calls", "states", "killed"):
        (folder / name).touch()
    return folder


@pytest.fixture
def one_run(workspace: Workspace, suite_of: Callable[[str], Suite]) -> Graph:
    """A graph of one training on a GPU."""
    return build_graph(suite_of(ONE_RUN), workspace)


def drive(graph: Graph, lsf: Path, **more: str) -> subprocess.Popen[str]:
    """The driver of a graph, where LSF's commands are doubles and autoseg's stages do nothing."""
    own = {"PATH": f"{lsf}:{os.environ['PATH']}", "LSF_HOME": str(lsf), "LSB_PROJECT": "none"}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(graph.save()), *PROGRAM],
        env={**os.environ, **own, "PRETEND_LOG": str(lsf / "ran"), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def calls(lsf: Path) -> dict[str, str]:
    """What bsub was called with, by the first stage of the job."""
    lines = (lsf / "calls").read_text().replace("\\", "").splitlines()
    return {line.partition("rule_stage_")[2].partition(":")[0]: line for line in lines}


@snakemake_is_there
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_whole_suite_goes_through_lsf_and_each_job_asks_for_what_it_needs(
    one_run: Graph, lsf: Path
) -> None:
    driver = drive(one_run, lsf)
    told, _ = driver.communicate(timeout=500)
    assert driver.returncode == 0, told
    assert all(state.state == "done" for state in Board(one_run).states().values())
    assert dict(ran(lsf / "ran")) == {job.id: 1 for job in one_run.jobs}
    found = calls(lsf)
    # Stages that follow each other on one machine are one job; the leaderboard waits in no queue.
    assert set(found) == {"import", "fit", "preprocess", "train"}
    for part in ("-gpu num=1:j_exclusive=yes:gmem=10G", "-q gpu", "-W 180", "-n 2", "rusage[mem="):
        assert part in found["train"], part
    for part in ("-q long", "-n 4", "rusage[mem="):
        assert part in found["preprocess"], part
    assert "-gpu" not in found["preprocess"] and "-gpu" in found["fit"]
    # Its time is an estimate: of the four stages together.
    assert "-W 240" in found["import"]


@snakemake_is_there
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_interrupted_driver_takes_its_jobs_back(
    one_run: Graph, lsf: Path, pretend: dict[str, Any]
) -> None:
    run_local(one_run)
    train, board = one_run.of("train")[0], Board(one_run)
    for stage in (*OF_RUNS, "leaderboard"):
        for job in one_run.of(stage):
            board.outcome_of(job).unlink()
    driver = drive(one_run, lsf, PRETEND_WAIT=train.id)
    until = time.monotonic() + 240
    while train.id not in ran(lsf / "ran") and time.monotonic() < until:
        time.sleep(0.2)
    driver.send_signal(signal.SIGINT)
    told, _ = driver.communicate(timeout=240)
    assert driver.returncode != 0
    assert (lsf / "killed").read_text().split() == ["101"], told
    lease = board.lease_of(train)
    until = time.monotonic() + 30
    while lease.exists() and time.monotonic() < until:
        time.sleep(0.2)
    # The job was told to end, ended as after Ctrl-C, and is to be run again.
    assert not lease.exists()
    assert board.states()[train.id].state == "waiting"
