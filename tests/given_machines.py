"""Machine models for tests, so that a decision is the same on every machine that tests run on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoseg.planner.networks import Hardware
from autoseg.system.machine_model import MachineModel

MACHINES = Path(__file__).parent / "machines"
NAMES = ("fast_bf16", "slow", "laptop", "gpu")


def file_of(name: str) -> Path:
    """The file of a machine."""
    return MACHINES / f"{name}.json"


def hardware_of(name: str, memory_gb: float | None = None) -> Hardware:
    """What the planner sees of a machine."""
    return Hardware.of(MachineModel.load(file_of(name)), memory_gb)


def steps_take(monkeypatch: pytest.MonkeyPatch, seconds: Callable[[], float]) -> None:
    """Let a measured step take so many seconds, on a machine that is the same everywhere.

    Args:
        monkeypatch: pytest's.
        seconds: read at every measurement.
    """
    from autoseg.tailoring import choose_shape

    def measured(fitting: Any, shape: Any, _: float) -> Any:
        return (fitting.voxels(shape), seconds()), (fitting.voxels(shape), 1e-6)

    monkeypatch.setattr(choose_shape, "machine_model", lambda _: MachineModel.load(file_of("slow")))
    monkeypatch.setattr(choose_shape, "share_now", lambda _: 1.0)
    monkeypatch.setattr(choose_shape, "measured", measured)
    monkeypatch.setattr(choose_shape, "around_network", lambda _: (0.0, 0.0, 0.0))
