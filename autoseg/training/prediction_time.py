"""How long a trained network takes for the held-out cases, measured before the training ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from autoseg.architectures import channels_last
from autoseg.inference.model import _tiles
from autoseg.inference.sliding_window import VOXELS_AT_ONCE
from autoseg.preprocessing.dataset import read_preprocessed
from autoseg.run import Run
from autoseg.system.device import autocast_dtype
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

# Resampling back, reading and writing come on top of the network's time.
SECONDS_PER_CASE = 0.03
# Cutting windows out and adding their logits up, as a factor on the network's time.
WINDOWS_OVERHEAD = 1.15


def prediction_seconds(trainer: Trainer, run: Run, workspace: Workspace) -> tuple[float, float]:
    """Time to predict a fold's held-out cases, from a few tiles.

    Returns:
        Of one network without mirroring, and of all that is done once a case, whatever the networks.
    """
    configuration = trainer.configuration_manager
    patch = tuple(configuration.patch_size)
    _, held_out = trainer.do_split()
    folder = workspace.cases_of(run.dataset, configuration.data_identifier)
    counts = [_tiles(read_preprocessed(folder, case, array=False)[1]["shape"], patch) for case in held_out]
    # As many tiles as go through the network at once.
    most = VOXELS_AT_ONCE.get(trainer.device.type, VOXELS_AT_ONCE["cpu"]) // int(np.prod(patch))
    batch = max(1, min(most, max(counts, default=1)))
    passes = WINDOWS_OVERHEAD * _pass_seconds(trainer, batch) / batch * sum(counts)
    return passes, SECONDS_PER_CASE * len(held_out)


def _pass_seconds(trainer: Trainer, batch: int) -> float:
    """Time of one forward pass."""
    patch = tuple(trainer.configuration_manager.patch_size)
    data = torch.randn(batch, trainer.num_input_channels, *patch, device=trainer.device)
    if trainer.device.type == "cpu":
        data = data.to(memory_format=channels_last(len(patch)))
    dtype = autocast_dtype(trainer.device)
    trainer.set_deep_supervision_enabled(False)
    network = trainer.network.eval()
    times = []
    with torch.no_grad(), torch.autocast(trainer.device.type, dtype=dtype, enabled=dtype is not None):
        for _ in range(3):
            began = time.perf_counter()
            network(data)
            if trainer.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
    trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
    return min(times[1:])
