"""Races of suites: what may be said of them, and how they stand in the job graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark_data import SUITE

from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.graph import Graph, Job
from autoseg.benchmark.jobs.layout import build_graph
from autoseg.benchmark.suite.model import Racing
from autoseg.benchmark.suite.suite import Suite
from autoseg.errors import RunError, UsageError
from autoseg.racing.race import Rules
from autoseg.workspace import Workspace

Parse = Callable[[str], Suite]


def test_the_rules_of_a_suite_are_those_of_a_race(suite_of: Parse) -> None:
    assert not suite_of(SUITE).race
    assert suite_of(SUITE + "race: true\n").racing.rules == Rules()
    given = suite_of(SUITE + "race: {rungs: [0.15, 0.35], freed: save, ties: stop}\n").racing.rules
    assert given == Rules(rungs=(0.15, 0.35), freed="save", ties="stop")
    capped = suite_of(SUITE + "race: {cap: 0.35, freed: save}\n").racing.rules
    assert capped == Rules(cap=0.35, freed="save")
    assert Racing(**Racing(steep=0.5).model_dump()).rules == Rules(steep=0.5)


@pytest.mark.parametrize(
    "text",
    [
        *("race: {rungs: [0.9]}", "race: {rungs: [0.4, 0.2]}", "race: {freed: burn}", "race: {speed: 3}"),
        *("race: 3x", "race: {cap: 0.4}", "race: {cap: 40, freed: save}"),
    ],
)
def test_what_is_no_rule_is_refused(suite_of: Parse, text: str) -> None:
    with pytest.raises(UsageError, match="race"):
        suite_of(SUITE + text + "\n")


def test_one_job_races_all_runs_of_a_data_set(workspace: Workspace, suite_of: Parse) -> None:
    graph = build_graph(suite_of(SUITE + "race: {freed: save}\n"), workspace)
    races = graph.of("race")
    assert [job.dataset for job in races] == ["Dataset001_A", "Dataset002_B"]
    for race in races:
        waiting = [job for job in graph.of("train") if race.id in job.needs]
        assert len(waiting) == 6 and {job.dataset for job in waiting} == {race.dataset}
        assert {graph.by_id[need].stage for need in race.needs} == {"fit", "preprocess"}
        assert race.seconds > 6 * 60 and race.given["freed"] == "save"
    written = Graph.load(graph.save())
    assert Racing(**written.of("race")[0].given).rules == Rules(freed="save")


def test_a_race_needs_one_time_for_all(workspace: Workspace, suite_of: Parse) -> None:
    with pytest.raises(UsageError, match="budget"):
        build_graph(
            suite_of(SUITE.replace("budget: {per_run: 60s}", "epochs: 3") + "race: true\n"), workspace
        )


def test_a_run_is_what_the_race_made_of_it(workspace: Workspace, suite_of: Parse, tmp_path: Path) -> None:
    from autoseg.benchmark.jobs.board import Outcome
    from autoseg.benchmark.jobs.run_job import _Work

    graph = build_graph(suite_of(SUITE + "race: true\n"), workspace)
    board, race = Board(graph), graph.of("race")[0]
    first, second, third, *_ = (job for job in graph.of("train") if race.id in job.needs)
    for fit in graph.of("fit"):
        board.write(Outcome(fit.id, "done", result={"plans": {}, "device": "cpu"}))
    runs: dict[str, Any] = {
        first.run.key: {"status": "partial", "reason": "dropped", "record": "a/record.jsonl"},
        second.run.key: {"status": "failed", "reason": "no memory left", "record": None},
    }

    def raced(job: Job) -> Any:
        return _Work(board, job, 1).raced()

    with pytest.raises(RunError, match="not run"):
        raced(first)
    board.write(Outcome(race.id, "done", result={"race": "race.json", "runs": runs}))
    assert raced(first)["record"] == "a/record.jsonl"
    with pytest.raises(RunError, match="no memory left"):
        raced(second)
    with pytest.raises(RunError, match="no part"):
        raced(third)
    plain = build_graph(suite_of(SUITE), workspace)
    assert _Work(Board(plain), plain.of("train")[0], 1).raced() is None
