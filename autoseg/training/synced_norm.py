"""Batch normalisation over a batch whose samples lie on several devices.

torch's own (`torch.nn.SyncBatchNorm`) needs GPUs; this one goes by any process group, so that what trains on
GPUs is what is tested without.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoseg.training.team import Team


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient, for each of them uses the sum."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class SyncedBatchNorm(_BatchNorm):
    """`torch.nn.BatchNorm2d` and its like, with the mean and variance of the samples of all processes."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes."""

    def forward(self, input: Tensor) -> Tensor:
        """(b, c, ...) -> (b, c, ...)."""
        if not self.training or not self.track_running_stats:
            return super().forward(input)  # type: ignore[no-any-return]
        data = input.float()
        axes = [axis for axis in range(data.ndim) if axis != 1]
        own = torch.cat([data.sum(axes), data.new_tensor([float(data.numel() // data.shape[1])])])
        total = _Sum.apply(own)
        count = total[-1].detach()
        mean = total[:-1] / count
        shape = [1, -1, *[1] * (data.ndim - 2)]
        centred = data - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        found = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        same: Tensor = found.to(input.dtype)
        return same

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None and self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        # None: the plain mean over all batches.
        part = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, part)
        self.running_var.lerp_(variance, part)


def synchronise(network: nn.Module, team: Team) -> None:
    """Let the batch normalisation of a network see the batches of all processes; names and weights stay."""
    if team.size == 1:
        return
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = SyncedBatchNorm
