"""How much the mirrored copies of some tiles agree with their mean: evidence that costs little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from autoseg.trust.evidence import Evidence


class MirroredCopies:
    """The copies of one batch of tiles through one network, turned back.

    Args:
        evidence: takes in the counts.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._sum: Tensor | None = None
        self._decided: list[Tensor] = []

    def add(self, logits: Tensor) -> None:
        """Take in one copy: (tiles, heads, *patch); it is not retained."""
        self._decided.append(self._decide(logits))
        self._sum = logits.clone() if self._sum is None else self._sum.add_(logits)

    def compare(self, weights: Any) -> None:
        """Count the voxels that copies and mean give to each head, and those that both do.

        Args:
            weights: (*patch), the weight that a voxel of a tile has in the prediction.
        """
        assert self._sum is not None
        mean = self._decide(self._sum)
        heads = self._sum.shape[1]
        importance = torch.from_numpy(weights).to(mean.device)
        count = self._by_region if self._evidence.has_regions else self._by_label
        both = sum(count(mean, importance, heads, mean == copy) for copy in self._decided)
        copies = sum(count(copy, importance, heads) for copy in self._decided)
        whole = count(mean, importance, heads) * len(self._decided)
        self._evidence.add_copies(*(torch.as_tensor(each).cpu().numpy() for each in (both, copies, whole)))

    def _decide(self, logits: Tensor) -> Tensor:
        """Labels (tiles, *patch), or which regions there are (tiles, heads, *patch)."""
        return logits > 0 if self._evidence.has_regions else logits.argmax(1)

    @staticmethod
    def _by_label(labels: Tensor, weights: Tensor, heads: int, where: Tensor | None = None) -> Tensor:
        spread = weights.expand(labels.shape)
        if where is not None:
            return torch.bincount(labels[where], spread[where], minlength=heads).double()
        return torch.bincount(labels.flatten(), spread.flatten(), minlength=heads).double()

    @staticmethod
    def _by_region(inside: Tensor, weights: Tensor, heads: int, where: Tensor | None = None) -> Tensor:
        chosen = inside if where is None else inside & where
        axes: Sequence[int] = [axis for axis in range(chosen.ndim) if axis != 1]
        return (chosen * weights).double().sum(dim=tuple(axes))
