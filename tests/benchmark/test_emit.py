"""Scripts for SLURM and LSF: valid bash, the commands that they give, and what a task does with signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autoseg.benchmark.engine import Order, engine_named
from autoseg.benchmark.jobs.graph import STAGES, Graph
from autoseg.benchmark.jobs.layout import build_graph
from autoseg.benchmark.schedulers import submit_script as emit
from autoseg.benchmark.suite.suite import Suite
from autoseg.cli.benchmark import app
from autoseg.errors import UsageError
from autoseg.workspace import Workspace

# Doubles of the schedulers' commands: they note their arguments and answer as the real ones do.
DOUBLES = {
    "sbatch": 'n=$(wc -l < "$CALLS"); echo $((100 + n))',
    "bsub": 'n=$(wc -l < "$CALLS"); echo "Job <$((100 + n))> is submitted to queue <gpu>."',
}
GPU = """
datasets: [Dataset001_A, Dataset002_B]
trainers: [nnunet, resnet34_mlp]
folds: [0, 1]
budget: {per_run: 2h}
resources:
  run: {gpus: 1, cpus: 8, memory: 32GB, gpu_memory: 10GB, partition: gpu}
  prepare: {cpus: 4, memory: 16GB, time: 90m}
"""


@pytest.fixture
def on_gpus(workspace: Workspace, suite_of: Callable[[str], Suite]) -> Graph:
    """A graph whose runs ask for a GPU."""
    return build_graph(suite_of(GPU), workspace)


def emit_script(graph: Graph, scheduler: str, **order: Any) -> str:
    """The script that an engine prints."""
    return engine_named(scheduler).run(graph, Order(**order)).script


def submitted(script: str, scheduler: str, folder: Path) -> list[str]:
    """Run a script with doubles of the scheduler's commands; their calls, one a line."""
    folder.mkdir()
    calls = folder / "calls"
    calls.touch()
    double = folder / scheduler
    double.write_text(f'#!/bin/bash\necho "$(printf "%q " "$@")" >> "$CALLS"\n{DOUBLES[scheduler]}\n')
    double.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(calls)}
    file = folder / "script.sh"
    file.write_text(script)
    subprocess.run(["bash", "-n", str(file)], check=True)
    subprocess.run(["bash", str(file)], check=True, env=environment, capture_output=True, timeout=60)
    return [line.replace("\\", "") for line in calls.read_text().splitlines()]


def test_a_script_for_slurm_submits_every_stage_after_the_one_before(on_gpus: Graph, tmp_path: Path) -> None:
    calls = submitted(emit_script(on_gpus, "sbatch", jobs=3), "sbatch", tmp_path / "bin")
    by_stage = {re.search(r"--job-name=(\w+)", call).group(1): call for call in calls}  # type: ignore[union-attr]
    assert list(by_stage) == [stage for stage in STAGES if on_gpus.of(stage)]
    train = by_stage["train"]
    for option in (
        "--array=1-8%3",
        "--gres=gpu:1",
        "--cpus-per-task=8",
        "--mem=32000M",
        "--partition=gpu",
        "--signal=B:USR2@300",
        "--requeue",
        "--dependency=afterany:106",  # the preprocessing
    ):
        assert option in train.split(), option
    # Each prediction waits for its own training only, and is dropped if that failed.
    assert "--dependency=aftercorr:107" in by_stage["predict"]
    assert "--kill-on-invalid-dep=yes" in by_stage["predict"]
    assert "--dependency=aftercorr:108" in by_stage["evaluate"] and "--gres" not in by_stage["evaluate"]
    assert "--dependency=afterany:109" in by_stage["leaderboard"]
    assert "--time=90" in by_stage["verify"].split() and "--mem=16000M" in by_stage["verify"]
    assert "--dependency" not in by_stage["import"]


def test_a_script_for_lsf_asks_for_gpus_in_its_own_way(on_gpus: Graph, tmp_path: Path) -> None:
    calls = submitted(emit_script(on_gpus, "bsub"), "bsub", tmp_path / "bin")
    by_stage = {re.search(r"-J (\w+)", call).group(1): call for call in calls}  # type: ignore[union-attr]
    assert list(by_stage) == [stage for stage in STAGES if on_gpus.of(stage)]
    train = by_stage["train"]
    for option in (
        "train[1-8]",
        "-gpu num=1:j_exclusive=yes:gmem=10G",
        "-n 8",
        "span[hosts=1] rusage[mem=32000MB]",
        "-q gpu",
        "-wa USR2 -wt 5",
        "-Q 99",
        "-w ended(106)",
    ):
        assert option in train, option
    assert "-w done(107[*]) -ti" in by_stage["predict"]
    assert "-gpu" not in by_stage["evaluate"]
    assert "-w ended(109)" in by_stage["leaderboard"]


def test_lists_hold_every_job_once_and_tasks_of_a_run_stand_in_the_same_place(on_gpus: Graph) -> None:
    emit_script(on_gpus, "sbatch")
    stages = [stage for stage in STAGES if on_gpus.of(stage)]
    lists = {stage: (on_gpus.folder / "submit" / f"{stage}_0.txt").read_text().split() for stage in stages}
    assert sorted(name for each in lists.values() for name in each) == sorted(on_gpus.by_id)
    for one, other in (("train", "predict"), ("predict", "evaluate")):
        strip = [[name.partition("-")[2] for name in lists[stage]] for stage in (one, other)]
        assert strip[0] == strip[1]


def test_large_stages_become_several_arrays(
    on_gpus: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emit, "LARGEST_ARRAY", 3)
    calls = submitted(emit_script(on_gpus, "sbatch"), "sbatch", tmp_path / "bin")
    trains = [call for call in calls if "--job-name=train" in call]
    assert [re.search(r"--array=(\S+)", call).group(1) for call in trains] == ["1-3", "1-3", "1-2"]  # type: ignore[union-attr]
    predicts = [call for call in calls if "--job-name=predict" in call]
    assert len({re.search(r"aftercorr:(\d+)", call).group(1) for call in predicts}) == 3  # type: ignore[union-attr]
    (board,) = (call for call in calls if "--job-name=leaderboard" in call)
    assert re.search(r"afterany:\d+:\d+:\d+ ", board)


def test_another_scheduler_is_refused() -> None:
    done = CliRunner().invoke(app, ["benchmark", "any.yaml", "--emit", "qsub"])
    assert isinstance(done.exception, UsageError) and "sbatch or bsub" in str(done.exception)


PROGRAM = """
import signal, sys, time
stop = []
signal.signal(signal.SIGUSR2, lambda *_: stop.append(1))
print(*sys.argv[1:], flush=True)
began = time.monotonic()
while not stop and time.monotonic() - began < float(sys.argv[1]):
    time.sleep(0.02)
time.sleep(0.3)
sys.exit(130 if stop else 0)
"""


@pytest.mark.parametrize(
    ("scheduler", "index"), [("sbatch", "SLURM_ARRAY_TASK_ID"), ("bsub", "LSB_JOBINDEX")]
)
@pytest.mark.parametrize("stopped", [False, True])
def test_a_task_hands_signals_on_waits_and_is_queued_again(
    on_gpus: Graph, tmp_path: Path, scheduler: str, index: str, stopped: bool
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    emit_script(on_gpus, scheduler, command=(sys.executable, str(program), "20" if stopped else "0"))
    task = on_gpus.folder / "submit" / f"{scheduler}_task.sh"
    subprocess.run(["bash", "-n", str(task)], check=True)
    requeued = tmp_path / "requeued"
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/bash\necho "$@" > {requeued}\n')
    scontrol.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        index: "2",
        "SLURM_ARRAY_JOB_ID": "7",
    }
    process = subprocess.Popen(
        ["bash", str(task), "list.txt"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = process.stdout.readline()
    assert f"benchmark-job {on_gpus.folder / 'jobs.json'} 2 --of list.txt" in told
    if stopped:
        time.sleep(0.1)
        process.send_signal(signal.SIGUSR2)
    code = process.wait(timeout=30)
    if not stopped:
        assert code == 0 and not requeued.exists()
    elif scheduler == "sbatch":
        assert code == 130 and requeued.read_text().split() == ["requeue", "7_2"]
    else:
        assert code == 99
