"""A window's passes through the networks: which mirrored copies have to be made, and in what batches.

Two things need no pass. A window that holds one value in each channel looks like all others with these
values: it is predicted once, and its mirrored copies are itself. And where `Certainty` is requested, a window
whose first pass leaves hardly a voxel in doubt has no mirrored copies; that changes results, and is counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from autoseg.architectures import channels_last
from autoseg.bundle.tiles import batched, importance
from autoseg.inference.mirrored_copies import MirroredCopies
from autoseg.trust.evidence import Evidence

Network = Callable[[Tensor], Tensor | Sequence[Tensor]]
# Windows of one value that are remembered; each takes as much memory as a window's logits.
_REMEMBERED = 4


@dataclass
class Certainty:
    """When the first pass of a window is enough, and how often it was.

    Attributes:
        odds: of the first label to the second, or of a region; below it a voxel is in doubt.
        share: of a window's voxels, weighted as in the prediction, that may be in doubt.
        copies: that are averaged where more are in doubt, the first pass included; None: all.
        windows: seen.
        certain: of these, without mirrored copies.
        passes: that were made for them, by each network.
        all_passes: that there would have been with all mirrored copies.
    """

    odds: float = 9.0
    share: float = 1e-3
    copies: int | None = None
    windows: int = 0
    certain: int = 0
    passes: int = 0
    all_passes: int = 0

    @property
    def saved(self) -> float:
        """The share of windows that had no mirrored copies."""
        return self.certain / self.windows if self.windows else 0.0

    @property
    def passes_saved(self) -> float:
        """The share of passes that were not made."""
        return 1 - self.passes / self.all_passes if self.all_passes else 0.0

    def chosen(self, mirrorings: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """The copies of a window in doubt, the first pass in front; the others as unlike as can be."""
        return opposite_pairs(mirrorings)[: self.copies]

    def count(self, doubtful: Tensor, copies: int, mirrorings: int) -> None:
        """Count windows, by whether they are in doubt."""
        windows, some = len(doubtful), int(doubtful.sum())
        self.windows += windows
        self.certain += windows - some
        self.passes += windows + some * (copies - 1)
        self.all_passes += windows * mirrorings

    def doubtful(self, logits: Tensor, weights: Tensor, regions: bool) -> Tensor:
        """Which windows (tiles, heads, *patch) need mirrored copies."""
        if regions:
            margins = logits.abs().amin(1)
        else:
            first, second = logits.topk(2, dim=1).values.unbind(1)
            margins = first - second
        doubt = ((margins < math.log(self.odds)) * weights).flatten(1).sum(1) / weights.sum()
        return doubt > self.share


@dataclass
class Passes:
    """Networks and the mirrored copies that are averaged.

    Attributes:
        networks: each from (batch, channels, *patch) to logits; of several outputs the first counts.
        patch_size: voxels.
        mirrorings: axes of a batch, the first none.
        inputs_at_once: network inputs in one pass.
        evidence: takes in how the mirrored copies agree.
        certainty: None: every window has its mirrored copies.
        regions: whether heads are regions, for `certainty`.
    """

    networks: Sequence[Network]
    patch_size: tuple[int, ...]
    mirrorings: tuple[tuple[int, ...], ...]
    inputs_at_once: int
    evidence: Evidence | None = None
    certainty: Certainty | None = None
    regions: bool = False
    _blank: dict[tuple[float, ...], Tensor] = field(default_factory=dict)

    def predict(self, batch: Tensor) -> Tensor:
        """Mean over networks and mirrorings, float32, (tiles, heads, *patch)."""
        values = [_only_values(tile) for tile in batch]
        if not any(values):
            return self._of_structure(batch)
        seen = torch.tensor([each is None for each in values], device=batch.device)
        rest = self._of_structure(batch[seen]) if bool(seen.any()) else None
        parts = iter(rest) if rest is not None else iter(())
        return torch.stack(
            [next(parts) if each is None else self._of_one_value(each, batch) for each in values]
        )

    def _of_one_value(self, values: tuple[float, ...], batch: Tensor) -> Tensor:
        """Of a window with one value in each channel, (heads, *patch)."""
        if values not in self._blank:
            while len(self._blank) >= _REMEMBERED:
                self._blank.pop(next(iter(self._blank)))
            tile = torch.tensor(values, dtype=batch.dtype, device=batch.device)
            tile = tile.view(1, -1, *(1,) * len(self.patch_size)).expand(1, -1, *self.patch_size)
            total = _summed(self._logits(network, tile) for network in self.networks)
            copies = _summed(total.flip(axes) for axes in self.mirrorings)
            self._blank[values] = copies.div_(len(self.networks) * len(self.mirrorings))[0]
        return self._blank[values]

    def _of_structure(self, batch: Tensor) -> Tensor:
        if self.certainty is None or len(self.mirrorings) == 1:
            return self._averaged(batch, self.mirrorings)
        copies = self.certainty.chosen(self.mirrorings)
        mean = self._averaged(batch, copies[:1])
        weights = torch.from_numpy(importance(self.patch_size)).to(mean.device)
        doubtful = self.certainty.doubtful(mean, weights, self.regions)
        self.certainty.count(doubtful, len(copies), len(self.mirrorings))
        if bool(doubtful.any()):
            rest = self._averaged(batch[doubtful], copies[1:])
            mean[doubtful] = (mean[doubtful] + rest * (len(copies) - 1)) / len(copies)
        return mean

    def _averaged(self, batch: Tensor, mirrorings: Sequence[tuple[int, ...]]) -> Tensor:
        total: Tensor | None = None
        for network in self.networks:
            votes = None
            if self.evidence is not None and len(mirrorings) == len(self.mirrorings) > 1:
                votes = MirroredCopies(self.evidence)
            for group in batched(mirrorings, max(1, self.inputs_at_once // len(batch))):
                copies = torch.cat([batch.flip(axes) for axes in group])
                logits = self._logits(network, copies)
                for part, axes in zip(torch.split(logits, len(batch)), group, strict=True):
                    turned = part.flip(axes)
                    if votes is not None:
                        votes.add(turned)
                    total = turned if total is None else total.add_(turned)
            if votes is not None:
                votes.compare(importance(self.patch_size))
        assert total is not None  # there is a network, and the empty mirroring
        return total.div_(len(self.networks) * len(mirrorings))

    def _logits(self, network: Network, copies: Tensor) -> Tensor:
        if copies.device.type == "cpu":
            copies = copies.contiguous(memory_format=channels_last(len(self.patch_size)))
        output = network(copies)
        return (output if isinstance(output, Tensor) else output[0]).float()


def opposite_pairs(mirrorings: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Mirrorings so that each is followed by the one along all other axes: few of them are then balanced.

    The first two are none and all axes; the first four of three axes mirror each axis twice.
    """
    axes = max(mirrorings, key=len)
    found: list[tuple[int, ...]] = []
    for each in mirrorings:
        if each not in found:
            found += dict.fromkeys((each, tuple(axis for axis in axes if axis not in each)))
    return found


def _only_values(tile: Tensor) -> tuple[float, ...] | None:
    """The value of each channel (channels, *patch), if each has only one."""
    corner = tile.flatten(1)[:, 0]
    if not bool((tile == corner.view(-1, *(1,) * (tile.ndim - 1))).all()):
        return None
    return tuple(corner.tolist())


def _summed(parts: Iterator[Tensor]) -> Tensor:
    total = next(parts).clone()
    for part in parts:
        total += part
    return total
