"""The best checkpoints of a training: which are kept, and what a stop at a bad moment leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.errors import UsageError
from autoseg.nnunet import read_checkpoint
from autoseg.run import BEST_CHECKPOINTS, LATEST, PREVIOUS, predicting_checkpoints
from autoseg.system.files import read_json
from autoseg.training import best_checkpoints as _best
from autoseg.training.best_checkpoints import BestCheckpoints
from autoseg.training.saving import Saving


class Bare:
    """What nnU-Net's trainer does at the same moments, as far as it matters."""

    def on_train_start(self) -> None:
        pass

    def on_validation_epoch_end(self, outputs: list[float]) -> None:
        self.losses.append(outputs[0])

    def save_checkpoint(self, filename: str) -> None:
        state = {"network_weights": self._bare_network().state_dict(), "current_epoch": self.current_epoch}
        torch.save({**state, "init_args": self.my_init_kwargs}, filename)

    def on_train_end(self) -> None:
        self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_final.pth"))

    losses: list[float]
    current_epoch: int
    output_folder: str
    my_init_kwargs: dict[str, Any]
    _bare_network: Any


class Training(Saving, BestCheckpoints, Bare):
    """A network whose only weight says how many epochs it has seen."""

    def __init__(self, folder: Path, count: int, epoch: int = 0, resumed: str | None = None) -> None:
        self.output_folder, self.best_checkpoints, self.current_epoch = str(folder), count, epoch
        self.network = torch.nn.Linear(1, 1, bias=False)
        self.losses = []
        self.logger = SimpleNamespace(get_value=lambda key, step: self.losses[step])
        self.local_rank, self.disable_checkpointing, self.mirrored_prediction = 0, False, False
        self.inference_allowed_mirroring_axes = (0, 1)
        self.my_init_kwargs = {"configuration": "2d", "autoseg": {"steps": 3}}
        self.plateau, self.elapsed_s, self.steps_done = None, 0.0, 0
        self.epoch_state, self.steps_state, self.seen_state, self.average_state = list, dict, dict, dict
        if resumed is not None:
            self.load_best(read_checkpoint(folder / resumed)["init_args"]["autoseg"])
        self.on_train_start()

    def _bare_network(self) -> torch.nn.Module:
        return self.network

    def validate(self, losses: Sequence[float]) -> None:
        for loss in losses:
            torch.nn.init.constant_(self.network.weight, float(self.current_epoch))
            self.on_validation_epoch_end([loss])
            self.current_epoch += 1

    def save(self) -> None:
        self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_latest.pth"))


def epochs(folder: Path) -> list[float]:
    """The epochs that the weights on disk are from, best first."""
    return [float(read_checkpoint(p)["network_weights"]["weight"]) for p in predicting_checkpoints(folder)]


def kept_files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("checkpoint_best_*.pth")}


@settings(max_examples=25, deadline=None)
@given(
    losses=st.lists(st.floats(0, 10), min_size=1, max_size=12, unique=True),
    count=st.integers(1, 4),
    save_after=st.sets(st.integers(0, 11)),
)
def test_the_lowest_losses_are_kept_whenever_it_is_saved(
    tmp_path_factory: pytest.TempPathFactory, losses: list[float], count: int, save_after: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("fold")
    training = Training(folder, count)
    for index, loss in enumerate(losses):
        training.validate([loss])
        if index in save_after:
            training.save()
    training.on_train_end()
    expected = sorted(range(len(losses)), key=losses.__getitem__)[:count]
    assert epochs(folder) == expected
    assert kept_files(folder) == {path.name for path in predicting_checkpoints(folder)}
    final = read_checkpoint(folder / "checkpoint_final.pth")["network_weights"]["weight"]
    assert float(final) == expected[0]


def test_a_resumed_training_goes_on_with_the_list_of_its_checkpoint(tmp_path: Path) -> None:
    first = Training(tmp_path, 2)
    first.validate([5.0, 1.0, 3.0])
    first.save()
    first.validate([0.5])  # killed before it is saved: the training that resumes never saw it
    assert epochs(tmp_path) == [1, 2]
    second = Training(tmp_path, 2, epoch=3)
    second.validate([4.0, 2.0])
    second.on_train_end()
    assert epochs(tmp_path) == [1, 4]


def test_a_training_that_starts_again_from_nothing_has_an_empty_list(tmp_path: Path) -> None:
    stopped = Training(tmp_path, 2)
    stopped.validate([1.0, 2.0])
    stopped.save()
    again = Training(tmp_path, 2)
    assert not (tmp_path / BEST_CHECKPOINTS).exists()
    again.validate([9.0])
    again.on_train_end()
    assert epochs(tmp_path) == [0]
    assert len(kept_files(tmp_path)) == 1


def test_killed_while_writing_the_list_on_disk_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(tmp_path, 2)
    training.validate([3.0, 2.0])
    training.save()
    before = read_json(tmp_path / BEST_CHECKPOINTS)
    training.validate([1.0])
    monkeypatch.setattr(_best, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        training.save()
    monkeypatch.undo()
    assert read_json(tmp_path / BEST_CHECKPOINTS) == before
    assert epochs(tmp_path) == [1, 0]
    resumed = Training(tmp_path, 2, epoch=2)
    resumed.validate([0.5])
    resumed.on_train_end()
    assert epochs(tmp_path) == [2, 1]
    assert kept_files(tmp_path) == {path.name for path in predicting_checkpoints(tmp_path)}


def test_killed_between_list_and_checkpoint_it_goes_on_with_the_list_of_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list newer than the checkpoint would hold weights of epochs that are yet to come, and lack others."""
    first = Training(tmp_path, 2)
    first.validate([2.0, 3.0])
    first.save()
    first.validate([1.0])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_best.BestCheckpoints, "best_state", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        first.save()
    assert epochs(tmp_path) == [2, 0], "the list on disk is ahead of the checkpoint"
    second = Training(tmp_path, 2, epoch=2, resumed=LATEST)
    second.validate([1.0, 0.5])
    second.save()
    assert epochs(tmp_path) == [3, 2]
    second.on_train_end()
    assert epochs(tmp_path) == [3, 2]
    assert kept_files(tmp_path) == {path.name for path in predicting_checkpoints(tmp_path)}


def test_what_the_checkpoint_before_the_latest_names_stays(tmp_path: Path) -> None:
    first = Training(tmp_path, 1)
    for loss in (3.0, 2.0, 1.0):
        first.validate([loss])
        first.save()
    assert len(kept_files(tmp_path)) == 2, "of the latest and of the one before, not of the first"
    (tmp_path / LATEST).write_bytes(b"damaged")
    second = Training(tmp_path, 1, epoch=2, resumed=PREVIOUS)
    second.validate([4.0])
    second.on_train_end()
    assert epochs(tmp_path) == [1]
    assert len(kept_files(tmp_path)) == 1


def test_fewer_are_kept_where_a_budget_has_no_time_for_more(tmp_path: Path) -> None:
    first = Training(tmp_path, 3)
    first.validate([3.0, 1.0, 2.0])
    first.save()
    second = Training(tmp_path, 1, epoch=3)
    second.on_train_end()
    assert epochs(tmp_path) == [1]


def test_a_loss_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    training = Training(tmp_path, 2)
    training.validate([float("nan"), float("inf")])
    training.on_train_end()
    assert predicting_checkpoints(tmp_path) == (tmp_path / "checkpoint_final.pth",)
    assert epochs(tmp_path) == [1]


def test_without_best_checkpoints_the_last_weights_predict(tmp_path: Path) -> None:
    training = Training(tmp_path, 0)
    training.validate([1.0, 2.0])
    training.on_train_end()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_final.pth"]
    assert epochs(tmp_path) == [1]


def test_a_kept_file_holds_what_prediction_asks_for(tmp_path: Path) -> None:
    training = Training(tmp_path, 1)
    training.validate([1.0])
    training.save()
    (path,) = predicting_checkpoints(tmp_path)
    found = read_checkpoint(path)
    assert found["trainer_name"] == "Training"
    assert found["init_args"] == {"configuration": "2d"}
    assert found["inference_allowed_mirroring_axes"] is None  # prediction is not mirrored


@pytest.mark.parametrize("wrong", [-1, 2.5, "all"])
def test_a_number_of_checkpoints_is_a_number(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(UsageError, match="best_checkpoints"):
        Training(tmp_path, wrong)
