"""`nnunet:stock=true` is nnU-Net itself, stopped by the clock."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bare_trainers import batch_for
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from autoseg.data.dataset import load_dataset
from autoseg.data.fingerprint import extract_fingerprint
from autoseg.data.synthetic import make_demo
from autoseg.errors import UsageError
from autoseg.planner import plan_experiment
from autoseg.system.files import read_json
from autoseg.tailoring.options import is_stock
from autoseg.tailoring.request import Request
from autoseg.tailoring.tailored_plan import tailor
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant

MakeTrainer = Callable[..., Any]


def test_a_step_is_nnunets_step(make_trainer: MakeTrainer) -> None:
    ours, theirs = make_trainer(stock=True), make_trainer(nnUNetTrainer)
    theirs.network.load_state_dict(ours.network.state_dict())
    batch = batch_for(ours)
    for _ in range(2):
        mine, other = (t.train_step(copy.deepcopy(batch))["loss"] for t in (ours, theirs))
        assert mine == other
    for name, weight in theirs.network.state_dict().items():
        assert torch.equal(ours.network.state_dict()[name], weight), name
    assert {type(module) for module in ours.network.modules()} & {nn.Conv3d, nn.InstanceNorm3d}
    assert ours.get_training_transforms is nnUNetTrainer.get_training_transforms
    assert ours.optimizer.state_dict()["param_groups"] == theirs.optimizer.state_dict()["param_groups"]


def test_the_schedule_follows_the_steps_and_not_the_clock(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(stock=True, seconds=10.0)
    late = type("Late", (), {"progress": 0.99})()
    for steps, epoch in ((0, 0), (249, 0), (250, 1), (125_000, 500)):
        trainer.steps_done = steps
        rate = trainer.set_learning_rate(trainer.progress_of(late))
        assert rate == pytest.approx(1e-2 * (1 - epoch / 1000) ** 0.9)
    assert not trainer.is_over
    trainer.steps_done = 250_000
    assert trainer.is_over


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("brainunet:stock=true", "not a trainer of nnU-Net"),
        ("nnunet:stock=true:width=8", "leave out width"),
        ("nnunet:stock=1", "true or false"),
    ],
)
def test_stock_is_for_nnunet_alone(choice: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Choice.parse(choice)


def test_other_trainers_and_plain_nnunet_are_not_stock() -> None:
    for text in ("brainunet", "nnunet", "nnunet:stock=false", "nnunet:width=8"):
        assert not is_stock(Choice.parse(text))
    assert is_stock(Choice.parse("nnunet_resenc_m:stock=true"))


def test_a_budget_leaves_the_published_plan_as_it_is(tmp_path: Path) -> None:
    # Fewer cases would leave the dimension open, and the time decide it.
    volumes, _ = make_demo(tmp_path, cases=(6, 4))
    dataset = load_dataset(volumes)
    fingerprint = extract_fingerprint(dataset, workers=1)
    request = Request(torch.device("cpu"), run_s=20.0)
    plan = tailor(Variant(dataset, fingerprint, Choice.parse("nnunet:stock=true"), request))
    published = plan_experiment(dataset, fingerprint).configuration("3d_fullres")
    assert plan.configurations == {"3d_fullres": published}
    training = plan.require_training()
    assert training.changes == ("stock schedule, stopped at 20 s",)
    assert training.hyperparameters.given == {"stock": True}
    assert training.options == {"stock": True}


@pytest.mark.slow
def test_it_is_a_row_beside_plain_nnunet(tmp_path: Path) -> None:
    from autoseg.pipeline.settings import Settings
    from autoseg.pipeline.walk import plan_and_train
    from autoseg.workspace import Workspace

    volumes, _ = make_demo(tmp_path / "raw", cases=(6, 4))
    workspace = Workspace.locate(tmp_path)
    settings = Settings(("nnunet", "nnunet:stock=true"), (0,), total_s=80.0, device="cpu", workers=1)
    outcome = plan_and_train(volumes, workspace, settings)
    assert [record.status for record in outcome.records] == ["ok", "ok"], outcome.records[1].reason
    plain, stock = outcome.records
    assert (dict(plain.options), dict(stock.options)) == ({}, {"stock": True})
    assert "schedule of 1000 epochs -> 40 s" in plain.changes
    assert "stock schedule, stopped at 40 s" in stock.changes
    assert len(outcome.leaderboard.sets[0].rows) == 2
    for record in outcome.records:
        assert record.cost.train_s == pytest.approx(40.0, rel=0.4)
    (cost,) = (
        read_json(path)
        for path in workspace.results_of(volumes.name).glob(f"*{stock.plan}*/fold_0/cost.json")
    )
    assert cost["precision"] == "float32"
    assert any(change.startswith("stopped after") for change in cost["changes"])
    assert np.isfinite(cost["steps"]) and cost["steps"] > 0
