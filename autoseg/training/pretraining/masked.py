"""Training without labels: the network restores hidden blocks of images, and starts from there on its task.

Masked-image modelling (Xie et al. 2022, SimMIM, arXiv 2111.09886) with a trainer's own encoder and decoder;
only the head is another one, with an output for each channel of the image. What is written has everything but
that head, and `autoseg.transfer.initialisation` loads it into any network of the same architecture.
"""

from __future__ import annotations

import logging
import math
import pydoc
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoseg import plugins
from autoseg.architectures import (
    channels_last,
    class_path,
    network_kwargs,
    parts_of,
    prepare_for_cpu,
    requires_import,
    system_blocks,
    with_imports,
)
from autoseg.errors import RunError, UsageError
from autoseg.planner.plan import Configuration, Plan
from autoseg.planner.topology import topology_of
from autoseg.system import progress
from autoseg.system.device import autocast_dtype, seed_everything
from autoseg.system.files import atomic_path
from autoseg.system.process_memory import take_from_system
from autoseg.training.budgeted_loop import Clock
from autoseg.training.gradient_step import take_step
from autoseg.training.loaders import HeldDataset, folder_of_cases
from autoseg.training.pretraining.masking import Masking, Patches, masked_loss
from autoseg.training.schedule import schedule_factor

log = logging.getLogger(__name__)

LARGEST_GRADIENT, WARMUP = 1.0, 0.05
# Losses are averaged over this part of a training, at its beginning and its end.
REPORTED_PART = 0.1


@dataclass(frozen=True)
class Pretraining:
    """How long and how a network is trained without labels.

    Attributes:
        seconds: wall clock; either this or `steps`.
        steps: number of optimiser steps.
        learning_rate: AdamW's rate at the start.
        weight_decay: AdamW's weight decay.
        masking: what is hidden.
        seed: fixes weights, patches and masks.
    """

    seconds: float | None = None
    steps: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    masking: Masking = field(default_factory=Masking)
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.steps is None) or (self.seconds or self.steps or 0) <= 0:
            raise UsageError("Pre-training takes a time or a number of steps, above zero, and not both.")


@dataclass(frozen=True)
class Pretrained:
    """A network that was trained without labels.

    Attributes:
        path: the checkpoint.
        steps: number of steps that were made.
        seconds: time that they took.
        first_loss: masked loss at the beginning, averaged over a tenth of the steps.
        last_loss: likewise at the end.
        tensors: parameters in the checkpoint.
    """

    path: Path
    steps: int
    seconds: float
    first_loss: float
    last_loss: float
    tensors: int


def pretrain(
    folder: Path,
    plan: Plan,
    configuration: str,
    trainer: str,
    output: Path,
    how: Pretraining,
    device: torch.device | None = None,
    cases: list[str] | None = None,
) -> Pretrained:
    """Train a trainer's network on images alone.

    Args:
        folder: preprocessed cases of the configuration, with or without labels; labels are not read.
        plan: the plan.
        configuration: one of the plan's.
        trainer: whose network it is.
        output: the checkpoint's file. Interrupted, a training leaves there what it has learnt so far.
        how: time, rate and masking.
        device: the CPU if None.
        cases: identifiers; all in the folder if None.

    Raises:
        PlanError: for a configuration that the plan does not have.
        RunError: if there are no cases, or the loss is not finite.
        UsageError: for an unknown trainer.
    """
    chosen, where = plan.configuration(configuration), device or torch.device("cpu")
    names = folder_of_cases(folder) if cases is None else sorted(cases)
    if not names:
        raise RunError(f"There are no preprocessed cases in {folder}. Preprocess images first.")
    seed_everything(how.seed)
    held = HeldDataset(str(folder), names, None)
    channels = int(held.load_case(names[0])[0].shape[0])
    network = reconstructing_network(trainer, chosen, channels).to(where)
    session = _Session(network, Patches(held, chosen.patch_size, how.seed), chosen.batch_size, how, where)
    try:
        session.run()
    finally:
        if session.losses:
            _write(output, session, trainer, configuration, names)
    done = _summary(output, session)
    log.info(
        "%s, without labels: masked loss %.3f -> %.3f in %d steps (%.0f s), %d tensors in %s",
        *(trainer, done.first_loss, done.last_loss, done.steps, done.seconds, done.tensors, output),
    )
    return done


def reconstructing_network(trainer: str, configuration: Configuration, channels: int) -> nn.Module:
    """A trainer's network with one output for each channel of the image, at full resolution only."""
    found = plugins.trainer_class(trainer)
    spec = configuration.architecture
    path, kwargs, imports = spec.class_path, dict(spec.kwargs), spec.requires_import
    name = found.architecture
    if name is not None and class_path(name) != path:
        path, imports = class_path(name), requires_import(name)
        kwargs = network_kwargs(name, topology_of(configuration), **found.architecture_options)
    design: Any = pydoc.locate(path)
    network: Any = design(
        input_channels=channels, num_classes=channels, deep_supervision=False, **with_imports(kwargs, imports)
    )
    if hasattr(network, "initialize"):
        network.apply(network.initialize)
    built: nn.Module = network
    return built


class _Session:
    """One training: the network, what it sees and how far it has come."""

    def __init__(
        self, network: nn.Module, patches: Patches, batch: int, how: Pretraining, device: torch.device
    ) -> None:
        self.network, self.patches, self.batch, self.how, self.device = network, patches, batch, how, device
        self.layout = channels_last(len(patches.patch_size))
        if device.type == "cpu":
            prepare_for_cpu(network)
            take_from_system(system_blocks(network))
        network.to(memory_format=self.layout).train()  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            network.parameters(), how.learning_rate, weight_decay=how.weight_decay
        )
        self.generator = torch.Generator().manual_seed(how.seed)
        self.losses: list[float] = []
        self.seconds = 0.0

    def run(self) -> None:
        """Train until the time or the steps are used up."""
        total = self.how.seconds or float(self.how.steps or 0)
        clock = Clock(self.how.seconds or math.inf)
        with progress.stage("Pre-train", total=total) as advance:
            while not self._is_over(clock):
                before = clock.elapsed
                self.losses.append(self._step(self._progress(clock)))
                self.seconds = clock.elapsed
                if not math.isfinite(self.losses[-1]):
                    self.losses.clear()
                    raise RunError("The masked loss is not finite. Choose a lower learning rate.")
                amount = clock.elapsed - before if self.how.seconds else 1
                advance(amount, detail=f"step {len(self.losses)}, masked loss {self.losses[-1]:.3f}")

    def _progress(self, clock: Clock) -> float:
        return clock.progress if self.how.steps is None else len(self.losses) / self.how.steps

    def _is_over(self, clock: Clock) -> bool:
        if self.how.steps is not None:
            return len(self.losses) >= self.how.steps
        return bool(self.losses) and clock.over(self.seconds / len(self.losses))

    def _step(self, done: float) -> float:
        image, inside = self.patches.draw(self.batch)
        hidden = self.how.masking.hidden(self.batch, self.patches.patch_size, self.generator)
        image, counted = image.to(self.device), (hidden & inside).to(self.device)
        # Intensities are normalised, so zero is what is neither dark nor bright.
        seen = image.masked_fill(hidden.to(self.device), 0.0).contiguous(memory_format=self.layout)
        dtype = self._dtype()
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            output: Tensor = self.network(seen)
        loss = masked_loss(output, image, counted)
        for group in self.optimizer.param_groups:
            group["lr"] = self.how.learning_rate * schedule_factor("cosine", done, WARMUP)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if not take_step(self.optimizer, self.network.parameters(), LARGEST_GRADIENT):
            log.warning("A step whose gradients are not finite is left out.")
        return float(loss.detach())

    def _dtype(self) -> torch.dtype | None:
        if self.device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
        return autocast_dtype(self.device)


def _write(output: Path, session: _Session, trainer: str, configuration: str, cases: list[str]) -> None:
    head = set(parts_of(session.network)["head"])
    state = session.network.state_dict()
    about = {
        "trainer": trainer,
        "configuration": configuration,
        "steps": len(session.losses),
        "cases": cases,
        "how": asdict(session.how),
    }
    weights = {name: value.cpu().contiguous() for name, value in state.items() if name not in head}
    with atomic_path(output) as path:
        torch.save({"network_weights": weights, "pretraining": about}, path)


def _summary(output: Path, session: _Session) -> Pretrained:
    part = max(1, round(REPORTED_PART * len(session.losses)))
    parts = parts_of(session.network).items()
    return Pretrained(
        output,
        len(session.losses),
        round(session.seconds, 2),
        sum(session.losses[:part]) / part,
        sum(session.losses[-part:]) / part,
        sum(len(names) for part_name, names in parts if part_name != "head"),
    )
