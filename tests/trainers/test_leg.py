"""Trainings in legs: where the rate falls, what a pause leaves, and that nothing is lost by it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_trainers import bare_trainer
from hypothesis import given
from hypothesis import strategies as st

from autoseg.nnunet import read_checkpoint
from autoseg.training.budgeted_loop import Clock
from autoseg.training.legs import DECAY_FRACTION, Leg, save_rung, settle
from autoseg.training.schedule import schedule_factor
from autoseg.workspace import Workspace


def rate(leg: Leg, elapsed_s: float, warmup: float = 0.0, schedule: str = "poly") -> float:
    """Factor on the learning rate in a run of 100 s."""
    return schedule_factor(schedule, leg.progress(elapsed_s, 100.0, warmup), warmup)


def test_the_rate_is_full_then_falls_before_the_pause_and_is_full_again_after_it() -> None:
    first, second = Leg(0, 10), Leg(10, 30)
    assert [rate(first, second_) for second_ in (0, 3, 6)] == [1, 1, 1]
    assert rate(first, 8) == pytest.approx(0.5**0.9)
    assert rate(first, 10) == pytest.approx(0, abs=1e-6)
    assert rate(second, 10) == 1 and rate(second, 30 - 20 * DECAY_FRACTION) == pytest.approx(1)
    assert rate(second, 30) == pytest.approx(0, abs=1e-6)


def test_the_last_leg_falls_from_its_start_to_the_end_of_the_run() -> None:
    last = Leg(40)
    assert rate(last, 40) == 1
    assert rate(last, 70, schedule="cosine") == pytest.approx(0.5)
    assert rate(last, 100) == pytest.approx(0, abs=1e-6)


def test_only_the_first_leg_warms_up() -> None:
    leg = Leg(0, 20)
    assert 0 < rate(leg, 1, warmup=0.1) < 0.2
    assert rate(leg, 11, warmup=0.1) == 1
    assert rate(Leg(20, 40), 21, warmup=0.1) == 1


@given(
    from_s=st.floats(0, 50),
    length_s=st.floats(0.1, 50),
    elapsed_s=st.floats(0, 100),
    warmup=st.floats(0, 0.3),
    last=st.booleans(),
)
def test_progress_stays_a_part_and_never_falls(
    from_s: float, length_s: float, elapsed_s: float, warmup: float, last: bool
) -> None:
    leg = Leg(from_s, math.inf if last else from_s + length_s)
    now, later = (leg.progress(elapsed_s + more, 100.0, warmup) for more in (0.0, 1.0))
    assert 0 <= now <= later <= 1


def test_a_member_with_half_of_the_time_has_half_of_the_leg() -> None:
    half = Leg(10, 30, 100, Path("rung_1")).scaled(0.5)
    assert half == Leg(5, 15, 50, Path("rung_1"))
    assert Leg(10).scaled(0.5).until_s == math.inf


def test_a_clock_ends_at_the_pause() -> None:
    assert Clock(100, 9.9, 10).over(0.5) and not Clock(100, 9, 10).over(0.5)
    assert not Clock(100, 50).over(1)


def test_a_long_step_is_not_begun_where_it_would_pass_the_budget_by_far() -> None:
    assert Clock(100, 78).over(40) and not Clock(100, 61).over(40)
    assert not Clock(100, 98).over(3)


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A network with batch normalisation, in a workspace of its own."""
    workspace = Workspace.locate(tmp_path)
    for name, value in workspace.environment().items():
        monkeypatch.setenv(name, value)
    found = bare_trainer(workspace, "resnet34_mlp", shape=(1, 64, 64), seconds=60.0)
    found.dataloader_train = itertools.repeat({"data": 3 + torch.randn(2, 1, 64, 64)})
    return found


def test_statistics_are_those_of_the_batches_and_no_weight_moves(trainer: Any) -> None:
    network = trainer._bare_network()
    weights = {name: value.clone() for name, value in network.named_parameters()}
    first = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    before, momentum = first.running_mean.clone(), first.momentum
    settle(trainer)
    assert not torch.equal(first.running_mean, before)
    assert int(first.num_batches_tracked) >= 2 and first.momentum == momentum
    assert not network.training and not any(module.training for module in network.modules())
    assert all(torch.equal(value, weights[name]) for name, value in network.named_parameters())


def test_what_a_rung_leaves_predicts_without_mirrored_copies(trainer: Any, tmp_path: Path) -> None:
    save_rung(trainer, tmp_path / "rung" / "checkpoint_final.pth")
    found = read_checkpoint(tmp_path / "rung" / "checkpoint_final.pth")
    assert found["trainer_name"] == "resnet34_mlp" and found["inference_allowed_mirroring_axes"] is None
    state = trainer._bare_network().state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found["network_weights"].items())
    assert "autoseg" not in found["init_args"] and "optimizer_state" not in found
