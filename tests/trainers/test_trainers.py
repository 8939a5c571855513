"""What every trainer has to keep, and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoseg import plugins
from autoseg.shim import autoseg_trainers
from autoseg.system.device import seed_everything
from autoseg.training.budgeted_loop import Clock
from autoseg.training.trainer import HYPERPARAMETERS, Trainer, schedule_factor

NAMES = plugins.available("trainers")


@pytest.mark.parametrize("name", NAMES)
def test_a_trainer_has_one_name_everywhere(name: str) -> None:
    trainer = plugins.trainer_class(name)
    assert trainer.__name__ == name
    assert issubclass(trainer, Trainer)
    assert getattr(autoseg_trainers, name) is trainer
    assert trainer.paper or not trainer.documented
    assert set(trainer.dimensions) <= {2, 3}
    assert trainer.__doc__ and trainer.__doc__ != Trainer.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_hyperparameters_are_attributes(name: str) -> None:
    trainer = plugins.trainer_class(name)
    for attribute in HYPERPARAMETERS:
        assert hasattr(trainer, attribute)


def test_the_shim_knows_nothing_else() -> None:
    for name in ("nnUNetTrainer", "_base", "no_such_trainer"):
        assert not hasattr(autoseg_trainers, name)


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_the_learning_rate_falls_from_one_to_nothing(schedule: str) -> None:
    factors = [schedule_factor(schedule, step / 100) for step in range(101)]
    assert factors[0] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.0, abs=1e-9)
    assert all(later <= earlier for earlier, later in pairwise(factors))


def test_warmup_rises_to_the_full_rate() -> None:
    assert schedule_factor("poly", 0.0, warmup=0.1) < 0.02
    assert schedule_factor("poly", 0.1, warmup=0.1) == pytest.approx(1.0)
    assert schedule_factor("poly", 0.05, warmup=0.1) == pytest.approx(0.505, abs=0.01)


def test_polynomial_decay_is_nnunets() -> None:
    from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

    parameter = torch.nn.Parameter(torch.zeros(1))
    stock = PolyLRScheduler(torch.optim.SGD([parameter], 0.01), 0.01, 1000)
    for epoch in (0, 1, 500, 999):
        stock.step(epoch)
        assert stock.get_last_lr()[0] == pytest.approx(0.01 * schedule_factor("poly", epoch / 1000))


def test_the_clock_counts_what_was_used_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(value=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.value)
    clock = Clock(60.0, used_s=20.0)
    assert clock.elapsed == pytest.approx(20.0)
    now.value += 30.0
    assert clock.progress == pytest.approx(50 / 60)
    assert not clock.over(next_step_s=10.0)
    now.value += 6.0
    assert clock.over(next_step_s=10.0)
    now.value += 100.0
    assert clock.progress == 1.0


def test_a_seed_makes_draws_repeatable() -> None:
    seed_everything(3)
    first = torch.rand(4)
    seed_everything(3)
    assert torch.equal(first, torch.rand(4))


def test_brainunets_cross_entropy_fades_out(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer("brainunet", (24, 32, 32))
    weights = []
    for progress in (0.0, 0.05, 0.1, 1.0):
        trainer.set_learning_rate(progress)
        weights.append(trainer.loss.entropy_weight)
    assert weights == pytest.approx([1.0, 0.5, 0.0, 0.0])
    pure = make_trainer("brainunet", (24, 32, 32), entropy_warmup=0)
    pure.set_learning_rate(0.0)
    assert pure.loss.entropy_weight == 0.0
