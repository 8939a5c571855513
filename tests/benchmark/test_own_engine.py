"""An engine that lies outside autoseg takes a suite to its leaderboard, from a file and from a package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmark_data import SUITE
from typer.testing import CliRunner, Result

from autoseg import plugins
from autoseg.benchmark.engine import engine_named
from autoseg.cli.benchmark import app
from autoseg.cli.catalogue import entries
from autoseg.errors import UsageError
from autoseg.workspace import Workspace

BACKWARDS = '''"""An engine of my own."""

from autoseg.benchmark import Engine, Graph, Order, Ran, run_single
from autoseg.benchmark.jobs.board import Board, ready


class Backwards(Engine):
    """Of the jobs that may run, the last of the list first."""

    needs = "patience"

    def run(self, graph: Graph, order: Order) -> Ran:
        graph.save()
        board = Board(graph)
        if order.retry_failed:
            board.forget_failures()
        while waiting := [job for job in graph.jobs if ready(job, board.states())]:
            run_single(board, waiting[-1], order.workers)
        return Ran()
'''


@pytest.fixture
def typed(tmp_path: Path, workspace: Workspace, pretend: dict[str, Any]) -> Any:
    """`autoseg benchmark` with an engine."""
    pretend["results"]["evaluate"] = {"record": "none"}
    (tmp_path / "test.yaml").write_text(SUITE)

    def run(engine: str) -> Result:
        command = ["benchmark", str(tmp_path / "test.yaml"), "--engine", engine, "--quiet", "--json"]
        return CliRunner().invoke(app, [*command, "--workspace", str(workspace.raw.parent)])

    return run


def test_a_file_runs_a_suite(typed: Any, tmp_path: Path, pretend: dict[str, Any]) -> None:
    file = tmp_path / "backwards.py"
    file.write_text(BACKWARDS)
    done = typed(str(file))
    assert done.exit_code == 0, done.output
    assert len(pretend["ran"]) == 55 and pretend["ran"][-1] == "leaderboard"
    # Backwards indeed: the second data set's runs are done before the first's are begun.
    fits = [name for name in pretend["ran"] if name.startswith("fit-")]
    assert fits[0].startswith("fit-Dataset002_B") and fits[-1].startswith("fit-Dataset001_A")
    pretend["ran"].clear()
    assert typed("serial").exit_code == 0
    assert not [name for name in pretend["ran"] if name.startswith(("train", "predict", "evaluate"))]


def test_an_installed_one_goes_by_its_name(typed: Any, pretend: dict[str, Any], install: Any) -> None:
    install({"outside_engine": BACKWARDS}, {"autoseg.engines": {"backwards": "outside_engine:Backwards"}})
    assert typed("backwards").exit_code == 0
    assert len(pretend["ran"]) == 55
    (row,) = (row for row in entries("engines") if row["name"] == "backwards")
    assert row["about"] == "Of the jobs that may run, the last of the list first"
    assert (row["needs"], row["from"]) == ("patience", "outside 1.2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Mute(Engine):\n    def run(self, graph, order): ...\n", "engine Mute has no docstring"),
        ('class Idle(Engine):\n    """Does nothing."""\n', r"has no engine.*Idle lacks run"),
        ("x = 1\n", r"has no engine. Write a class that is derived from autoseg.benchmark.Engine"),
    ],
)
def test_what_a_file_lacks_is_said_when_it_is_read(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "engine.py"
    file.write_text(f"from autoseg.benchmark import Engine\n{text}")
    with pytest.raises(UsageError, match=message):
        engine_named(str(file))


def test_every_engine_tells_what_it_does() -> None:
    rows = {row["name"]: row for row in entries("engines")}
    assert set(rows) >= {"serial", "local", "slurm", "lsf", "generic", "sbatch", "bsub"}
    assert set(plugins.available("engines")) == set(rows)
    assert all(row["about"] and row["from"] == "autoseg" for row in rows.values())
    with pytest.raises(UsageError, match=r"no engine named 'pbs'. Choose one of bsub"):
        engine_named("pbs")
