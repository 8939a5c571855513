"""Several devices that train one network: each computes a share of every batch, and all make the same step.

Each process has the whole batch (batch n is a function of the seed and of n) and runs the network on its
share of the samples. Their outputs are gathered, so that each computes the very loss of the whole batch,
whatever the loss is; gradients of the shares are summed. Statistics of batch normalisation are those of the
whole batch (`autoseg.training.synced_norm`); instance normalisation looks at single samples anyway. So the
batch, the schedule and, up to rounding, the weights are those of one device. What depends on the clock is
decided by the first process, and the others do as it does.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from autoseg.errors import RunError, UsageError
from autoseg.names import whole_number

VARIABLE = "AUTOSEG_DEVICES"
# Machines of a SLURM job that train one run together, each with so many devices.
NODES_VARIABLE = "AUTOSEG_NODES"
# The first process may write a large checkpoint while the others wait.
PATIENCE = datetime.timedelta(minutes=30)


def choose(devices: int, nodes: int = 1) -> None:
    """Let all trainings of this process and of its children use so many devices.

    Args:
        devices: of each machine.
        nodes: machines of the SLURM job that this process belongs to.

    Raises:
        UsageError: for less than one.
    """
    if devices < 1:
        raise UsageError(f"--devices {devices}: expected 1 or more.")
    os.environ[VARIABLE], os.environ[NODES_VARIABLE] = str(devices), str(nodes)


@dataclass(frozen=True)
class Places:
    """Where the processes of a training run.

    Attributes:
        devices: of each machine.
        nodes: machines.
    """

    devices: int
    nodes: int = 1

    @property
    def count(self) -> int:
        """All devices together."""
        return self.devices * self.nodes


def chosen() -> Places:
    """The devices that a training is to use.

    Raises:
        UsageError: if the environment names no number.
    """
    return Places(_number(VARIABLE), _number(NODES_VARIABLE))


def _number(variable: str) -> int:
    text = os.environ.get(variable, "") or "1"
    number = whole_number(text)
    if not number:
        raise UsageError(f"{variable}={text}: expected a number, 1 or more.")
    return number


@dataclass(frozen=True)
class Team:
    """The processes of one training; of a training on one device, one that is alone.

    Attributes:
        rank: which of them this is, from 0; the first one decides and writes.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def part_of(self, count: int) -> slice:
        """Which of so many samples are this process's; the first ones have one more where it does not divide.

        Raises:
            RunError: if there are fewer samples than devices.
        """
        if count < self.size:
            raise RunError(
                f"A batch of {count} cannot be divided among {self.size} devices. Train on {count} or fewer "
                f"(--devices), or let the batch be larger (--memory)."
            )
        each, more = divmod(count, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def share(self, batch: Tensor) -> Tensor:
        """This process's samples of a batch (b, ...)."""
        return batch if self.size == 1 else batch[self.part_of(len(batch))]

    def whole(self, outputs: Any, count: int) -> Any:
        """The outputs of all processes for a batch of `count` samples; gradients flow into the own share."""
        if self.size == 1:
            return outputs
        if isinstance(outputs, list | tuple):
            return [_Gathered.apply(each, count, self) for each in outputs]
        return _Gathered.apply(outputs, count, self)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by the sum over all processes, in one exchange."""
        if self.size == 1:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        together = torch.cat([gradient.reshape(-1).float() for gradient in gradients])
        dist.all_reduce(together)
        start = 0
        for gradient in gradients:
            gradient.copy_(together[start : start + gradient.numel()].view(gradient.shape))
            start += gradient.numel()

    def agreed(self, value: Any) -> Any:
        """What the first process says; each calls this at the same place."""
        if self.size == 1:
            return value
        if isinstance(value, bool | int | float):  # the usual case, each step: without pickling
            number = torch.tensor([float(value)], dtype=torch.float64)
            dist.broadcast(number, 0)
            return type(value)(number.item())
        found = [value if self.leads else None]
        dist.broadcast_object_list(found, 0)
        return found[0]

    def mine_of(self, count: int) -> range:
        """Numbers of the validation batches that are this process's."""
        return range(self.rank, count, self.size)

    def in_turn(self, own: Sequence[Any]) -> list[Any]:
        """Results of all processes for `mine_of`, in the order of their numbers."""
        if self.size == 1:
            return list(own)
        each: list[Any] = [None] * self.size
        dist.all_gather_object(each, list(own))
        rounds = max(map(len, each))
        return [results[i] for i in range(rounds) for results in each if i < len(results)]


ALONE = Team()
_active = ALONE


def active() -> Team:
    """The team of this process."""
    return _active


def join(rank: int, size: int, address: str, port: int, on_gpu: bool) -> Team:
    """Join the other processes of a training, and wait for them."""
    global _active
    # Numbers and decisions go through the processor, tensors of a GPU from GPU to GPU.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        init_method=f"tcp://{address}:{port}",
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )
    _active = Team(rank, size)
    return _active


def leave() -> None:
    """Leave them."""
    global _active
    if _active.size > 1:
        dist.destroy_process_group()
    _active = ALONE


class _Gathered(torch.autograd.Function):
    """Shares of all processes as one batch, (b, ...)."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, count: int, team: Team) -> Tensor:
        ctx.part = team.part_of(count)
        most = -(-count // team.size)  # shares of one size, for the exchange
        padded = own.new_zeros((most, *own.shape[1:]))
        padded[: len(own)] = own
        pieces = [torch.empty_like(padded) for _ in range(team.size)]
        dist.all_gather(pieces, padded)
        sizes = [Team(rank, team.size).part_of(count) for rank in range(team.size)]
        return torch.cat([piece[: part.stop - part.start] for piece, part in zip(pieces, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0][ctx.part].contiguous(), None, None
