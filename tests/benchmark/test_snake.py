"""The engines of Snakemake, where it is installed (here, or AUTOSEG_SNAKEMAKE names the program)."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import pytest
from benchmark_data import PROGRAM, ran, snakemake_is_there

from autoseg.benchmark.engine import Order, engine_named
from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.graph import Graph
from autoseg.benchmark.schedulers import snakemake as snake
from autoseg.errors import MissingDependency, UsageError


def test_without_snakemake_the_message_says_what_to_install(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_named("slurm")
    monkeypatch.delenv(snake.PROGRAM_VARIABLE, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match=r"autoseg-medical\[cluster\]"):
        engine.run(graph, Order(4))


def test_every_engine_has_its_profile_and_arguments(graph: Graph) -> None:
    for engine in ("local", "slurm", "lsf", "generic"):
        arguments = engine_named(engine).arguments(graph, Order(7, submit="qsub"))
        profile = Path(arguments[arguments.index("--profile") + 1])
        assert (profile / "config.yaml").is_file()
        assert "7" in arguments
        assert arguments[arguments.index("--directory") + 1] == str(graph.folder)
    with pytest.raises(UsageError, match="--submit"):
        engine_named("generic").arguments(graph, Order())


@snakemake_is_there
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_snakemake_runs_the_list_and_a_failure_stops_only_what_needs_it(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("PRETEND_LOG", str(log))
    monkeypatch.setenv("PRETEND_FAIL", "train-Dataset001_A-brainunet")
    assert engine_named("local").run(graph, Order(2, command=PROGRAM)).exit_status != 0
    states = Board(graph).states()
    assert Counter(state.state for state in states.values()) == {"done": 49, "failed": 2, "blocked": 4}
    assert states["leaderboard"].state == "done"
    failed = [name for name, state in states.items() if state.state == "failed"]
    # Tried twice in their allocation, then left.
    assert {ran(log)[name] for name in failed} == {2}
    monkeypatch.setenv("PRETEND_FAIL", "")
    assert engine_named("local").run(graph, Order(2, command=PROGRAM)).exit_status == 0
    assert all(state.state == "done" for state in Board(graph).states().values())
    done = [name for name in ran(log) if name not in failed and name != "leaderboard"]
    assert {ran(log)[name] for name in done} == {1}
    before = ran(log)
    assert engine_named("local").run(graph, Order(2, command=PROGRAM)).exit_status == 0
    assert ran(log) == before


@pytest.mark.parametrize(
    ("sacct", "engine", "given", "added"),
    [
        ("exit 1", "slurm", [], ["--slurm-status-command", "squeue"]),
        ("exit 0", "slurm", [], []),
        ("exit 1", "slurm", ["--slurm-status-command", "sacct"], []),
        ("exit 1", "local", [], []),
    ],
)
def test_a_slurm_without_accounts_is_asked_for_its_queue(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sacct: str,
    engine: str,
    given: list[str],
    added: list[str],
) -> None:
    (tmp_path / "sacct").write_text(f"#!/bin/sh\n{sacct}\n")
    (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert engine_named(engine).arguments_of_plugin(Order(options=tuple(given))) == added
