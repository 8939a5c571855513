"""The learning rate that goes by the validation loss, and the end of a training that no longer improves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bare_trainers import batch_for
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from autoseg import nnunet, plugins
from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.training import budgeted_loop
from autoseg.training.schedule import Plateau, schedule_changes

MakeTrainer = Callable[..., Any]
PLATEAU = {"schedule": "plateau", "plateau_patience": 2, "stopping_patience": 4, "epochs": 50}
WEIGHT = "encoder.stages.0.0.convs.0.conv.weight"


def test_the_rate_is_halved_after_the_patience_and_not_below_the_least() -> None:
    plateau = Plateau(1e-3, factor=0.5, patience=5, stopping_patience=100, lowest=2e-4)
    rates = []
    for loss in (0.9, 0.8, *[0.8] * 20):
        plateau.look(loss)
        rates.append(plateau.rate)
    assert rates[:6] == [1e-3] * 6
    assert rates[6:11] == [5e-4] * 5
    assert rates[11:16] == [2.5e-4] * 5
    assert set(rates[16:]) == {2e-4}


def test_an_improvement_starts_the_wait_anew() -> None:
    plateau = Plateau(1e-3, 0.5, patience=3, stopping_patience=4, lowest=1e-6)
    looks = [plateau.look(loss) for loss in (-0.5, -0.4, -0.4, -0.6, -0.6, float("nan"), -0.59)]
    assert looks == [True, False, False, True, False, False, False]
    assert plateau.best == -0.6 and plateau.waited == 3 and not plateau.is_over
    plateau.look(-0.6)
    assert plateau.is_over
    assert plateau.rate == 5e-4


def test_the_state_goes_on_where_it_was(tmp_path: Path) -> None:
    losses = (1.0, 0.9, 0.95, 0.95, 0.95, 0.7, 0.8, 0.8, 0.8, 0.8)
    whole, first, second = (Plateau(1e-2, 0.5, 2, 5, 1e-6) for _ in range(3))
    for loss in losses:
        whole.look(loss)
    for loss in losses[:4]:
        first.look(loss)
    first.weights = {"w": torch.ones(2)}
    torch.save({"network_weights": {}, "state": first.state()}, tmp_path / "c.pth")
    second.load(nnunet.read_checkpoint(tmp_path / "c.pth")["state"])
    assert second.weights is not None and torch.equal(second.weights["w"], torch.ones(2))
    for loss in losses[4:]:
        second.look(loss)
    assert (second.rate, second.best, second.waited) == (whole.rate, whole.best, whole.waited)


def scripted(trainer: Any, losses: Iterable[float], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give a trainer one batch for ever and validation losses from a script; weights at each look."""
    weights: list[Any] = []
    script = iter(losses)

    def start(started: Any) -> None:
        started.dataloader_train = started.dataloader_val = itertools.repeat(batch_for(started))

    def validate(_: Any) -> dict[str, Any]:
        weights.append(trainer._bare_network().state_dict()[WEIGHT].clone())
        counts = {key: np.ones(1) for key in ("tp_hard", "fp_hard", "fn_hard")}
        return {"loss": np.float32(next(script)), **counts}

    monkeypatch.setattr(nnUNetTrainer, "on_train_start", start)
    monkeypatch.setattr(trainer, "validation_step", validate)
    monkeypatch.setattr(trainer.logger, "plot_progress_png", lambda _: None)
    trainer.num_iterations_per_epoch = trainer.num_val_iterations_per_epoch = 1
    return weights


class PretendTime:
    """The time as the loop of a training sees it: it goes by only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def pretend_time(monkeypatch: pytest.MonkeyPatch) -> PretendTime:
    """A clock of the loop that no load of the machine can move."""
    clock = PretendTime()
    monkeypatch.setattr(budgeted_loop, "time", clock)
    return clock


def take_quick_steps(trainer: Any, monkeypatch: pytest.MonkeyPatch, clock: PretendTime) -> None:
    """Steps of a hundredth of a second that change one weight a little."""

    def step(_: Any) -> dict[str, Any]:
        clock.passes(0.01)
        with torch.no_grad():
            next(trainer.network.parameters()).view(-1)[0] += 1e-3
        return {"loss": np.float32(0.0)}

    monkeypatch.setattr(trainer, "optimiser_step", step)


def final_weight(trainer: Any) -> torch.Tensor:
    path = Path(trainer.output_folder) / "checkpoint_final.pth"
    weight: torch.Tensor = nnunet.read_checkpoint(path)["network_weights"][WEIGHT]
    return weight


def test_without_a_budget_epochs_end_early_with_the_best_weights(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(shape=(2, 24, 24), **PLATEAU)
    weights = scripted(trainer, [0.9, 0.5, *[0.6] * 40], monkeypatch)
    trainer.run_training()
    assert trainer.current_epoch == 6, "two epochs that improve, four that do not"
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 / 2), "not yet a second time"
    assert torch.equal(final_weight(trainer), weights[1])
    assert not torch.equal(weights[1], weights[-1])
    arguments = nnunet.read_checkpoint(Path(trainer.output_folder) / "checkpoint_final.pth")["init_args"]
    assert "weights" not in arguments["autoseg"]["plateau"]


def test_an_interrupted_training_goes_on_with_rate_and_best_weights(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_trainer(shape=(2, 24, 24), **PLATEAU)
    weights = scripted(first, [0.9, 0.5, 0.6, 0.6], monkeypatch)
    with pytest.raises(StopIteration):
        first.run_training()
    first.save_for_resuming()
    second = make_trainer(shape=(2, 24, 24), **PLATEAU)
    scripted(second, [0.6] * 10, monkeypatch)
    second.load_checkpoint(str(Path(first.output_folder) / "checkpoint_latest.pth"))
    assert second.plateau.rate == pytest.approx(5e-3)
    second.run_training()
    assert second.current_epoch == 6
    assert torch.equal(final_weight(second), weights[1])


def test_under_a_budget_the_patience_is_a_share_of_the_time(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, pretend_time: PretendTime
) -> None:
    trainer = make_trainer(shape=(2, 24, 24), seconds=8.0, schedule="plateau", epochs=100)
    assert (trainer.plateau.patience, trainer.plateau.stopping_patience) == (2, 6)
    scripted(trainer, [0.9, *[1.0] * 2000], monkeypatch)
    given = trainer.validation_step
    monkeypatch.setattr(trainer, "validation_step", lambda batch: pretend_time.passes(0.001) or given(batch))
    take_quick_steps(trainer, monkeypatch, pretend_time)
    trainer.run_training()
    assert trainer.stopped_early
    assert trainer.elapsed_s < trainer.train_s, "seven of forty looks are enough to see"
    assert trainer.plateau.rate == pytest.approx(1e-2 / 8)
    log = "".join(path.read_text() for path in Path(trainer.output_folder).glob("training_log*"))
    assert "schedule of 100 epochs -> 8 s" in log and "stopped early" in log


def test_looks_at_the_validation_cost_little(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, pretend_time: PretendTime
) -> None:
    trainer = make_trainer(shape=(2, 24, 24), seconds=3.0, schedule="plateau", epochs=100)
    scripted(trainer, itertools.count(1.0, -0.01), monkeypatch)
    given = trainer.validation_step
    monkeypatch.setattr(trainer, "validation_step", lambda batch: pretend_time.passes(0.03) or given(batch))
    take_quick_steps(trainer, monkeypatch, pretend_time)
    trainer.run_training()
    assert trainer.validation_s < 0.08 * trainer.elapsed_s + 0.1
    assert trainer.current_epoch >= 3


def test_a_look_always_sees_the_same_patches(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(shape=(2, 24, 24), seconds=4.0, schedule="plateau", epochs=100)
    seen: list[float] = []
    trainer.dataloader_val = iter(lambda: {"data": torch.tensor(np.random.rand())}, None)
    trainer.validation_step = lambda batch: seen.append(float(batch["data"].mul_(1.0))) or {"loss": 0.0}
    first = len(trainer._validated())
    np.random.rand(7)
    trainer._validated()
    assert seen[-first:] == seen[-2 * first : -first]


def test_the_change_of_a_schedule_is_told_in_words() -> None:
    def told(name: str, seconds: float | None, **hyperparameters: Any) -> list[str]:
        return schedule_changes(plugins.trainer_class(name), Hyperparameters(**hyperparameters), seconds)

    assert told("nnunet", None) == []
    assert told("nnunet", 360.0) == ["schedule of 1000 epochs -> 6 min"]
    assert told("brainunet", 45.0, epochs=30) == ["schedule of 30 epochs -> 45 s"]
    assert told("nnunet", 360.0, stock=True) == ["stock schedule, stopped at 6 min"]
    (plateau,) = told("resnet50_unet", 5400.0)
    assert plateau == "schedule of 100 epochs -> 90 min (patience 5 and 15 epochs -> 5 % and 15 % of it)"


def test_the_documented_trainer_reduces_on_a_plateau() -> None:
    trainer = plugins.trainer_class("resnet50_unet")
    assert (trainer.schedule, trainer.plateau_factor, trainer.plateau_patience) == ("plateau", 0.5, 5)
    assert (trainer.stopping_patience, trainer.min_learning_rate, trainer.epochs) == (15, 1e-6, 100)
