"""What runs on a GPU, tried without one: tensors without contents show a wrong device and a hidden wait."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_trainers import bare_trainer, batch_for
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from autoseg.augmentation import nnunet_transforms
from autoseg.augmentation.batch_augmentation import BatchAugmentation
from autoseg.training.device_augmentation import DeviceAugmentation
from autoseg.training.epochs_loop import on_host
from autoseg.training.gradient_step import step_scaled
from autoseg.training.optimizer import make_optimizer
from autoseg.workspace import Workspace


@contextmanager
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    """Tensors without contents, and a scaler that believes in a GPU."""
    with monkeypatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True) as mode:
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        with torch.backends.cudnn.flags(enabled=False):
            yield mode


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """nnU-Net's, for small pictures."""
    workspace = Workspace.locate(tmp_path)
    for name, value in workspace.environment().items():
        monkeypatch.setenv(name, value)
    return bare_trainer(workspace, shape=(2, 24, 24))


def in_a_process(function: Callable[[], None], said: Path) -> None:
    """Call a function in a forked process: what looks for a GPU leaves threads that forbid later forks."""
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:
            said.write_text(traceback.format_exc())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert not said.exists(), said.read_text()


def test_a_step_waits_for_nothing_and_its_loss_stays_there(
    trainer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With AdamW: torch 2.14 has no rule for fused SGD on tensors without contents."""
    batch = batch_for(trainer)

    def step() -> None:
        with no_gpu(monkeypatch):
            result = step_on_gpu(trainer, batch, monkeypatch)
            assert result["loss"].device.type == "cuda"
            assert {each.device.type for each in trainer.network.parameters()} == {"cuda"}
            with pytest.raises(DataDependentOutputException):
                float(result["loss"])  # what a hidden wait would look like

    in_a_process(step, tmp_path / "said.txt")


def step_on_gpu(trainer: Any, batch: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One step of a trainer whose network is built on a GPU that is not there."""
    with torch.device("cuda"):
        trainer.network = trainer.build_network_architecture(
            trainer.plans_manager, trainer.configuration_manager, 1, 2, True
        )
    trainer.device = torch.device("cuda")
    trainer.grad_scaler = torch.amp.GradScaler("cuda")
    parameters = list(trainer.network.parameters())
    trainer.optimizer = make_optimizer(
        "adamw", parameters, 0.01, weight_decay=0.0, momentum=0.9, epsilon=1e-8
    )

    def backward(_: torch.Tensor) -> None:
        for each in parameters:
            each.grad = torch.empty_like(each)

    # torch's own needs a driver, contents or not.
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    target = [torch.empty(each.shape) for each in batch["target"]]
    return trainer.optimiser_step({"data": torch.empty(batch["data"].shape), "target": target})


def test_a_scaled_step_is_an_unscaled_one() -> None:
    """On a CPU, with contents: nothing but rounding is different."""
    torch.manual_seed(0)
    first, second = (torch.nn.Linear(4, 1) for _ in range(2))
    second.load_state_dict(first.state_dict())
    data = torch.randn(8, 4)
    for network, enabled in ((first, True), (second, False)):
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        scaler = torch.amp.GradScaler("cpu", enabled=enabled)
        step_scaled(scaler, optimizer, network(data).square().mean(), network.parameters(), 1.0)
    torch.testing.assert_close(first.weight, second.weight)


def test_losses_are_read_at_once_at_the_end_of_an_epoch() -> None:
    outputs = [{"loss": 0.5}, {"loss": torch.tensor(0.25), "taken": True}, {"loss": torch.tensor([2.0])}]
    assert [float(each["loss"]) for each in on_host(outputs)] == [0.5, 0.25, 2.0]
    assert not any(isinstance(each["loss"], torch.Tensor) for each in on_host(outputs))


class Augmenting(DeviceAugmentation):
    def __init__(self, device: str, seed: int = 3) -> None:
        self.device, self.seed = torch.device(device), seed


def pipeline(**target: Any) -> Any:
    return nnunet_transforms((24, 20), (-0.5, 0.5), [[1.0, 1.0]], (0, 1), False, **target)


def test_where_augmentation_is_done() -> None:
    cpu, gpu = Augmenting("cpu"), Augmenting("cuda")
    made = pipeline()
    assert cpu.take_augmentation(made) is made and cpu.augmentation is None
    assert gpu.take_augmentation(made) is None and gpu.augmentation is not None
    cascade = pipeline(is_cascaded=True, foreground_labels=[1])
    assert Augmenting("cuda").take_augmentation(cascade) is cascade
    batch = {"data": torch.zeros(1)}
    assert cpu.augmented(batch, 0) is batch


def test_a_batch_is_augmented_by_its_number_whatever_was_drawn_before() -> None:
    training = Augmenting("cpu")
    training.augmentation = BatchAugmentation(pipeline())
    batch = {"data": torch.randn(2, 1, 37, 31), "target": torch.ones(2, 1, 37, 31, dtype=torch.int16)}

    def made(number: int) -> Callable[[], Any]:
        return training.augmented({key: value.clone() for key, value in batch.items()}, number)["data"]

    first = made(7)
    torch.rand(100)
    assert torch.equal(first, made(7)) and not torch.equal(first, made(8))
