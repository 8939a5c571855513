"""A training that learns nothing says so, ends soon, and leaves no checkpoint that predicts."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bare_trainers import batch_for
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from autoseg import nnunet
from autoseg.errors import RunError
from autoseg.training import budgeted_loop
from autoseg.training.deep_supervision import weigh_one_output
from autoseg.training.finite_steps import MOST_IN_A_ROW
from autoseg.training.step_count import StepCount, are_finite

MakeTrainer = Callable[..., Any]
STEPS, EPOCHS = 12, 6


class StepClock:
    """A clock that ticks once a step, so that a budget is a number of steps on any machine."""

    trainer: Any = None

    def __init__(self, train_s: float, *_: float) -> None:
        self.train_s = train_s

    def tick(self) -> None:
        """There is no second device to agree with."""

    @property
    def elapsed(self) -> float:
        return float(self.trainer.steps_done)

    @property
    def progress(self) -> float:
        return min(1.0, self.elapsed / self.train_s) if self.train_s > 0 else 1.0

    def over(self, _: float = 0.0) -> bool:
        return self.elapsed >= self.train_s


@pytest.fixture
def made(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Trainers of 12 steps: by a clock, or in epochs of 2."""

    def make(seconds: float | None = STEPS, **options: Any) -> Any:
        trainer = make_trainer(
            shape=(2, 24, 24), seconds=seconds, epochs=EPOCHS, steps_per_epoch=STEPS // EPOCHS, **options
        )
        if trainer.stock:
            trainer.epochs = 1000

        def start(started: Any) -> None:
            started.dataloader_train = started.dataloader_val = itertools.repeat(batch_for(started))

        monkeypatch.setattr(nnUNetTrainer, "on_train_start", start)
        monkeypatch.setattr(budgeted_loop, "Clock", StepClock)
        monkeypatch.setattr(StepClock, "trainer", trainer)
        monkeypatch.setattr(type(trainer), "keeping_fraction", math.inf)
        monkeypatch.setattr(trainer.logger, "plot_progress_png", lambda _: None)
        return trainer

    return make


class Planted:
    """NaN in the loss, the gradients or the weights of a trainer, from a step on, for some steps."""

    def __init__(self, trainer: Any, what: str, first: int, number: int = 10**6) -> None:
        self.trainer, self.what, self.steps = trainer, what, range(first, first + number)
        self.loss, self.step, self.made = trainer.loss, trainer.optimiser_step, 0
        self.parameter = next(iter(trainer.network.parameters()))
        self.parameter.register_hook(lambda grad: grad * torch.nan if self.now("gradients") else grad)
        trainer.optimiser_step = self.one_step
        trainer.loss = lambda *given: self.loss(*given) * (torch.nan if self.now("loss") else 1.0)

    def now(self, what: str) -> bool:
        return what == self.what and self.made in self.steps

    def one_step(self, batch: Any) -> Any:
        self.made += 1
        if self.now("weights"):
            with torch.no_grad():
                self.parameter.view(-1)[0] = torch.nan
        return self.step(batch)


def final(trainer: Any) -> dict[str, torch.Tensor]:
    path = Path(trainer.output_folder) / "checkpoint_final.pth"
    weights: dict[str, torch.Tensor] = nnunet.read_checkpoint(path)["network_weights"]
    return weights


WHAT = ("loss", "gradients", "weights")
MODES = (
    pytest.param({}, id="clock"),
    pytest.param({"seconds": None}, id="epochs"),
    pytest.param({"stock": True}, id="stock"),
)


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("mode", MODES)
def test_nan_from_the_start_fails_at_once_in_words(
    made: Callable[..., Any], what: str, mode: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = made(**mode)
    planted = Planted(trainer, what, 1)
    with caplog.at_level(logging.WARNING), pytest.raises(RunError, match="learnt nothing"):
        trainer.run_training()
    # Stock takes the first step with gradients of NaN, and its losses are NaN from the second on.
    assert planted.made <= MOST_IN_A_ROW + 1
    assert "step 1: " in caplog.text or "step 2: " in caplog.text, "reported with the first one"
    assert not (Path(trainer.output_folder) / "checkpoint_final.pth").exists()
    assert not (Path(trainer.output_folder) / "checkpoint_latest.pth").exists()


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("mode", MODES)
def test_nan_that_stays_ends_it_with_the_last_good_weights(
    made: Callable[..., Any], what: str, mode: dict[str, Any]
) -> None:
    trainer = made(**mode)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    first, tries = (6, 1) if trainer.stock else (3, 2)
    planted = Planted(trainer, what, first)
    trainer.run_training()
    assert planted.made in (first - 1 + tries * MOST_IN_A_ROW, first + tries * MOST_IN_A_ROW)
    assert f"{MOST_IN_A_ROW} steps in a row were not finite" in trainer.broken_off
    assert ("tried again from the weights of step" in trainer.retried) is (tries == 2)
    weights = final(trainer)
    assert are_finite(weights.values())
    assert any(not torch.equal(before[name], value) for name, value in weights.items())
    assert trainer.left_out == tries * MOST_IN_A_ROW
    assert trainer.steps_done == planted.made


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("mode", MODES)
def test_nan_in_the_last_steps_predicts_with_good_weights(
    made: Callable[..., Any], what: str, mode: dict[str, Any]
) -> None:
    trainer = made(**mode)
    planted = Planted(trainer, what, STEPS - 1)
    trainer.run_training()
    assert planted.made == STEPS
    assert are_finite(final(trainer).values())
    spoiled = what == "weights" or trainer.stock
    assert ("replaced by those of step 1" in trainer.broken_off) is spoiled


def test_one_bad_step_is_left_out_and_the_training_goes_on(
    made: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = made()
    Planted(trainer, "loss", 7, 1)
    trainer.run_training()
    assert (trainer.steps_done, trainer.left_out, trainer.broken_off) == (STEPS, 1, "")
    assert caplog.text.count("not finite") == 1 and "step 7: the loss is" in caplog.text
    assert are_finite(final(trainer).values())


def still(_: Any) -> dict[str, Any]:
    """A step that changes no weight."""
    return {"loss": np.float32(0.5), "taken": True}


def test_weights_that_never_move_are_no_result(made: Callable[..., Any]) -> None:
    trainer = made()
    trainer.optimiser_step = still
    with pytest.raises(RunError, match="its weights never moved in 12 steps"):
        trainer.run_training()
    assert not (Path(trainer.output_folder) / "checkpoint_final.pth").exists()


def test_no_step_is_no_result(made: Callable[..., Any]) -> None:
    trainer = made(seconds=0.0)
    with pytest.raises(RunError, match="made no step"):
        trainer.run_training()


def test_a_restart_remembers_what_it_started_from(made: Callable[..., Any]) -> None:
    first = made()
    first.optimiser_step = still
    first.on_train_start()
    first.train_step(batch_for(first))
    first.save_for_resuming()
    second = made()
    second.optimiser_step = still
    second.load_checkpoint(str(Path(first.output_folder) / "checkpoint_latest.pth"))
    with pytest.raises(RunError, match="never moved"):
        second.run_training()


def test_statistics_of_normalisation_that_a_bad_batch_spoiled_are_taken_back(
    made: Callable[..., Any],
) -> None:
    trainer = made()
    trainer.network.register_buffer("running_mean", torch.ones(3))
    trainer.on_train_start()
    trainer.network.running_mean.fill_(torch.nan)
    trainer.steps_done = 1
    trainer.look_at_steps()
    assert torch.equal(trainer.network.running_mean, torch.ones(3))


def test_values_on_a_device_are_counted_there_and_read_later() -> None:
    ahead, there = StepCount(), StepCount()
    for finite in (True, False, False, True, False, False, False, True, False):
        ahead.add(finite)
        there.add(torch.tensor(finite))
    assert there.left_out == 0, "nothing is waited for"
    there.look()
    expected = (ahead.left_out, ahead.in_a_row, ahead.longest)
    assert (there.left_out, there.in_a_row, there.longest) == expected == (6, 1, 3)


class Scaled:
    """A loss scaler that finds every gradient too large, and its optimiser."""

    def __init__(self, trainer: Any, overflow: float) -> None:
        self.trainer, self.overflow = trainer, overflow

    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.trainer.optimizer.found_inf = torch.tensor([self.overflow])
            self.trainer.optimizer.grad_scale = torch.tensor([1.0])
            for parameter in self.trainer.network.parameters():
                parameter.grad = torch.ones_like(parameter)
            self.trainer._count_taken(self.trainer.optimizer)
            self.trainer.steps_done += 1
            self.trainer.check_step({"loss": torch.tensor(1.0)})


@pytest.mark.parametrize(("overflow", "steps", "ends"), [(1.0, 30, True), (1.0, 10, False), (0.0, 30, False)])
def test_gradients_that_always_overflow_end_a_training_on_a_gpu(
    made: Callable[..., Any], overflow: float, steps: int, ends: bool
) -> None:
    trainer = made()
    trainer.on_train_start()
    trainer.grad_scaler = object()
    Scaled(trainer, overflow).step(steps)
    assert trainer.broken_off == "", "not before it is looked at"
    trainer.look_at_steps()
    assert bool(trainer.retried) is ends and not trainer.broken_off
    Scaled(trainer, overflow).step(steps)
    trainer.look_at_steps()
    assert bool(trainer.broken_off) is ends


def test_one_output_has_weight_one(make_trainer: MakeTrainer) -> None:
    """nnU-Net 2.8 divides 0 by 0 where a network has two stages."""
    trainer = make_trainer(shape=(2, 10, 12))
    assert len(trainer._get_deep_supervision_scales()) == 1
    assert trainer.loss.weight_factors == (1.0,)
    with pytest.raises(RunError, match=r"nnU-Net itself learns nothing .* 0/0"):
        make_trainer(shape=(2, 10, 12), stock=True)
    many = make_trainer(shape=(2, 40, 40))
    expected = many.loss.weight_factors
    weigh_one_output(many.loss)
    assert many.loss.weight_factors == expected


def test_good_weights_are_kept_seldom_unless_a_step_was_bad(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = made()
    trainer.on_train_start()
    monkeypatch.setattr(type(trainer), "keeping_fraction", 1e-9)
    trainer._keep_from, kept = 0.0, []
    monkeypatch.setattr(trainer, "_keep_good", lambda: kept.append(trainer.left_out))
    for finite in (True, True, False, True):
        trainer.count.add(finite)
        trainer.look_at_steps()
    assert kept == [0, 1], "once for the time, once for the bad step"
