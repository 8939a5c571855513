"""Training steps on a CPU in bfloat16 have the gradients that float32 has."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_trainers import ABOUT, batch_for
from torch import nn

from autoseg import nnunet
from autoseg.inference.model import load_model
from autoseg.planner.plan import Plan
from autoseg.system.files import write_json

MakeTrainer = Callable[..., Any]


def coarsest(plan: Plan, name: str) -> list[int]:
    configuration = plan.configuration(name)
    steps = zip(*configuration.architecture.kwargs["strides"], strict=True)
    return [size // math.prod(along) for size, along in zip(configuration.patch_size, steps, strict=True)]


def gradients(trainer: Any, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """Gradients of one `train_step` that changes no weight."""
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.0
    trainer.network.train()
    trainer.autocast_dtype = dtype
    loss = trainer.train_step(batch_for(trainer))["loss"]
    assert torch.isfinite(torch.tensor(float(loss)))
    return {name: p.grad.clone() for name, p in trainer.network.named_parameters() if p.grad is not None}


def test_gradients_are_right_where_the_coarsest_map_has_two_slices(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(shape=(2, 40, 40))
    assert coarsest(Plan.from_json(trainer.plans_manager.plans), "3d_fullres")[0] == 2
    exact, reduced = gradients(trainer, None), gradients(trainer, torch.bfloat16)
    assert exact.keys() == reduced.keys()
    for name, expected in exact.items():
        got = reduced[name]
        assert torch.isfinite(got).all(), name
        if expected.norm() > 1e-4:
            assert nn.functional.cosine_similarity(got.flatten(), expected.flatten(), 0) > 0.9, name
            assert got.norm() / expected.norm() == pytest.approx(1.0, abs=0.2), name


def test_a_step_with_gradients_that_are_not_finite_changes_no_weight(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.network.train()
    batch = batch_for(trainer)
    before = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    good = batch["data"].clone()
    batch["data"][0, 0, 0] = torch.nan
    trainer.train_step(batch)
    assert all(torch.equal(before[name], p) for name, p in trainer.network.named_parameters())
    batch["data"].copy_(good)
    trainer.train_step(batch)
    assert any(not torch.equal(before[name], p) for name, p in trainer.network.named_parameters())
    assert all(torch.isfinite(p).all() for p in trainer.network.parameters())


def test_what_is_saved_is_what_stock_nnunet_loads(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """The layers are faster, their names and parameters are nnU-Net's."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    trainer = make_trainer()
    manager = trainer.configuration_manager
    stock = get_network_from_plans(
        manager.network_arch_class_name,
        manager.network_arch_init_kwargs,
        manager.network_arch_init_kwargs_req_import,
        1,
        2,
        deep_supervision=True,
    )
    trainer.save_checkpoint(str(tmp_path / "checkpoint_final.pth"))
    weights = nnunet.read_checkpoint(tmp_path / "checkpoint_final.pth")["network_weights"]
    stock.load_state_dict(weights, strict=True)
    kinds = {type(module) for module in trainer.network.modules()}
    assert not kinds & {nn.Conv3d, nn.InstanceNorm3d, nn.ConvTranspose3d}, "the network is not prepared"


def test_a_loaded_model_is_prepared_too(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer()
    (tmp_path / "fold_0").mkdir()
    trainer.save_checkpoint(str(tmp_path / "fold_0" / "checkpoint_final.pth"))
    write_json(tmp_path / "plans.json", trainer.plans_manager.plans)
    write_json(tmp_path / "dataset.json", dict(ABOUT))
    (network,) = load_model(tmp_path, [0], torch.device("cpu")).networks
    assert not {type(module) for module in network.modules()} & {nn.Conv3d, nn.InstanceNorm3d}
