"""The end of a training step: gradients clipped, weights changed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from autoseg.training.team import ALONE, Team


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


def step_scaled(
    scaler: torch.amp.GradScaler,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    parameters: Iterable[nn.Parameter],
    largest_gradient: float,
    team: Team = ALONE,
) -> None:
    """nnU-Net's step on a GPU, of a network that computes in float16: nothing in it is waited for.

    The scaler keeps small gradients from vanishing; where they overflow, a fused optimiser leaves the step
    out on the device.

    Args:
        scaler: of the loss.
        optimizer: the optimiser of the parameters; a fused one.
        loss: of the batch.
        parameters: the parameters.
        largest_gradient: norm of all gradients together to which they are clipped.
        team: the devices that computed shares of the gradients.
    """
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    parameters = list(parameters)
    team.sum_gradients(parameters)
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(parameters, largest_gradient)
    scaler.step(optimizer)
    scaler.update()
