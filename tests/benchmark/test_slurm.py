"""A suite on a real SLURM of two nodes: through it, and through the loss of a job, a node and the driver."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_rig
from benchmark_data import scores_of
from slurm_rig import Rig, wait_for

from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.graph import OF_RUNS, Graph
from autoseg.data.synthetic import make_demo
from autoseg.leaderboard.records.scores import ScoreTable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(slurm_rig.missing()), reason=slurm_rig.missing()),
    pytest.mark.skipif(importlib.util.find_spec("snakemake") is None, reason="Snakemake is not installed"),
]
SUITE = """
datasets: [Dataset902_DemoUltrasound]
trainers: [nnunet]
folds: [0, 1]
budget: {steps: 60, small: true}
device: cpu
resources:
  run: {gpus: 1, cpus: 1, memory: 3GB, partition: gpu}
  prepare: {cpus: 1, memory: 2GB, partition: gpu}
"""
Scores = dict[tuple[str, str, int], ScoreTable]
# How often Snakemake looks at its jobs; the default of 40 s is meant for jobs of hours.
OFTEN = "--slurm-init-seconds-before-status-checks 2"
PATIENCE_S = 600.0


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two nodes with one fake GPU each, gone after this module."""
    found = Rig(tmp_path_factory.mktemp("slurm"))
    try:
        found.start()
        yield found
    finally:
        found.stop()
        assert found.processes() == []


class Benchmark:
    """The suite in its workspace, and the process that drives it."""

    def __init__(self, place: Path, rig: Rig) -> None:
        self.place, self.rig = place, rig
        self.suite = place / "small.yaml"
        self.suite.write_text(SUITE)
        make_demo(place / "raw", cases=(2, 8))

    @property
    def home(self) -> Path:
        """The benchmark's folder."""
        return self.place / "results" / "benchmarks" / "small"

    def forget(self, runs_only: bool) -> None:
        """Begin anew: with raw data alone, or with data that are prepared and no run."""
        if not runs_only:
            shutil.rmtree(self.place / "results")
            shutil.rmtree(self.place / "preprocessed")
            return
        for folder in (self.place / "results" / "Dataset902_DemoUltrasound", self.home / ".snakemake"):
            shutil.rmtree(folder, ignore_errors=True)
        for stage in (*OF_RUNS, "leaderboard"):
            for outcome in self.home.glob(f"*/{stage}*.json"):
                outcome.unlink()

    def start(self, engine: str = "slurm") -> subprocess.Popen[bytes]:
        """Type the command; it is the first of a group of processes."""
        options = ["--engine", engine, "--jobs", "4", "--engine-options", OFTEN] if engine != "serial" else []
        command = [sys.executable, "-m", "autoseg", "benchmark", str(self.suite)]
        place = ["--workspace", str(self.place)]
        with open(self.place / "driver.log", "ab") as log:
            return subprocess.Popen(
                [*command, *place, *options, "--quiet"],
                env=self.rig.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self, driver: subprocess.Popen[bytes], status: int = 0) -> None:
        """Wait for the driver."""
        assert driver.wait(PATIENCE_S) == status, (self.place / "driver.log").read_text()[-3000:]

    @property
    def board(self) -> Board:
        """Of what is there."""
        return Board(Graph.load(self.home / "jobs.json"))

    def training(self, number: int = 1) -> list[dict[str, str]]:
        """The leases of runs that are being trained, once there are so many."""
        found: list[dict[str, str]] = []

        def there() -> bool:
            found[:] = [
                json.loads(path.read_text() or "{}")
                for path in self.place.glob("results/*/*/fold_*/lease.json")
            ]
            logs = list(self.place.glob("results/*/*/fold_*/training_log_*.txt"))
            return len(found) >= number and len(logs) >= number

        wait_for(there, PATIENCE_S, f"{number} trainings")
        return found

    def trainings(self) -> dict[str, int]:
        """How often each fold's training was begun: nnU-Net opens a log each time."""
        folders = self.place.glob("results/Dataset*/*/fold_*")
        return {folder.name: len(list(folder.glob("training_log_*.txt"))) for folder in folders}


@pytest.fixture(scope="module")
def whole(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Benchmark, Scores]:
    """A benchmark that ended undisturbed, in one process, without SLURM; and its scores."""
    found = Benchmark(tmp_path_factory.mktemp("workspace"), rig)
    found.finish(found.start("serial"))
    return found, scores_of(found.board)


@pytest.fixture
def benchmark(whole: tuple[Benchmark, Scores]) -> Iterator[Benchmark]:
    """A benchmark that nobody has begun; its jobs are gone afterwards."""
    found, _ = whole
    found.forget(runs_only=True)
    yield found
    found.rig.ask("scancel", "--user=root")
    wait_for(lambda: not found.rig.jobs(), 60, "an empty queue")


@pytest.fixture
def undisturbed(whole: tuple[Benchmark, Scores]) -> Scores:
    """What every way has to end with."""
    return whole[1]


@pytest.mark.ci
def test_through_slurm_both_nodes_train_and_the_table_is_the_same(
    undisturbed: Scores, benchmark: Benchmark
) -> None:
    benchmark.forget(runs_only=False)
    driver = benchmark.start()
    benchmark.training(2)
    running = [job for job in benchmark.rig.jobs() if job["state"] == "RUNNING"]
    # One GPU a node: two trainings at once are on two nodes.
    assert {job["node"] for job in running} == {"n1", "n2"}
    benchmark.finish(driver)
    assert benchmark.trainings() == {"fold_0": 1, "fold_1": 1}
    assert scores_of(benchmark.board) == undisturbed
    assert benchmark.board.page.is_file()


def test_a_killed_job_is_run_once_more_and_the_other_is_left_alone(
    undisturbed: Scores, benchmark: Benchmark
) -> None:
    driver = benchmark.start()
    victim = benchmark.training(2)[0]
    os.kill(int(victim["pid"]), signal.SIGKILL)
    benchmark.finish(driver)
    assert sorted(benchmark.trainings().values()) == [1, 2]
    assert scores_of(benchmark.board) == undisturbed


@pytest.mark.ci
def test_a_dead_nodes_job_goes_to_the_other_node(undisturbed: Scores, benchmark: Benchmark) -> None:
    driver = benchmark.start()
    benchmark.training(2)
    _lose(benchmark.rig, "n2", processes=True)
    benchmark.finish(driver)
    assert sorted(benchmark.trainings().values()) == [1, 2]
    assert scores_of(benchmark.board) == undisturbed
    _bring_back(benchmark.rig, "n2")


def test_a_node_that_only_looked_dead_trains_on_and_nobody_trains_beside_it(
    undisturbed: Scores, benchmark: Benchmark
) -> None:
    driver = benchmark.start()
    benchmark.training(2)
    _lose(benchmark.rig, "n2", processes=False)
    benchmark.finish(driver)
    assert benchmark.trainings() == {"fold_0": 1, "fold_1": 1}
    assert scores_of(benchmark.board) == undisturbed
    _bring_back(benchmark.rig, "n2")


def test_a_killed_driver_goes_on_and_jobs_that_outlived_it_are_not_trained_again(
    undisturbed: Scores, benchmark: Benchmark
) -> None:
    driver = benchmark.start()
    benchmark.training(2)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    benchmark.finish(benchmark.start())
    assert benchmark.trainings() == {"fold_0": 1, "fold_1": 1}
    assert scores_of(benchmark.board) == undisturbed


def _lose(rig: Rig, node: str, processes: bool) -> None:
    """A node falls silent, the controller notices, and its job may start again at once, not in minutes."""
    (job,) = (job["id"] for job in rig.jobs() if job["node"] == node)
    rig.kill_node(node, processes)
    rig.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")
    wait_for(
        lambda: any(j["id"] == job and j["state"] == "PENDING" for j in rig.jobs()), 60, "a requeued job"
    )
    rig.ask("scontrol", "update", f"JobId={job}", "StartTime=now")


def _bring_back(rig: Rig, node: str) -> None:
    rig.start_node(node)
    rig.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
    wait_for(lambda: rig.states()[node] in ("idle", "mixed", "allocated"), 60, f"{node} to come back")
