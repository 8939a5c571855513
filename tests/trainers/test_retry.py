"""A training that goes astray is tried once more, at a lower rate, from weights that were good."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_trainers import batch_for
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from autoseg.nnunet import read_checkpoint
from autoseg.training.cost import _changes
from autoseg.training.step_count import StepCount

MakeTrainer = Callable[..., Any]
EPOCHS, STEPS = 12, 30


@pytest.fixture
def made(scripted: Callable[..., Any]) -> Callable[..., Any]:
    """Trainers whose loss is a script, by the number of the epoch."""
    return scripted


def weight(trainer: Any) -> torch.Tensor:
    flat: torch.Tensor = next(trainer._bare_network().parameters()).view(-1)
    return flat


def rising(trainer: Any) -> float:
    """A loss that falls for three epochs and then rises, unless the rate is lower."""
    epoch = trainer.current_epoch
    return 1.0 - 0.1 * epoch if epoch < 3 or trainer.rate_factor < 1 else 1.0 + 0.2 * epoch


def test_a_loss_that_rises_is_tried_again_from_the_weights_before(made: Callable[..., Any]) -> None:
    trainer = made(rising)
    start = float(weight(trainer)[0].detach())
    trainer.run_training()
    # Epoch 3 is doubtful, so that the weights are those of epoch 2; at the end of epoch 4 it is sure.
    assert trainer.retried == (
        "step 150: the loss rose from 1 at the start to 1.8; tried again from the weights of step 90, at 0.1 "
        "of the learning rate"
    )
    assert float(weight(trainer)[0].detach()) - start == pytest.approx((EPOCHS * STEPS - 60) * 1.0)
    assert trainer.steps_done == EPOCHS * STEPS and trainer.broken_off == ""
    rates = trainer.logger.get_value("lrs", step=None)
    expected = [1e-2 * (1 - epoch / EPOCHS) ** 0.9 * (1.0 if epoch < 5 else 0.1) for epoch in range(EPOCHS)]
    assert rates == pytest.approx(expected)
    assert f"went astray at {trainer.retried}" in _changes(trainer)


def test_a_second_time_it_goes_on_and_the_record_says_so(made: Callable[..., Any]) -> None:
    trainer = made(lambda _: 1.0)
    trainer.run_training()
    assert trainer.steps_done == EPOCHS * STEPS
    assert trainer.retried.count("the loss has not fallen") == 2
    assert trainer.retried.endswith("the training goes on as it is")


def test_stock_is_left_alone(made: Callable[..., Any]) -> None:
    trainer = made(rising, stock=True)
    trainer.run_training()
    assert trainer.retried == "" and trainer.rate_factor == 1.0


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_structure_that_no_patch_holds_warns_of_nothing(made: Callable[..., Any]) -> None:
    trainer = made(lambda each: 1.0 - 0.05 * each.current_epoch, lambda _: (0.0, 0.0))
    trainer.run_training()
    assert trainer.steps_done == EPOCHS * STEPS


def test_a_restart_remembers_the_retry(made: Callable[..., Any]) -> None:
    first = made(rising)
    first.current_epoch, first.steps_done = 5, 150
    first._good = (90, {name: value.clone() for name, value in first.network.state_dict().items()})
    assert first.retry("it rose")
    first.save_checkpoint(str(Path(first.output_folder) / "checkpoint_latest.pth"))
    second = made(rising)
    second.load_checkpoint(str(Path(first.output_folder) / "checkpoint_latest.pth"))
    assert (second.rate_factor, second.retried) == (0.1, first.retried)
    assert second.course == first.course
    second._good = first._good
    assert not second.retry("it rose again"), "once"
    state = read_checkpoint(Path(first.output_folder) / "checkpoint_latest.pth")["init_args"]["autoseg"]
    assert state["rate_factor"] == 0.1


def test_weights_that_overflow_at_the_first_rate_learn_at_the_second(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(shape=(2, 24, 24), epochs=4, steps_per_epoch=6, learning_rate=0.03)

    def start(started: Any) -> None:
        started.dataloader_train = started.dataloader_val = itertools.repeat(batch_for(started))

    monkeypatch.setattr(nnUNetTrainer, "on_train_start", start)
    monkeypatch.setattr(trainer.logger, "plot_progress_png", lambda _: None)
    given = trainer.optimiser_step

    def overflowing(batch: Any) -> Any:
        with torch.no_grad():
            if trainer.rate_factor == 1.0 and trainer.steps_done > 1:
                weight(trainer)[0] = torch.inf
        return given(batch)

    monkeypatch.setattr(trainer, "optimiser_step", overflowing)
    trainer.run_training()
    assert "tried again from the weights of step 0" in trainer.retried
    assert trainer.steps_done == 24 and trainer.left_out == 5
    losses = trainer.logger.get_value("train_losses", step=None)
    assert losses[-1] < losses[2]


def test_a_row_starts_anew_on_a_device_too() -> None:
    count = StepCount()
    for finite in (True, False, False):
        count.add(torch.tensor(finite))
    count.look()
    count.start_row()
    count.add(torch.tensor(False))
    count.look()
    assert (count.left_out, count.in_a_row, count.longest) == (3, 1, 1)
