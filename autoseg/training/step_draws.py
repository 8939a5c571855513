"""Random draws as a function of the seed and of where a training is, so that a restart needs no stored state.

A generator's state would have to be stored with each checkpoint, in each process that draws. Seeded anew for
each batch and each step instead, a training that goes on from step n draws what it would have drawn, whatever
was drawn before, and in whichever process.
"""

from __future__ import annotations

import random
from enum import IntEnum
from typing import Any

import numpy as np
import torch


class Stream(IntEnum):
    """What is drawn; the numbers are part of every seed, so they stay as they are."""

    TRAINING_BATCH = 1
    VALIDATION_BATCH = 2
    STEP = 3
    AUGMENTATION = 4


def seed_draws(seed: int, stream: Stream, number: int, device: str = "cpu") -> None:
    """Seed Python's, numpy's and torch's generators for one batch or one step.

    Args:
        seed: the run's.
        stream: what is drawn.
        number: of the batch or step, from 0.
        device: type of the device whose generator is seeded beside the CPU's.
    """
    words = np.random.SeedSequence((seed % 2**64, int(stream), number)).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    value = int(words[2]) << 32 | int(words[3])
    # `torch.manual_seed` goes through all kinds of devices, which takes 0.2 ms.
    (torch.default_generator.manual_seed if device == "cpu" else torch.manual_seed)(value)


class StepLoader:
    """Batches of a loader, each drawn from a seed of its own.

    Args:
        loader: whose ``__next__`` draws from the global generators.
        seed: the run's.
        stream: what the batches are for.

    Attributes:
        position: number of the next batch.
    """

    def __init__(self, loader: Any, seed: int, stream: Stream) -> None:
        self.loader, self.seed, self.stream = loader, seed, stream
        self.position = 0

    def __iter__(self) -> StepLoader:
        return self

    def __next__(self) -> Any:
        seed_draws(self.seed, self.stream, self.position)
        batch = next(self.loader)
        self.position += 1
        return batch


def seek(loader: Any, position: int) -> None:
    """Let a loader go on with batch `position`; nnU-Net's own loaders know none and stay as they are."""
    if isinstance(loader, StepLoader):
        loader.position = position
