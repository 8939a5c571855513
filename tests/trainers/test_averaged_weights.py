"""The moving average of the weights: its values, what breaks it, and that it is what predicts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bare_trainers import batch_for
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from autoseg.errors import UsageError
from autoseg.nnunet import read_checkpoint
from autoseg.training.averaged_weights import MovingAverage

MakeTrainer = Callable[..., Any]


def test_the_average_is_the_recursion_that_its_source_states() -> None:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = MovingAverage(network, 0.9)
    with torch.no_grad():
        expected = float(network[0].weight)
        for step in range(300):
            value = float(np.sin(step))
            network[0].weight.fill_(value)
            network[1].num_batches_tracked.fill_(step)
            decay = min(0.9, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * value
            average.add()
    found = average.weights()
    assert float(found["0.weight"]) == pytest.approx(expected, abs=1e-6)
    assert int(found["1.num_batches_tracked"]) == 299
    assert set(found) == set(network.state_dict())


def test_first_weights_are_soon_forgotten() -> None:
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1000.0)
        average = MovingAverage(network, 0.999)
        network.weight.fill_(1.0)
    for _ in range(100):
        average.add()
    assert float(average.weights()["weight"]) == pytest.approx(1.0, abs=1e-3)


@pytest.fixture
def made(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Trainers whose steps add 1 to one weight, or what a script says of the step's number."""

    def make(script: Callable[[int], float] = lambda _: 1.0, **options: Any) -> Any:
        options = {"epochs": 2, "steps_per_epoch": 10, "ema_decay": 0.5, **options}
        trainer = make_trainer(shape=(2, 24, 24), **options)

        def start(started: Any) -> None:
            started.dataloader_train = started.dataloader_val = itertools.repeat(None)

        def step(_: Any) -> dict[str, Any]:
            added = script(trainer.steps_done)
            with torch.no_grad():
                weight(trainer)[0] += added
            return {"loss": np.float32(0.5), "taken": added != 0}

        def validate(_: Any) -> dict[str, Any]:
            counts = {key: np.array([50.0]) for key in ("tp_hard", "fp_hard", "fn_hard")}
            return {"loss": np.float32(0.0), **counts}

        monkeypatch.setattr(nnUNetTrainer, "on_train_start", start)
        monkeypatch.setattr(trainer, "optimiser_step", step)
        monkeypatch.setattr(trainer, "validation_step", validate)
        monkeypatch.setattr(trainer.logger, "plot_progress_png", lambda _: None)
        return trainer

    return make


def weight(trainer: Any) -> torch.Tensor:
    flat: torch.Tensor = next(trainer._bare_network().parameters()).view(-1)
    return flat


def averaged(values: list[float], decay: float = 0.5) -> float:
    """The first value, and the weights after each step that counts."""
    found = values[0]
    for count, value in enumerate(values[1:]):
        kept = min(decay, (1 + count) / (10 + count))
        found = kept * found + (1 - kept) * value
    return found


def final_weight(trainer: Any) -> float:
    weights = read_checkpoint(Path(trainer.output_folder) / "checkpoint_final.pth")["network_weights"]
    return float(next(iter(weights.values())).view(-1)[0])


def test_the_final_checkpoint_holds_the_average(made: Callable[..., Any]) -> None:
    trainer = made()
    start = float(weight(trainer)[0].detach())
    trainer.run_training()
    expected = averaged([start + step for step in range(21)])
    assert final_weight(trainer) == pytest.approx(expected, rel=1e-5)
    assert abs(expected - (start + 20)) > 0.5
    assert float(weight(trainer)[0].detach()) == final_weight(trainer)


def test_without_it_the_last_weights_predict(made: Callable[..., Any]) -> None:
    trainer = made(ema_decay=0.0)
    start = float(weight(trainer)[0].detach())
    trainer.run_training()
    assert final_weight(trainer) == pytest.approx(start + 20, rel=1e-5)


def test_a_step_that_is_left_out_does_not_count(made: Callable[..., Any]) -> None:
    trainer = made(lambda step: 0.0 if step == 7 else 1.0)
    start = float(weight(trainer)[0].detach())
    trainer.run_training()
    assert final_weight(trainer) == pytest.approx(averaged([start + step for step in range(20)]), rel=1e-5)


def test_after_a_retry_the_average_begins_again(made: Callable[..., Any]) -> None:
    trainer = made(lambda step: 1e6 if step < 10 else 1.0)
    trainer.on_train_start()
    good = float(weight(trainer)[0].detach())
    for _ in range(10):
        trainer.train_step(None)
    assert trainer.retry("it went astray")
    trainer.train_step(None)
    name = next(iter(trainer._bare_network().state_dict()))
    found = float(trainer.average.weights()[name].view(-1)[0])
    assert found == pytest.approx(averaged([good, good + 1]), rel=1e-5)


def test_an_average_that_is_not_finite_is_left_out(made: Callable[..., Any]) -> None:
    trainer = made()
    start = float(weight(trainer)[0].detach())
    trainer.on_train_start()
    for _ in range(5):
        trainer.train_step(None)
    next(iter(trainer.average.weights().values())).fill_(float("nan"))
    trainer.restore_best_weights()
    assert float(weight(trainer)[0].detach()) == pytest.approx(start + 5, rel=1e-5)


def test_two_ways_to_choose_the_weights_are_refused(made: Callable[..., Any]) -> None:
    trainer = made(best_checkpoints=2)
    with pytest.raises(UsageError, match=r"ema_decay is 0\.5, and the validation loss chooses"):
        trainer.on_train_start()


def test_real_steps_are_averaged_in_the_network_that_computes(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(shape=(2, 24, 24), ema_decay=0.5)
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda _: None)
    trainer.on_train_start()
    before = {name: value.clone() for name, value in trainer._bare_network().state_dict().items()}
    trainer.train_step(batch_for(trainer))
    after = trainer._bare_network().state_dict()
    found = trainer.average.weights()
    assert all(torch.allclose(found[name], 0.1 * before[name] + 0.9 * after[name]) for name in found)
    assert any(not torch.equal(found[name], after[name]) for name in found)
