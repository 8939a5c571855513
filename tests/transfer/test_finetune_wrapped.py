"""Freezing in volumes, in compiled networks, and over two processes: the same tensors, the same numbers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from network_facts import build
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from autoseg.architectures import parts_of
from autoseg.transfer.policy import FineTunePolicy, set_learning_rates

NINE = "abcdefghi"


def network(channels: int = 1, classes: int = 2, axes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return build("mobilenetv2_unet", channels, classes, (32,) * axes)


def batch(rank: int = 0, channels: int = 1, axes: int = 2) -> torch.Tensor:
    """Large enough that the coarsest normalisation has more than two values, of which it makes -1 and 1."""
    shape = (64, 64, 32)[:axes]
    return torch.randn(2, channels, *shape, generator=torch.Generator().manual_seed(rank))


def loss_of(output: torch.Tensor) -> torch.Tensor:
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(9))
    return (output * weights).mean()


def values(owner: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in owner.named_parameters()}


def changed(owner: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, p in owner.named_parameters() if not torch.equal(p, before[name])}


def names_of(owner: nn.Module, parts: Any) -> set[str]:
    return {name for part in parts for name in parts_of(owner)[part]}


def steps(owner: nn.Module, policy: FineTunePolicy, wrapped: nn.Module, count: int, x: torch.Tensor) -> Any:
    """A few steps as a trainer takes them."""
    optimizer = torch.optim.Adam(policy.groups(owner, 1e-3), 1e-3)
    for number in range(count):
        wrapped.train()
        progress = number / count
        set_learning_rates(optimizer, 1e-3, progress)
        policy.follow(wrapped, progress)
        policy.keep_frozen_norm(wrapped, progress)
        optimizer.zero_grad(set_to_none=True)
        loss_of(wrapped(x)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("channels", "classes", "axes"),
    [(3, 1, 2), pytest.param(1, 2, 3, marks=pytest.mark.slow), pytest.param(3, 1, 3, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("strategy", NINE)
def test_one_step_changes_exactly_what_is_trained(
    strategy: str, channels: int, classes: int, axes: int
) -> None:
    owner = network(channels, classes, axes)
    before, policy = values(owner), FineTunePolicy.named(strategy)
    trained = policy.apply(owner)
    optimizer = steps(owner, policy, owner, 1, batch(0, channels, axes))
    assert changed(owner, before) == names_of(owner, policy.schedule(owner))
    moments = [v for state in optimizer.state.values() for v in state.values() if v.ndim]
    assert sum(v.numel() for v in moments) == 2 * sum(p.numel() for p in trained)


@pytest.mark.parametrize(
    ("design", "backend", "strategy"),
    [
        ("nnunet", "eager", "gradual"),
        pytest.param("nnunet", "aot_eager", "d", marks=pytest.mark.slow),
        *(
            pytest.param("mobilenetv2_unet", "aot_eager", each, marks=pytest.mark.slow)
            for each in ("c", "e", "h", "i", "gradual")
        ),
    ],
)
def test_a_compiled_network_is_trained_as_a_plain_one(design: str, backend: str, strategy: str) -> None:
    """Compiled before the policy is applied, as nnU-Net does it, and traced again when a part opens."""
    torch.compiler.reset()
    torch.manual_seed(0)
    plain = build(design, 1, 2, (32, 32), **({"width": 4} if design == "nnunet" else {}))
    plain.deep_supervision = False
    compiled_owner = copy.deepcopy(plain)
    compiled: Any = torch.compile(compiled_owner, backend=backend)
    before = values(plain)
    policy = FineTunePolicy.named(strategy, frozen_norm="eval")
    policy.apply(plain)
    policy.apply(compiled)
    count = 2 if strategy != "gradual" else 3
    steps(plain, policy, plain, count, batch())
    steps(compiled_owner, policy, compiled, count, batch())
    assert changed(compiled_owner, before) == changed(plain, before)
    for (name, a), b in zip(plain.named_parameters(), compiled_owner.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=2e-4, msg=lambda told, name=name: f"{name}: {told}")
    moved = {name for name, b in compiled_owner.named_buffers() if name.endswith("num_batches_tracked") and b}
    assert moved == {name for name, b in plain.named_buffers() if name.endswith("num_batches_tracked") and b}


def _train(rank: int, folder: str, strategy: str) -> None:
    """One of two processes, each with images of its own."""
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    owner, policy = network(), FineTunePolicy.named(strategy, frozen_norm="eval")
    optimizer = torch.optim.SGD(policy.groups(owner, 0.1), 0.1)
    policy.apply(owner)
    wrapped = DistributedDataParallel(owner, broadcast_buffers=False)
    for number in range(2):  # a second step fails if the first left gradients outstanding
        wrapped.train()
        policy.follow(wrapped, 0.3 * number)
        set_learning_rates(optimizer, 0.1, 0.3 * number)
        policy.keep_frozen_norm(wrapped, 0.3 * number)
        optimizer.zero_grad()
        loss_of(wrapped(batch(rank))).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        torch.save(owner.state_dict(), f"{folder}/{rank}_{number}.pth")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["b", "d", "i", "gradual"])
def test_two_processes_train_what_one_would(strategy: str, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_train, (str(tmp_path), strategy), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (torch.load(tmp_path / f"{rank}_0.pth") for rank in (0, 1))
    last = [torch.load(tmp_path / f"{rank}_1.pth") for rank in (0, 1)]
    owner, policy = network(), FineTunePolicy.named(strategy, frozen_norm="eval")
    before, parts = values(owner), policy.open_parts(owner, 0.0)
    assert {name for name in before if not torch.equal(first[name], before[name])} == names_of(owner, parts)
    later = names_of(owner, policy.open_parts(owner, 0.3))
    assert {name for name in before if not torch.equal(last[0][name], before[name])} == later
    for name in before:
        assert torch.equal(first[name], second[name]) and torch.equal(last[0][name], last[1][name]), name
    # The first step again, by hand: the mean of the gradients that the two batches give.
    policy.apply(owner)
    gradients = []
    for rank in (0, 1):
        alone = copy.deepcopy(owner).train()
        policy.keep_frozen_norm(alone, 0.0)
        loss_of(alone(batch(rank))).backward()  # type: ignore[no-untyped-call]
        gradients.append({name: p.grad for name, p in alone.named_parameters()})
    for name in names_of(owner, parts):
        expected = before[name] - 0.1 * (gradients[0][name] + gradients[1][name]) / 2
        torch.testing.assert_close(first[name], expected, rtol=1e-4, atol=1e-6)
