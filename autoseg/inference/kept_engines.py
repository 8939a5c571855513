"""What engines take for a network on this machine: measured once, and kept in the user's cache."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autoseg.errors import AutosegError
from autoseg.system.device import model_name
from autoseg.system.files import digest, read_json, write_json

log = logging.getLogger(__name__)


def engines_file() -> Path:
    """Where this user's measurements lie, for all models."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "autoseg" / "engines.json"


# Of torch's time, what the other may take at most: a smaller gain is within the measurement's noise.
_FASTER = 0.9


@dataclass(frozen=True)
class Measured:
    """What a network takes in torch and in the other program, in seconds.

    Attributes:
        torch: of a patch.
        other: of a patch.
        conversion: of a network into the other, first pass included.
    """

    torch: float
    other: float
    conversion: float

    def is_worth(self, passes: int) -> bool:
        """Whether so many passes of a network save more than its conversion and the check take."""
        cost = self.conversion + self.torch + self.other
        return self.other <= _FASTER * self.torch and passes * (self.torch - self.other) > cost


@dataclass(frozen=True)
class Kept:
    """The measurement of one network on one machine.

    Attributes:
        network: what its speed depends on: architecture, channels, patch.
        dtype: of the computation; None: float32.
        other: the package that is compared with torch.
    """

    network: Mapping[str, Any]
    dtype: torch.dtype | None
    other: str = "openvino"

    @property
    def key(self) -> str:
        """What has to be the same for a measurement to count: network, processor, threads, versions."""
        versions = [importlib.metadata.version(name) for name in ("torch", self.other)]
        machine = [model_name("cpu"), torch.get_num_threads(), str(self.dtype), versions]
        return digest([dict(self.network), machine])

    def read(self) -> Measured | None:
        """What was measured; None: nothing here."""
        unknown = (AutosegError, importlib.metadata.PackageNotFoundError, AttributeError, KeyError, TypeError)
        with contextlib.suppress(*unknown, ValueError):
            found = read_json(engines_file())[self.key]["seconds"]
            return Measured(*(float(found[name]) for name in ("torch", self.other, "conversion")))
        return None

    def write(self, measured: Measured) -> None:
        """Keep a measurement; where nothing can be written, it is made again the next time."""
        stored: dict[str, Any] = {}
        with contextlib.suppress(AutosegError):
            stored = dict(read_json(engines_file()))
        seconds = {
            "torch": round(measured.torch, 5),
            self.other: round(measured.other, 5),
            "conversion": round(measured.conversion, 2),
        }
        try:
            write_json(engines_file(), {**stored, self.key: {"seconds": seconds}})
        except (AutosegError, OSError, importlib.metadata.PackageNotFoundError) as problem:
            log.debug("The measurement of engines is not kept: %s", problem)


def network_key(architecture: Mapping[str, Any], channels: int, patch_size: Sequence[int]) -> dict[str, Any]:
    """What the speed of a network depends on; weights do not change it."""
    return {"architecture": dict(architecture), "channels": channels, "patch_size": list(patch_size)}
