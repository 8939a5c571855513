"""The end of a training step: gradients clipped, weights changed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def take_step(
    optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], largest_gradient: float
) -> bool:
    """Clip the gradients and step, or leave the step out where they are not finite.

    As nnU-Net's gradient scaler does on a GPU: one such step would spoil all weights for good.

    Args:
        optimizer: the optimiser of the parameters.
        parameters: the parameters with their gradients.
        largest_gradient: norm of all gradients together to which they are clipped.

    Returns:
        Whether the step was taken.
    """
    norm = torch.nn.utils.clip_grad_norm_(parameters, largest_gradient)
    if taken := bool(torch.isfinite(norm)):
        optimizer.step()
    return taken
