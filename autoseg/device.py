"""The device that a name stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoseg.errors import UsageError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """The torch device of that name; ``auto`` takes a GPU where there is one.

    Raises:
        UsageError: if the device is not there.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there.get(name.split(":")[0], False):
        have = ", ".join(kind for kind, yes in there.items() if yes)
        raise UsageError(f"The device {name!r} is not there. This machine has: {have}.")
    return torch.device(name)
