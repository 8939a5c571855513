"""One suite through two engines: equal scores of every case, to the last digit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmark_data import scores_of, snakemake_is_there

from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.graph import Graph
from autoseg.data.synthetic import make_demo

SMALL = """
datasets: [Dataset902_DemoUltrasound]
trainers: nnunet
folds: [0, 1]
budget: {steps: 20, small: true}
device: cpu
resources: {run: {gpus: 0, cpus: 1, memory: 2GB}, prepare: {cpus: 1, memory: 2GB}}
"""


def run(suite: Path | str, workspace: Path, *options: str) -> Board:
    """A benchmark as it is typed, in a process of its own."""
    subprocess.run(
        [sys.executable, "-m", "autoseg", "benchmark", str(suite), "--workspace", str(workspace), *options],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (jobs,) = workspace.glob("results/benchmarks/*/jobs.json")
    return Board(Graph.load(jobs))


@snakemake_is_there
@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.timeout(600)
def test_in_process_and_through_snakemake_the_scores_are_equal(tmp_path: Path) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text(SMALL)
    for engine in ("serial", "local"):
        make_demo(tmp_path / engine / "raw", cases=(2, 8))
    alone = run(suite, tmp_path / "serial", "--quiet")
    snakemake = run(suite, tmp_path / "local", "--quiet", "--engine", "local", "--jobs", "2")
    assert len(scores_of(alone)) == 2
    assert scores_of(snakemake) == scores_of(alone)
    assert snakemake.page.is_file() and snakemake.progress_page.is_file()


@snakemake_is_there
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_smoke_on_real_data_ends_in_process_and_through_snakemake_with_equal_scores(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    names = ("Dataset004_Hippocampus", "Dataset018_FetalHead")
    given = [part for name in names for part in ("--dataset", str(shared_data(name)))]
    alone = run("smoke", tmp_path / "serial", *given, "--quiet")
    snakemake = run("smoke", tmp_path / "local", *given, "--quiet", "--engine", "local", "--jobs", "2")
    assert len(scores_of(alone)) == 16
    assert scores_of(snakemake) == scores_of(alone)
    assert alone.page.is_file() and snakemake.page.is_file()
