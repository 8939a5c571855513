"""Two processes that train one network: as one does, to the end, and ended when one of them dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_runs import CPU, HYPERPARAMETERS, copied, differences, ending, planned_again
from torch import nn

from autoseg.data.synthetic import make_demo
from autoseg.errors import RunError, UsageError
from autoseg.nnunet import read_checkpoint
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.single_stages import train_one
from autoseg.run import Run
from autoseg.training import team, team_launch
from autoseg.training.team import Places, Team
from autoseg.training.training_run import train
from autoseg.workspace import Workspace

Place = tuple[Run, Workspace]


@pytest.fixture(autouse=True)
def _one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(team.VARIABLE, "")
    monkeypatch.setenv(team.NODES_VARIABLE, "")


def test_shares_cover_a_batch() -> None:
    for size in (1, 2, 3):
        for count in range(size, 8):
            batch = torch.arange(count)
            parts = [batch[Team(rank, size).part_of(count)] for rank in range(size)]
            assert torch.equal(torch.cat(parts), batch)
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(RunError, match="batch of 2 cannot be divided among 3 devices"):
        Team(0, 3).part_of(2)


def test_numbers_of_devices_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--devices 0"):
        team.choose(0)
    monkeypatch.setenv(team.VARIABLE, "two")
    with pytest.raises(UsageError, match="AUTOSEG_DEVICES=two"):
        team.chosen()
    with pytest.raises(UsageError, match="GPUs"):
        team_launch._check(Places(99), torch.device("cuda"))


SAME = """
import sys
import torch
from torch import nn
from autoseg.training import team
from autoseg.training.synced_norm import synchronise

rank, port, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
us = team.join(rank, 2, "127.0.0.1", port, False)
torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.InstanceNorm2d(4, affine=True),
    nn.Conv2d(4, 2, 1),
)
synchronise(network, us)
batch, target = torch.load(f"{folder}/batch.pt")
output = us.whole(network(us.share(batch)), len(batch))
# Over the batch together, as Dice is: no mean of the losses of shares gives it.
probability = output.softmax(1)[:, 1]
loss = -2 * (probability * target).sum() / (probability.sum() + target.sum())
loss.backward()
us.sum_gradients(network.parameters())
answers = us.in_turn([("batch", number) for number in us.mine_of(5)])
said = us.agreed(7.5 if rank == 0 else 1.0), us.agreed({"rank": rank}), us.agreed(rank == 0)
torch.save(
    {
        "loss": loss.detach(), "gradients": [each.grad for each in network.parameters()],
        "state": network.state_dict(), "answers": answers, "said": said,
    },
    f"{folder}/{rank}.pt",
)
team.leave()
"""


def alone(batch: torch.Tensor, target: torch.Tensor) -> tuple[Any, nn.Module]:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.InstanceNorm2d(4, affine=True),
        nn.Conv2d(4, 2, 1),
    )
    probability = network(batch).softmax(1)[:, 1]
    loss = -2 * (probability * target).sum() / (probability.sum() + target.sum())
    loss.backward()
    return loss, network


def test_two_processes_compute_the_gradients_of_one(tmp_path: Path) -> None:
    """Three samples: two for the one, one for the other."""
    batch = torch.randn(3, 1, 12, 12, generator=torch.Generator().manual_seed(1)) * 3 + 1
    target = (torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    torch.save((batch, target), tmp_path / "batch.pt")
    port = team_launch._free_port()
    running = [
        subprocess.Popen([sys.executable, "-c", SAME, str(rank), str(port), str(tmp_path)]) for rank in (0, 1)
    ]
    assert [process.wait(300) for process in running] == [0, 0]
    loss, network = alone(batch, target)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert differences(first, second) == []  # bit for bit the same in both
    torch.testing.assert_close(first["loss"], loss.detach())
    for found, parameter in zip(first["gradients"], network.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-4, atol=1e-6)
    for name, value in network.state_dict().items():  # running statistics too
        torch.testing.assert_close(first["state"][name], value, rtol=1e-5, atol=1e-6)
    assert first["answers"] == [("batch", number) for number in range(5)]
    assert first["said"] == (7.5, {"rank": 0}, True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A few small generated pictures, preprocessed, and a plan for a tiny network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        patch.setenv(team.VARIABLE, "")
        root = tmp_path_factory.mktemp("prepared")
        _, pictures = make_demo(root / "raw", cases=(1, 8))
        workspace = Workspace.locate(root)
        shortest = Settings(steps=1, small=True, device="cpu", workers=1)
        run = train_one(pictures, "nnunet:width=4", 0, workspace, shortest).run
        yield planned_again(run, workspace, "teamPlans", HYPERPARAMETERS), workspace


def logged(run: Run, name: str) -> list[float]:
    return [float(value) for value in read_checkpoint(run.final_checkpoint)["logging"][name]]


@pytest.mark.slow
def test_two_processes_train_as_one_and_go_on_when_one_was_killed(
    prepared: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSEG_FLOAT32", "1")  # rounding in bfloat16 is not the matter here
    single, place = copied(*prepared, tmp_path / "one")
    train(single, place, CPU)

    monkeypatch.setenv(team.VARIABLE, "2")
    run, workspace = copied(*prepared, tmp_path / "two")
    train(run, workspace, CPU)
    undisturbed = ending(run)
    assert undisturbed["steps"] == (12, 12, 3)
    assert files_of(run) == files_of(single)
    for name in ("train_losses", "val_losses", "mean_fg_dice"):
        assert logged(run, name) == pytest.approx(logged(single, name), abs=0.01)

    killed, workspace = copied(*prepared, tmp_path / "killed")
    with pytest.raises(RunError, match=r"Process 2 of 2 of the training was killed from outside.*goes on"):
        kill_the_second_process(killed, workspace)
    train(killed, workspace, CPU)
    assert differences(undisturbed, ending(killed)) == []


SRUN = """#!{python}
import os, subprocess, sys
count = next(int(each.split("=")[1]) for each in sys.argv if each.startswith("--ntasks="))
command = sys.argv[next(i for i, each in enumerate(sys.argv) if i and not each.startswith("-")):]
open({said!r}, "w").write(" ".join(sys.argv[1:]))
line, running = sys.stdin.readline(), []
for rank in range(count):
    own = {{**os.environ, "SLURM_PROCID": str(rank)}}
    running.append(subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=own))
    running[-1].stdin.write(line)
    running[-1].stdin.flush()
sys.exit(max(process.wait() for process in running))
"""


@pytest.mark.slow
def test_machines_of_a_slurm_job_train_together(
    prepared: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines with one device each, by a stand-in for srun that starts both here."""
    run, workspace = copied(*prepared, tmp_path / "w")
    monkeypatch.setenv(team.VARIABLE, "1")
    monkeypatch.setenv(team.NODES_VARIABLE, "2")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UsageError, match="within a job of SLURM"):
        train(run, workspace, CPU)
    program = tmp_path / "bin" / "srun"
    program.parent.mkdir()
    program.write_text(SRUN.format(python=sys.executable, said=str(tmp_path / "said.txt")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(socket, "gethostname", lambda: "127.0.0.1")
    train(run, workspace, CPU)
    assert ending(run)["steps"] == (12, 12, 3)
    assert "--nodes=2 --ntasks=2 --ntasks-per-node=1" in (tmp_path / "said.txt").read_text()
    assert not list(run.folder.glob(".devices_*"))


def files_of(run: Run) -> list[str]:
    """Names of a run's files; those of logs hold the time."""
    return sorted(path.name for path in run.folder.iterdir() if not path.name.startswith("training_log"))


def kill_the_second_process(run: Run, workspace: Workspace) -> None:
    """Train, and kill the second process once there is a checkpoint or some steps were made."""
    started = team_launch._started

    def watched(*given: Any) -> Any:
        processes = started(*given)

        def kill() -> None:
            while not (run.folder / "checkpoint_best.pth").exists():
                time.sleep(0.02)
            os.kill(processes[1].pid, signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
        return processes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(team_launch, "_started", watched)
        train(run, workspace, CPU)
