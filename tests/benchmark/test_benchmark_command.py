"""`autoseg benchmark` as it is typed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from benchmark_data import SUITE
from typer.testing import CliRunner, Result

from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.graph import Graph
from autoseg.cli.benchmark import app
from autoseg.data.synthetic import make_demo
from autoseg.errors import UsageError
from autoseg.workspace import Workspace


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    """The file of the suite that the fixture `graph` is of."""
    path = tmp_path / "test.yaml"
    path.write_text(SUITE)
    return path


def type_(*arguments: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=True)


def root_of(place: Workspace) -> Path:
    """What `--workspace` is given."""
    return place.raw.parent


def test_a_dry_run_runs_nothing(suite_file: Path, workspace: Workspace, pretend: dict[str, Any]) -> None:
    done = type_("benchmark", suite_file, "--dry-run", "--workspace", root_of(workspace))
    assert done.exit_code == 0, done.output
    assert "12 cells, 55 jobs" in done.stdout
    assert pretend["ran"] == []
    shown = json.loads(
        type_("benchmark", suite_file, "--dry-run", "--json", "--workspace", root_of(workspace)).stdout
    )
    assert len(shown["graph"]) == 55
    assert {"id", "stage", "needs", "inputs", "outputs", "resources", "seconds"} <= set(shown["graph"][0])


def test_status_retry_and_a_json_object_on_standard_output(
    suite_file: Path, workspace: Workspace, pretend: dict[str, Any]
) -> None:
    common = ("benchmark", suite_file, "--workspace", root_of(workspace), "--json", "--quiet")
    pretend["raise"]["train"] = RuntimeError("no luck")
    ended = type_(*common)
    assert ended.exit_code == 1 and "error: 12 of 12 runs have no result" in ended.stderr
    first = json.loads(ended.stdout)
    assert first["jobs"]["failed"] == 12
    assert {cell["reason"] for cell in first["cells"]} == {"RuntimeError: no luck"}
    # Every cell is a row that says so.
    assert {row["status"] for row in first["leaderboard"]["rows"]} == {"failed"}
    assert len(first["leaderboard"]["rows"]) == 6
    pretend["raise"].clear()
    assert json.loads(type_(*common, "--status").stdout)["jobs"]["failed"] == 12
    assert pretend["ran"].count(next(name for name in pretend["ran"] if name.startswith("train"))) == 1


def test_one_job_by_id_and_by_its_place_in_a_list(
    suite_file: Path, graph: Graph, pretend: dict[str, Any], tmp_path: Path
) -> None:
    jobs, listed = graph.save(), tmp_path / "list.txt"
    assert type_("benchmark-job", jobs, graph.jobs[0].id, "--quiet").exit_code == 0
    listed.write_text("\n".join(job.id for job in graph.jobs))
    assert type_("benchmark-job", jobs, "2", "--of", listed, "--quiet").exit_code == 0
    assert pretend["ran"] == [graph.jobs[0].id, graph.jobs[1].id]
    pretend["raise"]["fingerprint"] = RuntimeError("no luck")
    assert type_("benchmark-job", jobs, "3", "--of", listed, "--quiet").exit_code == 1
    assert Board(graph).states()[graph.jobs[2].id].state == "failed"


def test_a_script_goes_to_standard_output(suite_file: Path, workspace: Workspace, tmp_path: Path) -> None:
    done = type_("benchmark", suite_file, "--emit", "bsub", "--jobs", "2", "--workspace", root_of(workspace))
    script = tmp_path / "script.sh"
    script.write_text(done.stdout)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "train[1-12]%2" in done.stdout


def test_what_is_wrong_is_said(suite_file: Path, workspace: Workspace) -> None:
    done = type_("benchmark", suite_file, "--engine", "cloud", "--workspace", root_of(workspace))
    assert isinstance(done.exception, UsageError) and "slurm" in str(done.exception)
    done = type_("benchmark", suite_file, "--dataset", "99", "--workspace", root_of(workspace))
    assert isinstance(done.exception, UsageError) and "99" in str(done.exception)


REAL = """
datasets: [Dataset901_DemoMR, Dataset902_DemoUltrasound]
trainers: [resnet34_mlp]
folds: 0
budget: {per_run: 15s}
device: cpu
include: [{datasets: Dataset902_DemoUltrasound, trainers: nnunet, configuration: 3d_fullres}]
resources: {run: {gpus: 0, cpus: 1}, prepare: {cpus: 1}}
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_real_benchmark_ends_with_a_row_for_every_cell(tmp_path: Path) -> None:
    make_demo(tmp_path / "raw", cases=(5, 6))
    suite = tmp_path / "real.yaml"
    suite.write_text(REAL)
    common = ("benchmark", suite, "--workspace", tmp_path, "--json", "--quiet")
    found = json.loads(type_(*common).stdout)
    states = {(cell["dataset"], cell["trainer"]): cell["state"] for cell in found["cells"]}
    assert states == {
        ("Dataset901_DemoMR", "resnet34_mlp"): "done",
        ("Dataset902_DemoUltrasound", "resnet34_mlp"): "done",
        ("Dataset902_DemoUltrasound", "nnunet"): "impossible",
    }
    rows = {(row["dataset"], row["trainer"]): row for row in found["leaderboard"]["rows"]}
    assert rows["Dataset902_DemoUltrasound", "nnunet"]["status"] == "impossible"
    assert rows["Dataset902_DemoUltrasound", "resnet34_mlp"]["dice"] > 0.2
    assert Path(found["leaderboard"]["page"]).is_file()
    assert list(tmp_path.glob("results/*/*/fold_0/lease.json")) == []
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.pth")}
    assert len(times) == 2
    again = json.loads(type_(*common).stdout)
    assert again["cells"] == found["cells"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.pth")} == times
