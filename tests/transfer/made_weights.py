"""Networks with seeded weights, and checkpoints of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from network_facts import build
from torch import Tensor, nn


def seeded(
    name: str, channels: int, classes: int, patch: Any = (32, 32), seed: int = 0, **options: Any
) -> Any:
    torch.manual_seed(seed)
    return build(name, channels, classes, patch, options.pop("stages", 4), **options).eval()


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def checkpoint(path: Path, network: nn.Module) -> Path:
    """As nnU-Net writes it, numpy numbers among its log included."""
    log = {"mean_fg_dice": [np.float64(0.5)], "epoch_start_timestamps": [np.float32(1.0)]}
    entries = {"logging": log, "_best_ema": np.float64(0.5), "current_epoch": 3, "trainer_name": "nnunet"}
    return saved(path, {"network_weights": network.state_dict(), **entries})


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def changed(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
