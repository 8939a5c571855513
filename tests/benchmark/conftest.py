"""What the tests of benchmarks share: tiny raw data sets, suites, and jobs that do nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark_data import SUITE, make_raw

from autoseg.benchmark.jobs import run_job as stages
from autoseg.benchmark.jobs.graph import Graph
from autoseg.benchmark.jobs.layout import build_graph
from autoseg.benchmark.suite.suite import Suite, parse_suite
from autoseg.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with two data sets."""
    place = Workspace.locate(tmp_path / "workspace")
    for name in ("Dataset001_A", "Dataset002_B"):
        make_raw(place.raw, name)
    return place


@pytest.fixture
def suite_of(tmp_path: Path) -> Callable[[str], Suite]:
    """A suite from its text."""
    return lambda text: parse_suite(text, tmp_path / "test.yaml")


@pytest.fixture
def graph(workspace: Workspace, suite_of: Callable[[str], Suite]) -> Graph:
    """The graph of a suite of two data sets, three trainers and two folds."""
    return build_graph(suite_of(SUITE), workspace)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace what every stage does; the dictionary says what jobs raise, by a part of their id.

    Under ``ran`` it collects the ids of jobs that were run.
    """
    control: dict[str, Any] = {"ran": [], "raise": {}, "results": {}}

    def play(work: Any) -> dict[str, Any]:
        control["ran"].append(work.job.id)
        for part, problem in control["raise"].items():
            if part in work.job.id:
                raise problem
        return dict(control["results"].get(work.job.stage, {"id": work.job.id}))

    for name in (
        "import",
        "verify",
        "fingerprint",
        "plan",
        "fit",
        "preprocess",
        "train",
        "predict",
        "evaluate",
    ):
        monkeypatch.setitem(stages.WORK, name, play)
    monkeypatch.setitem(stages.WORK, "leaderboard", play)
    return control
