"""A training that is killed at any moment and resumed ends with the weights of one that was not."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_runs import (
    CPU,
    EPOCHS,
    HYPERPARAMETERS,
    STEPS_PER_EPOCH,
    at_step,
    at_the_rename,
    before_the_checkpoint,
    copied,
    die,
    differences,
    ending,
    in_the_file,
    killed,
    planned_again,
    save_every_steps,
)

from autoseg.data.synthetic import make_demo
from autoseg.errors import RunError
from autoseg.nnunet import read_checkpoint
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.single_stages import train_one
from autoseg.run import LATEST, PREVIOUS, Run
from autoseg.training.training_run import train
from autoseg.workspace import Workspace

Place = tuple[Run, Workspace]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """OpenMP's threads do not live on in a forked process, which would wait for them for ever."""
    given = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(given)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A few small generated pictures, preprocessed, and a plan for a tiny network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        root = tmp_path_factory.mktemp("prepared")
        _, pictures = make_demo(root / "raw", cases=(1, 8))
        workspace = Workspace.locate(root)
        shortest = Settings(steps=1, small=True, device="cpu", workers=1)
        run = train_one(pictures, "nnunet:width=4", 0, workspace, shortest).run
        return planned_again(run, workspace, "killedPlans", HYPERPARAMETERS), workspace


@pytest.fixture(scope="module")
def undisturbed(prepared: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the training ends with that nobody stops."""
    run, workspace = copied(*prepared, tmp_path_factory.mktemp("undisturbed") / "w")
    train(run, workspace, CPU)
    return ending(run)


@pytest.fixture
def place(prepared: Place, tmp_path: Path) -> Place:
    """The run in a workspace of its own."""
    return copied(*prepared, tmp_path / "w")


KILLS = {
    "before the first checkpoint": at_step(2, die),
    "in the middle of an epoch": at_step(7, die),
    "at the end of an epoch": at_step(8, die),
    "in the last step": at_step(EPOCHS * STEPS_PER_EPOCH - 1, die),
    "in the second checkpoint": in_the_file(LATEST, 2),
    "in a best checkpoint": in_the_file("checkpoint_best_2.pth", 1),
    "in the final checkpoint": in_the_file("checkpoint_final.pth", 1),
    "between two renames": at_the_rename(2),
    "between list and checkpoint": before_the_checkpoint(4),
}


@pytest.mark.parametrize("arrange", KILLS.values(), ids=KILLS)
def test_killed_and_resumed_it_ends_as_if_undisturbed(
    place: Place, undisturbed: dict[str, Any], arrange: Callable[[Any], None]
) -> None:
    run, workspace = place
    assert killed(run, workspace, arrange) == -signal.SIGKILL
    assert not run.final_checkpoint.exists()
    train(run, workspace, CPU)
    assert differences(undisturbed, ending(run)) == []
    assert undisturbed["steps"] == (12, 12, 3)
    assert [row["step"] for row in undisturbed["progress"]] == ["4", "8", "12"]
    left = {path.name for path in run.folder.iterdir()}
    assert not {LATEST, PREVIOUS} & left and not any(name.startswith(".") for name in left)


def test_averaged_weights_are_never_lost(prepared: Place, tmp_path: Path) -> None:
    run, workspace = prepared
    averaged = {"schedule": "poly", "best_checkpoints": 0, "ema_decay": 0.9}
    run = planned_again(run, workspace, "averagedPlans", averaged)
    whole, there = copied(run, workspace, tmp_path / "whole")
    train(whole, there, CPU)
    run, workspace = copied(run, workspace, tmp_path / "killed")
    for number in (5, 8, EPOCHS * STEPS_PER_EPOCH - 1):
        assert killed(run, workspace, at_step(number, die)) == -signal.SIGKILL
    latest = read_checkpoint(run.latest_checkpoint)
    kept = latest["init_args"]["autoseg"]["average"]
    assert kept["count"] == latest["init_args"]["autoseg"]["steps"] > 0
    assert differences(kept["weights"], dict(latest["network_weights"])) != []
    train(run, workspace, CPU)
    assert differences(ending(whole), ending(run)) == []


def test_killed_again_and_again(place: Place, undisturbed: dict[str, Any]) -> None:
    run, workspace = place
    for number in (4, 7, 10):
        assert killed(run, workspace, at_step(number, die)) == -signal.SIGKILL
    train(run, workspace, CPU)
    assert differences(undisturbed, ending(run)) == []


def test_terminated_it_stops_between_two_steps_and_goes_on(
    place: Place, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, workspace = place
    with monkeypatch.context() as patch:
        at_step(6, lambda _: os.kill(os.getpid(), signal.SIGTERM))(patch.setattr)
        with pytest.raises(KeyboardInterrupt):
            train(run, workspace, CPU)
    assert read_checkpoint(run.latest_checkpoint)["init_args"]["autoseg"]["steps"] == 6
    train(run, workspace, CPU)
    assert differences(undisturbed, ending(run)) == []


def flipped(path: Path) -> None:
    """One bit in the middle, which torch itself does not find."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flipped, cut, emptied])
def test_the_checkpoint_before_a_damaged_one_is_gone_on_from(
    place: Place,
    undisturbed: dict[str, Any],
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run, workspace = place
    assert killed(run, workspace, at_step(8, die)) == -signal.SIGKILL
    damage(run.latest_checkpoint)
    with caplog.at_level(logging.INFO, "autoseg"):
        train(run, workspace, CPU)
    assert f"{LATEST} cannot be read" in caplog.text
    assert f"goes on from the checkpoint before it, {PREVIOUS}" in caplog.text
    assert "goes on after step 3" in caplog.text
    assert differences(undisturbed, ending(run)) == []


def test_where_both_are_damaged_nothing_is_overwritten(place: Place) -> None:
    run, workspace = place
    assert killed(run, workspace, at_step(8, die)) == -signal.SIGKILL
    files = [run.folder / name for name in (LATEST, PREVIOUS)]
    for path in files:
        cut(path)
    before = [path.read_bytes() for path in files]
    with pytest.raises(RunError, match=f"{LATEST} and {PREVIOUS} cannot be read"):
        train(run, workspace, CPU)
    assert [path.read_bytes() for path in files] == before


class FullDisk:
    """A disk without room for checkpoints of some name."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str) -> None:
        self.given, self.name, self.full, self.failures = torch.save, name, True, 0
        patch.setattr(torch, "save", self)

    def __call__(self, content: Any, path: Any, *more: Any) -> None:
        if not self.full or not Path(path).name.endswith(self.name):
            return self.given(content, path, *more)
        self.failures += 1
        Path(path).write_bytes(b"half a check")
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_reported_and_the_training_goes_on(
    place: Place,
    undisturbed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run, workspace = place
    save_every_steps(monkeypatch.setattr, 3)
    disk = FullDisk(monkeypatch, LATEST)
    train(run, workspace, CPU)
    assert disk.failures == 3
    assert caplog.text.count("could not be written: the disk is full") == 3
    assert differences(undisturbed, ending(run)) == []


def test_where_the_final_checkpoint_finds_no_room_the_last_good_one_stands(
    place: Place, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, workspace = place
    save_every_steps(monkeypatch.setattr, 3)
    disk = FullDisk(monkeypatch, "checkpoint_final.pth")
    with pytest.raises(RunError, match=r"the disk is full.*type the command again"):
        train(run, workspace, CPU)
    assert read_checkpoint(run.latest_checkpoint)["init_args"]["autoseg"]["steps"] == 9
    assert not list(run.folder.glob(".*"))
    disk.full = False
    train(run, workspace, CPU)
    assert differences(undisturbed, ending(run)) == []
