"""A training in legs: paused to be judged, and gone on with from there.

While it is not decided who goes on, the learning rate stays where it is (after the warm-up), for nobody knows
how long the training will be. Before each pause it falls for a while: weights at a full rate are noisy, and
what they reach says little about where the training is going (Haegele et al. 2024, "Scaling laws and
compute-optimal training beyond fixed training durations", arXiv 2405.18392). After the pause it is full
again, from the weights that were judged: nothing is trained twice and nothing is thrown away (Wen et al.
2024, arXiv 2410.05192; warm restarts go back to Loshchilov and Hutter, SGDR, 2017). The last leg falls with
the trainer's own schedule, from its first step to its last.

Measured in runs of 60 CPU seconds, out-of-fold Dice after 20 % of them: resnet34_mlp on Hippocampus and
FetalHead, mobilenetv2_unet on both. At the full rate 0.06, 0.68, 0.40, 0.00; the mean of the last third of
the weights 0.18, 0.78, 0.02, 0.00; after a fall 0.16, 0.62, 0.44, 0.00; after a fall and with statistics
taken anew (`settle`) 0.17, 0.82, 0.53, 0.84. They ended at 0.68, 0.91, 0.67, 0.87.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from autoseg.system.files import atomic_path

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

# Of a leg that ends in a pause, the part in which the rate falls.
DECAY_FRACTION = 0.4
# Training batches that statistics of batch normalisation are taken from, and the part of a run that may take.
SETTLING_BATCHES = 8
SETTLING_FRACTION = 0.02


@dataclass(frozen=True)
class Leg:
    """A part of a training.

    Attributes:
        from_s: seconds of training that have gone by when it begins.
        until_s: seconds of training at which it pauses; infinite: it goes to the end of the run.
        run_s: wall clock of the whole run, prediction included; None: the plan's.
        place: the results folder of models of this pause; None: it goes to the end.
        decay_fraction: part of a leg that ends in a pause in which the rate falls.
    """

    from_s: float = 0.0
    until_s: float = math.inf
    run_s: float | None = None
    place: Path | None = None
    decay_fraction: float = DECAY_FRACTION

    def scaled(self, factor: float) -> Leg:
        """The same for a training that has `factor` times the seconds."""
        run_s = None if self.run_s is None else factor * self.run_s
        return replace(self, from_s=factor * self.from_s, until_s=factor * self.until_s, run_s=run_s)

    def progress(self, elapsed_s: float, train_s: float, warmup: float) -> float:
        """How far a schedule is that rises for `warmup` and then falls: at its height, or in its fall.

        Args:
            elapsed_s: seconds of training so far.
            train_s: seconds of the whole training.
            warmup: part of the whole training in which the rate rises.
        """
        if elapsed_s < warmup * train_s:
            return elapsed_s / train_s
        end_s, falls_from_s = min(self.until_s, train_s), self.from_s
        if self.until_s < train_s:
            falls_from_s = end_s - self.decay_fraction * (end_s - self.from_s)
        fallen = (elapsed_s - falls_from_s) / max(end_s - falls_from_s, 1e-9)
        return warmup + (1 - warmup) * min(max(fallen, 0.0), 1.0)


def draw_anew(trainer: Trainer) -> None:
    """Seed a leg that is not the first, so that it does not meet the samples of the first again."""
    seed = (trainer.seed + 7919 * trainer.steps_done) % 2**32
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def settle(trainer: Trainer) -> None:
    """Make the network of a paused training, whose checkpoint is written, ready to be judged.

    Where the validation loss chooses the weights, these are the best so far. Statistics of batch
    normalisation are taken anew, over some training batches: the running ones lag so far behind the weights
    of a young network that it may predict nothing at all, whatever it has learnt (Izmailov et al. 2018, arXiv
    1803.05407; Wu and Johnson 2021, arXiv 2105.07576).
    """
    trainer.restore_best_weights()
    network = trainer._bare_network()
    frozen = {id(norm) for norm in trainer._kept_norms}
    norms = [norm for norm in network.modules() if isinstance(norm, _BatchNorm) and id(norm) not in frozen]
    if not norms:
        return
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    began, dtype = time.monotonic(), trainer.autocast_dtype
    longest_s = math.inf if trainer.train_s is None else SETTLING_FRACTION * trainer.train_s
    for number in range(SETTLING_BATCHES):
        if number >= 2 and time.monotonic() - began > longest_s:
            break
        batch = trainer.augmented(next(trainer.dataloader_train), trainer.steps_done + number)
        data = batch["data"].to(trainer.device)  # augmented in single precision
        with torch.no_grad(), torch.autocast(trainer.device.type, dtype=dtype, enabled=dtype is not None):
            network(data)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def save_rung(trainer: Trainer, path: Path) -> None:
    """Write the weights of a paused training, for prediction without mirrored copies, as stock reads them."""
    state = {
        "network_weights": trainer._bare_network().state_dict(),
        "trainer_name": type(trainer).__name__,
        "init_args": {key: value for key, value in trainer.my_init_kwargs.items() if key != "autoseg"},
        "inference_allowed_mirroring_axes": None,
        "current_epoch": trainer.current_epoch,
    }
    with atomic_path(path) as temporary:
        torch.save(state, temporary)
