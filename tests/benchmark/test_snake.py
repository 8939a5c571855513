"""The engines of Snakemake, where it is installed (here, or AUTOSEG_SNAKEMAKE names the program)."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from autoseg.benchmark import snake
from autoseg.benchmark.board import Board
from autoseg.benchmark.graph import Graph
from autoseg.benchmark.local import run_local
from autoseg.benchmark.snake import arguments_of, run_snakemake
from autoseg.errors import MissingDependency, UsageError

PROGRAM = (sys.executable, str(Path(__file__).with_name("pretend_program.py")))
there = pytest.mark.skipif(
    not os.environ.get(snake.PROGRAM_VARIABLE) and importlib.util.find_spec("snakemake") is None,
    reason="Snakemake is not installed, and AUTOSEG_SNAKEMAKE names none",
)


def ran(log: Path) -> Counter[str]:
    """How often each job ran."""
    return Counter(log.read_text().split()) if log.is_file() else Counter()


def test_without_snakemake_the_message_says_what_to_install(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(snake.PROGRAM_VARIABLE, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match=r"autoseg\[cluster\]"):
        run_snakemake(graph, "slurm", 4)


def test_every_engine_has_its_profile_and_arguments(graph: Graph) -> None:
    for engine in ("local", "slurm", "lsf", "generic"):
        arguments = arguments_of(graph, engine, 7, "qsub", PROGRAM)
        profile = Path(arguments[arguments.index("--profile") + 1])
        assert (profile / "config.yaml").is_file()
        assert "7" in arguments
        assert arguments[arguments.index("--directory") + 1] == str(graph.folder)
    with pytest.raises(UsageError, match="--submit"):
        arguments_of(graph, "generic", 1, None, PROGRAM)


@there
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_snakemake_runs_the_list_and_a_failure_stops_only_what_needs_it(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("PRETEND_LOG", str(log))
    monkeypatch.setenv("PRETEND_FAIL", "train-Dataset001_A-brainunet")
    assert run_snakemake(graph, "local", 2, command=PROGRAM) != 0
    states = Board(graph).states()
    assert Counter(state.state for state in states.values()) == {"done": 49, "failed": 2, "blocked": 4}
    assert states["leaderboard"].state == "done"
    failed = [name for name, state in states.items() if state.state == "failed"]
    # Tried twice in their allocation, then left.
    assert {ran(log)[name] for name in failed} == {2}
    monkeypatch.setenv("PRETEND_FAIL", "")
    assert run_snakemake(graph, "local", 2, command=PROGRAM) == 0
    assert all(state.state == "done" for state in Board(graph).states().values())
    done = [name for name in ran(log) if name not in failed and name != "leaderboard"]
    assert {ran(log)[name] for name in done} == {1}
    before = ran(log)
    assert run_snakemake(graph, "local", 2, command=PROGRAM) == 0
    assert ran(log) == before


# Doubles of LSF's commands: bsub runs the job at once and notes how it was called; bjobs knows how it ended.
DOUBLES = {
    "bsub": """
n=$(($(wc -l < "$LSF_CALLS") + 101))
echo "$(printf "%q " "$@")" >> "$LSF_CALLS"
bash -c "${@: -1}" > "$LSF_CALLS.log" 2>&1 && state=DONE || state=EXIT
echo "$n $state" >> "$LSF_CALLS.states"
echo "Job <$n> is submitted to queue <gpu>."
""",
    "bjobs": 'cat "$LSF_CALLS.states" 2>/dev/null || true\n',
    "lsclusters": "printf 'CLUSTER_NAME STATUS\\nrig ok\\n'\n",
    "badmin": (
        'printf "head\\nLSB_SHAREDIR = $LSF_HOME\\nLSF_CONFDIR = $LSF_HOME\\n"\n'
        'echo "LSF_UNIT_FOR_LIMITS = MB"\n'
    ),
}


def lsf_in(folder: Path) -> dict[str, str]:
    """An environment in which LSF's commands are doubles."""
    for name, text in DOUBLES.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    parameters = folder / "lsbatch" / "rig" / "configdir" / "lsb.params"
    parameters.parent.mkdir(parents=True)
    parameters.write_text("DEFAULT_QUEUE = normal\n")
    (folder / "calls").touch()
    own = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "LSF_HOME": str(folder),
        "LSF_CALLS": str(folder / "calls"),
    }
    return {**os.environ, **own, "LSB_PROJECT": "none", "PRETEND_LOG": str(folder / "ran")}


@there
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_lsf_is_asked_for_what_a_training_needs(
    graph: Graph, tmp_path: Path, pretend: dict[str, Any]
) -> None:
    asked = {"gpus": 1, "cpus": 2, "memory": 8.0, "partition": "gpu", "gpu_memory": 10.0, "time": 7200.0}
    jobs = tuple(
        dataclasses.replace(job, resources=job.resources.model_copy(update=asked))
        if job.stage == "train"
        else job
        for job in graph.jobs
    )
    graph = Graph(graph.suite, graph.workspace, jobs)
    run_local(graph)
    board, job = Board(graph), graph.of("train")[0]
    board.outcome_of(job).unlink()
    folder = tmp_path / "lsf"
    folder.mkdir()
    done = subprocess.run(
        [*_program(), job.outcome, *arguments_of(graph, "lsf", 1, None, PROGRAM)],
        env=lsf_in(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert ran(folder / "ran") == {job.id: 1}
    (call,) = (folder / "calls").read_text().replace("\\", "").splitlines()
    for part in ("-gpu num=1:j_exclusive=yes:gmem=10G", "-q gpu", "-W 120", "-n 2", "rusage[mem="):
        assert part in call, part


def _program() -> list[str]:
    own = os.environ.get(snake.PROGRAM_VARIABLE)
    return [own] if own else [sys.executable, "-m", "snakemake"]
