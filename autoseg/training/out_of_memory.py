"""Out of memory all the same: a smaller step, and a file that remembers it.

The network stays as it is, with its weights: only the batch and then the patch shrink, which every network
bears, so that a training goes on from where it was. What did not fit is recorded in the workspace for each
data set; every plan of the same trainer, network width and device starts within it from then on.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autoseg.errors import AutosegError, RunError
from autoseg.planner.budget import SMALLEST_BATCH, TOTAL_STRIDE
from autoseg.planner.plan import Configuration, Plan
from autoseg.system.files import read_json, write_json

log = logging.getLogger(__name__)

# What torch and its libraries say where they get no memory; a CPU has no exception of its own for it.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
_WIDTHS = ("features_per_stage", "width", "base_features", "features")


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an exception says that there was no memory left."""
    if isinstance(problem, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(problem, RuntimeError) and any(words in str(problem).lower() for words in _WORDS)


@dataclass(frozen=True)
class MemoryLimits:
    """What fitted into memory, of trainings that had once run out of it.

    Attributes:
        path: the file that holds the limits.
        trainer: whose steps they are.
        device: where it trains.
    """

    path: Path
    trainer: str
    device: torch.device

    def applied(self, plan: Plan, name: str) -> Plan:
        """The plan with a configuration that keeps to what is remembered."""
        configuration = plan.configuration(name)
        most = self._stored().get(self._key(configuration))
        while most is not None and voxels_of(configuration) > most:
            configuration = self._smaller(configuration)
        return dataclasses.replace(plan, configurations={**plan.configurations, name: configuration})

    def lowered(self, plan: Plan, name: str) -> Plan:
        """The plan with a smaller step in a configuration that ran out of memory; it is remembered.

        Raises:
            RunError: if there is no smaller one.
        """
        before = plan.configuration(name)
        after = self._smaller(before)
        write_json(self.path, {**self._stored(), self._key(before): voxels_of(after)})
        log.warning(
            "%s ran out of memory on the %s. It goes on: %s.",
            self.trainer,
            self.device.type,
            ", ".join(changes(before, after)),
        )
        return dataclasses.replace(plan, configurations={**plan.configurations, name: after})

    def _smaller(self, configuration: Configuration) -> Configuration:
        found = smaller(configuration)
        if found is None:
            raise RunError(
                f"{self.trainer} ran out of memory on the {self.device.type} with its smallest step: batch "
                f"{configuration.batch_size}, patch {_times(configuration.patch_size)}. Give it more memory, "
                f"or choose a smaller network."
            )
        return found

    def _stored(self) -> Mapping[str, Any]:
        try:
            document = read_json(self.path)
        except AutosegError:
            return {}
        return document if isinstance(document, dict) else {}

    def _key(self, configuration: Configuration) -> str:
        kwargs = configuration.architecture.kwargs
        width = next((kwargs[name] for name in _WIDTHS if name in kwargs), "published")
        first = width[0] if isinstance(width, list | tuple) else width
        return f"{self.trainer} {configuration.name} width {first} on {_machine(self.device)}"


def smaller(configuration: Configuration) -> Configuration | None:
    """Half the batch; from the smallest on, half the patch along the axis that is longest for its strides.

    Returns:
        The configuration with the very same network; None if there is nothing to halve.
    """
    least = min(SMALLEST_BATCH, configuration.batch_size)
    if configuration.batch_size > least:
        return dataclasses.replace(configuration, batch_size=max(configuration.batch_size // 2, least))
    patch = configuration.patch_size
    rows = configuration.architecture.kwargs.get("strides")
    steps = [math.prod(column) for column in zip(*rows, strict=True)] if rows else [TOTAL_STRIDE] * len(patch)
    # Two voxels at the coarsest feature maps are what normalisation needs at least.
    halves = [max(math.ceil(n / 2 / step), 2) * step for n, step in zip(patch, steps, strict=True)]
    shortened = [i for i, n in enumerate(patch) if halves[i] < n]
    if not shortened:
        return None
    axis = max(shortened, key=lambda i: patch[i] / steps[i])
    shorter = tuple(halves[i] if i == axis else n for i, n in enumerate(patch))
    return dataclasses.replace(configuration, patch_size=shorter)


def changes(before: Configuration, after: Configuration) -> list[str]:
    """What a lack of memory changed, in words."""
    found = []
    if before.batch_size != after.batch_size:
        found.append(f"batch {before.batch_size} -> {after.batch_size} (out of memory)")
    if before.patch_size != after.patch_size:
        found.append(f"patch {_times(before.patch_size)} -> {_times(after.patch_size)} (out of memory)")
    return found


def voxels_of(configuration: Configuration) -> int:
    """Voxels of a step."""
    return configuration.batch_size * math.prod(configuration.patch_size)


def _machine(device: torch.device) -> str:
    """The device with its memory, which is what a limit holds for."""
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return f"{found.name} {found.total_memory / 1e9:.0f} GB"
    return f"{device.type} {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"


def _times(patch: tuple[int, ...]) -> str:
    return "x".join(map(str, patch))
