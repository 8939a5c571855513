"""How many steps of a training were not finite, counted on a GPU without waiting for it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class StepCount:
    """Counts steps that are not finite: at once where the value is known, else on the device.

    A value on a GPU is not waited for: it is counted there, and read by `look`.

    Attributes:
        left_out: steps that were not finite, as far as they are known.
        in_a_row: how many of them were the last ones.
        longest: most of them in a row.
    """

    def __init__(self) -> None:
        self.left_out = self.in_a_row = self.longest = 0
        # Steps, steps in a row and most in a row that are not finite, on the device.
        self._there: Tensor | None = None

    def add(self, finite: bool | Tensor) -> None:
        """Count a step; a tensor is true where it is finite."""
        if isinstance(finite, Tensor):
            self._add_there(finite)
            return
        self.left_out += not finite
        self.in_a_row = 0 if finite else self.in_a_row + 1
        self.longest = max(self.longest, self.in_a_row)

    def _add_there(self, finite: Tensor) -> None:
        bad = (~finite.detach().bool()).long().reshape(())
        if self._there is None:
            start = [self.left_out, self.in_a_row, self.longest]
            self._there = torch.tensor(start, device=finite.device)
        row = (self._there[1] + 1) * bad
        self._there = torch.stack((self._there[0] + bad, row, torch.maximum(self._there[2], row)))

    def start_row(self) -> None:
        """Forget what was in a row; the total stays."""
        self.in_a_row = self.longest = 0
        if self._there is not None:
            self._there = self._there * self._there.new_tensor([1, 0, 0])

    def look(self) -> None:
        """Read what was counted on the device; this waits for it."""
        if self._there is not None:
            self.left_out, self.in_a_row, self.longest = map(int, self._there.tolist())


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all floating-point values of some tensors are finite; one wait for a GPU."""
    found = [torch.isfinite(each).all() for each in tensors if each.is_floating_point()]
    return bool(torch.stack([each.cpu() for each in found]).all()) if found else True
