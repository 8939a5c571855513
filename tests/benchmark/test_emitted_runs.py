"""The scripts for sbatch and bsub, run with stand-ins that start every task: all jobs come to be done."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmark_data import PROGRAM, make_raw

from autoseg.benchmark.engine import Order, engine_named
from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.layout import build_graph
from autoseg.benchmark.suite.suite import Suite
from autoseg.workspace import Workspace

# What the schedulers do with an array, one task after the other; the last two arguments are script and list.
DOUBLES = {
    "sbatch": """
for word in "$@"; do case $word in --array=*) last=${word#--array=1-}; last=${last%%%*};; esac; done
script=${@: -2:1}; list=${@: -1}
for n in $(seq "$last"); do SLURM_ARRAY_TASK_ID=$n bash "$script" "$list" >&2 || exit 1; done
echo 101
""",
    "bsub": """
while [ $# -gt 3 ]; do [ "$1" = -J ] && { last=${2##*1-}; last=${last%%]*}; }; shift; done
for n in $(seq "$last"); do LSB_JOBINDEX=$n "$@" >&2 || exit 1; done
echo "Job <101> is submitted to queue <normal>."
""",
}
TEXT = """
datasets: ["{name}"]
trainers: [nnunet]
folds: [0]
budget: {{steps: 10}}
device: cpu
resources: {{run: {{gpus: 0}}, prepare: {{cpus: 1}}}}
"""


@pytest.mark.parametrize("scheduler", DOUBLES)
@pytest.mark.parametrize("name", ["Dataset003_Plain", "Dataset003_two words é"])
def test_every_job_of_an_emitted_script_is_done(
    tmp_path: Path, suite_of: Callable[[str], Suite], scheduler: str, name: str
) -> None:
    workspace = Workspace.locate(tmp_path / "work space $HOME 'x'")
    make_raw(workspace.raw, name)
    graph = build_graph(suite_of(TEXT.format(name=name)), workspace)
    script = engine_named(scheduler).run(graph, Order(command=PROGRAM)).script
    double = tmp_path / "bin" / scheduler
    double.parent.mkdir()
    double.write_text(f"#!/bin/bash\n{DOUBLES[scheduler]}")
    double.chmod(0o755)
    file = tmp_path / "script.sh"
    file.write_text(script)
    environment = {
        **os.environ,
        "PATH": f"{double.parent}:{os.environ['PATH']}",
        "PRETEND_LOG": str(tmp_path / "log"),
        "AUTOSEG_WORKSPACE": str(tmp_path / "elsewhere"),
    }
    done = subprocess.run(["bash", str(file)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    states = {job: state.state for job, state in Board(graph).states().items()}
    assert set(states.values()) == {"done"}, states
    assert sorted((tmp_path / "log").read_text().split("\n")[:-1]) == sorted(states)
