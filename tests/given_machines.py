"""Machine models for tests, so that a decision is the same on every machine that tests run on."""

from __future__ import annotations

from pathlib import Path

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
