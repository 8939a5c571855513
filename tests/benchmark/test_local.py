"""The engine in this process: order, restarts, failures that stay where they are, and several at once."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark_data import SUITE

from autoseg.benchmark.engines.serial import run_local
from autoseg.benchmark.jobs.board import Board, JobState, ready
from autoseg.benchmark.jobs.graph import Graph, Job
from autoseg.benchmark.jobs.layout import build_graph
from autoseg.benchmark.jobs.run_job import Impossible, run_job
from autoseg.benchmark.jobs.single import run_single
from autoseg.benchmark.jobs.standings import records
from autoseg.benchmark.status.status import Status, dry_run
from autoseg.benchmark.suite.suite import Suite
from autoseg.errors import DataError, RunError
from autoseg.system.lease import Lease
from autoseg.workspace import Workspace

OF_DATASETS = ("import", "verify", "fingerprint", "plan")


def of_run(job: Job) -> bool:
    """Whether a job is of a run, not looked at again by every walk."""
    return job.stage not in (*OF_DATASETS, "leaderboard")


def test_all_jobs_run_once_and_in_order(graph: Graph, pretend: dict[str, Any]) -> None:
    summary = run_local(graph)
    assert pretend["ran"] == [job.id for job in graph.jobs]
    assert (summary.done, summary.failed, summary.blocked) == (len(graph.jobs), 0, 0)


def test_a_second_walk_looks_at_the_data_sets_and_runs_nothing(graph: Graph, pretend: dict[str, Any]) -> None:
    run_local(graph)
    pretend["ran"].clear()
    assert run_local(graph).run == 0
    assert {graph.job(name).stage for name in pretend["ran"]} == set(OF_DATASETS)


def test_what_changed_upstream_is_run_again_and_nothing_else(graph: Graph, pretend: dict[str, Any]) -> None:
    run_local(graph)
    pretend["ran"].clear()
    board, plan = Board(graph), next(job for job in graph.of("plan") if "001" in job.dataset)
    changed = board.read(plan)
    assert changed is not None
    board.write(dataclasses.replace(changed, result={"folds": "others"}))
    fit = next(job for job in graph.of("fit") if "001" in job.dataset)
    assert board.states()[fit.id].state == "waiting"
    assert all(state.state == "done" for name, state in board.states().items() if "002" in name)


def test_a_suite_that_grew_has_its_leaderboard_to_do_again(
    graph: Graph, pretend: dict[str, Any], workspace: Workspace, suite_of: Callable[[str], Suite]
) -> None:
    run_local(graph)
    larger = build_graph(suite_of(SUITE.replace("nnunet,", "nnunet, unet,")), workspace)
    states = Board(larger).states()
    assert states["leaderboard"].state == "waiting"
    assert sum(state.state == "done" for state in states.values()) >= len(graph.of("train")) * 3
    run_local(larger)
    assert Board(larger).states()["leaderboard"].state == "done"


def test_one_failed_run_stops_only_itself(graph: Graph, pretend: dict[str, Any]) -> None:
    pretend["raise"]["train-Dataset001_A-brainunet"] = ValueError("out of memory")
    summary = run_local(graph)
    states = Board(graph).states()
    failed = [name for name, state in states.items() if state.state == "failed"]
    assert sorted(failed) == sorted(job.id for job in graph.of("train") if "001_A-brainunet" in job.id)
    # Their predictions and evaluations wait; all else and the leaderboard are done.
    assert (summary.failed, summary.blocked) == (2, 4)
    assert states["leaderboard"].state == "done"
    assert "ValueError: out of memory" in states[failed[0]].reason


def test_a_plan_that_fails_or_is_impossible_leaves_the_others_their_data(
    graph: Graph, pretend: dict[str, Any]
) -> None:
    pretend["raise"]["fit-Dataset001_A-brainunet"] = RuntimeError("no device")
    pretend["raise"]["fit-Dataset001_A-resnet34_mlp"] = Impossible("2D only")
    run_local(graph)
    status = Status.of(Board(graph))
    found = {(each.cell.dataset, each.cell.trainer): each for each in status.cells}
    assert found["Dataset001_A", "nnunet"].state == "done"
    assert found["Dataset001_A", "brainunet"].state == "failed"
    assert found["Dataset001_A", "brainunet"].stage == "fit"
    # An engine that goes by files finds one for the plan that failed, until it is to be tried again.
    board = Board(graph)
    failed = next(job for job in graph.of("fit") if "001_A-brainunet" in job.id)
    assert board.outcome_of(failed).is_file()
    assert board.forget_failures() == 1
    assert not board.outcome_of(failed).is_file()
    assert all(each.state == "done" for (dataset, _), each in found.items() if "002" in dataset)


def test_a_data_set_with_errors_stops_only_itself_and_its_rows_say_so(
    graph: Graph, pretend: dict[str, Any]
) -> None:
    pretend["raise"]["verify-Dataset001_A"] = DataError("three cases have no label. Add them.")
    summary = run_local(graph)
    assert summary.failed == 1
    board = Board(graph)
    assert not [name for name in pretend["ran"] if "preprocess-Dataset001_A" in name]
    first = {name: state for name, state in board.states().items() if "001_A" in name}
    rows = records(
        board, {**board.states(), **{name: JobState("waiting") for name in graph.by_id if name not in first}}
    )
    assert len(rows) == 6
    assert {(row.status, row.reason) for row in rows} == {("failed", "three cases have no label. Add them.")}


def test_failed_jobs_wait_until_they_are_to_be_tried_again(graph: Graph, pretend: dict[str, Any]) -> None:
    pretend["raise"]["train-Dataset001_A-nnunet"] = RunError("the disk is full. Make room.")
    run_local(graph)
    pretend["raise"].clear()
    assert run_local(graph).failed == 2
    pretend["ran"].clear()
    summary = run_local(graph, retry_failed=True)
    assert (summary.failed, summary.blocked, summary.done) == (0, 0, len(graph.jobs))
    again = [name for name in pretend["ran"] if of_run(graph.job(name))]
    assert len(again) == 2 * 3


def test_an_interrupt_keeps_what_is_finished_and_fails_nothing(graph: Graph, pretend: dict[str, Any]) -> None:
    pretend["raise"]["train-Dataset001_A-brainunet"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_local(graph)
    states = Board(graph).states()
    assert not [state for state in states.values() if state.state in ("failed", "running")]
    finished = [name for name, state in states.items() if state.state == "done" and of_run(graph.job(name))]
    pretend["raise"].clear()
    pretend["ran"].clear()
    run_local(graph)
    assert not set(finished) & set(pretend["ran"])


def test_a_schedulers_signal_interrupts_a_job_and_its_lease_is_released(
    graph: Graph, pretend: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoseg.benchmark.jobs import run_job as stages

    def wait(_: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(5)
        return {}

    monkeypatch.setitem(stages.WORK, "verify", wait)
    before = signal.getsignal(signal.SIGUSR2)
    board, job = Board(graph), graph.of("verify")[0]
    with pytest.raises(KeyboardInterrupt):
        run_job(board, job)
    assert board.read(job) is None
    assert not board.lease_of(job).exists()
    assert signal.getsignal(signal.SIGUSR2) is before


def walk(jobs: Path, barrier: Any, results: Any) -> None:
    """One of several processes that walk the same benchmark."""
    from autoseg.benchmark.jobs import run_job as stages

    ran: list[str] = []

    def play(work: Any) -> dict[str, Any]:
        ran.append(work.job.id)
        time.sleep(0.01)
        return {"id": work.job.id}

    for stage in (
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
        stages.WORK[stage] = play
    stages.WORK["leaderboard"] = play
    barrier.wait()
    run_local(Graph.load(jobs))
    results.put(ran)


def test_several_processes_share_the_work_and_none_does_anothers(graph: Graph) -> None:
    path, number = graph.save(), 3
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(number), context.Queue()
    walkers = [context.Process(target=walk, args=(path, barrier, results)) for _ in range(number)]
    for walker in walkers:
        walker.start()
    ran = [results.get(timeout=60) for _ in walkers]
    for walker in walkers:
        walker.join()
    runs = [name for each in ran for name in each if of_run(graph.job(name))]
    assert len(runs) == len(set(runs)) == sum(map(of_run, graph.jobs))
    assert all(state.state == "done" for state in Board(graph).states().values())


def test_a_job_that_another_process_runs_is_shown_and_left_alone(
    graph: Graph, pretend: dict[str, Any]
) -> None:
    board, job = Board(graph), graph.of("import")[0]
    elsewhere = Lease(board.lease_of(job))
    with elsewhere:
        assert board.states()[job.id].state == "running"
        summary = run_local(graph)
    assert not [name for name in pretend["ran"] if "Dataset001_A" in name]
    assert summary.elsewhere == 1


def test_a_single_job_waits_for_the_process_that_is_at_it(graph: Graph, pretend: dict[str, Any]) -> None:
    board, job = Board(graph), graph.of("import")[0]
    outcome = run_single(board, job)
    board.outcome_of(job).unlink()
    elsewhere = Lease(board.lease_of(job))
    elsewhere.__enter__()

    def finish() -> None:
        board.write(outcome)
        elsewhere.release()

    threading.Timer(0.5, finish).start()
    pretend["ran"].clear()
    assert run_job(board, job, wait_s=30).result == outcome.result
    assert pretend["ran"] == []


def test_a_single_job_is_refused_before_its_turn(graph: Graph, pretend: dict[str, Any]) -> None:
    board, job = Board(graph), graph.of("train")[0]
    assert not ready(job, board.states())
    with pytest.raises(RunError, match="which is waiting"):
        run_single(board, job)
    for each in graph.jobs:
        run_single(board, each)
    assert all(state.state == "done" for state in board.states().values())


def test_the_dry_run_tells_the_whole_graph(graph: Graph, pretend: dict[str, Any]) -> None:
    text = dry_run(Status.of(Board(graph)))
    assert "12 cells, 55 jobs" in text
    assert "Dataset002_B  resnet34_mlp  fold 0, 1  60 s each" in text
    assert "fit, preprocess" in text
    run_local(graph)
    (train,) = (line for line in dry_run(Status.of(Board(graph))).splitlines() if line.startswith("train"))
    assert train.split()[1:3] == ["12", "0"]
