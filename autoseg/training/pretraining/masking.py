"""Random patches of unlabelled images, random blocks hidden in them, and the loss on what is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoseg.errors import UsageError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Masking:
    """How much of a patch is hidden, and in what pieces.

    Xie et al. 2022 (SimMIM, arXiv 2111.09886) hide 60 % of a picture in squares of a sixth of its side.

    Attributes:
        ratio: hidden part of the blocks, between 0 and 1.
        blocks: along each axis of a patch; fewer along an axis of fewer voxels.
    """

    ratio: float = 0.6
    blocks: int = 6

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise UsageError(f"The hidden part is {self.ratio}; expected a number between 0 and 1.")
        if self.blocks < 2:
            raise UsageError(
                f"A patch of {self.blocks} blocks is too small to hide some and predict them from the rest; "
                f"expected 2 or more."
            )

    def hidden(self, batch: int, patch_size: Sequence[int], generator: torch.Generator) -> Tensor:
        """Which voxels are hidden: (b, 1, *patch_size), bool; as many blocks in every sample."""
        grid = [min(self.blocks, n) for n in patch_size]
        cells = int(np.prod(grid))
        number = min(max(1, round(self.ratio * cells)), cells - 1)
        order = torch.rand(batch, cells, generator=generator).argsort(1)
        mask = (order < number).view(batch, 1, *grid)
        for axis, (n, parts) in enumerate(zip(patch_size, grid, strict=True), start=2):
            mask = mask.index_select(axis, torch.arange(n) * parts // n)
        return mask


class Cases(Protocol):
    """Preprocessed cases by name, as nnU-Net's data set class gives them."""

    identifiers: Sequence[str]

    def load_case(self, identifier: str) -> tuple[NDArray[np.float32], object, object, object]: ...


class Patches:
    """Random patches of preprocessed images, mirrored at random.

    Args:
        cases: their images are (c, z, y, x); a patch of two axes is cut from a random slice.
        patch_size: voxels.
        seed: fixes everything that is random.
    """

    def __init__(self, cases: Cases, patch_size: Sequence[int], seed: int) -> None:
        self.cases = cases
        self.patch_size = tuple(patch_size)
        self._random = np.random.default_rng(seed)

    def draw(self, batch: int) -> tuple[Tensor, Tensor]:
        """A batch (b, c, *patch_size), and which of it lies within the images: (b, 1, *patch_size), bool."""
        drawn = [self._one() for _ in range(batch)]
        return tuple(torch.from_numpy(np.stack(arrays)) for arrays in zip(*drawn, strict=True))  # type: ignore[return-value]

    def _one(self) -> tuple[Array, NDArray[np.bool_]]:
        identifiers = self.cases.identifiers
        image = self.cases.load_case(identifiers[int(self._random.integers(len(identifiers)))])[0]
        start, length = [], []
        for n, size in zip(image.shape[-len(self.patch_size) :], self.patch_size, strict=True):
            start.append(int(self._random.integers(max(n - size, 0) + 1)))
            length.append(min(n, size))
        box = [slice(a, a + n) for a, n in zip(start, length, strict=True)]
        flat = len(box) == 2
        if flat:
            position = int(self._random.integers(image.shape[1]))
            box = [slice(position, position + 1), *box]
        found = image[:, box[0], box[1], box[2]]
        found = found[:, 0] if flat else found
        margins = [((p - n) // 2, p - n - (p - n) // 2) for p, n in zip(self.patch_size, length, strict=True)]
        patch = np.pad(found.astype(np.float32, copy=False), [(0, 0), *margins])
        inside = np.pad(np.ones((1, *length), bool), [(0, 0), *margins])
        axes = tuple(axis for axis in range(1, patch.ndim) if self._random.random() < 0.5)
        return np.flip(patch, axes).copy(), np.flip(inside, axes).copy()


def masked_loss(output: Tensor, image: Tensor, counted: Tensor) -> Tensor:
    """Mean absolute error over the voxels that count.

    Args:
        output: (b, c, *s).
        image: (b, c, *s).
        counted: (b, 1, *s), bool.
    """
    error = (output.float() - image).abs() * counted
    return error.sum() / (counted.sum() * image.shape[1]).clamp(min=1)
