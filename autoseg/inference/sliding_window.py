"""Prediction of an image of any size, tile by tile.

Tiles, weights and mirroring are nnU-Net's (Isensee et al., 2021; nnunetv2 2.8), so the logits are too; tiles
and mirrored copies go through the network in batches where that is faster. The logits of a large image come
in slabs: all of them at once may take more memory than training did.
"""

from __future__ import annotations

import itertools
import logging
import math
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoseg.bundle.tiles import (
    Index,
    batched,
    importance,
    mirrorings,
    padding,
    tile_starts,
    tiles,
)
from autoseg.errors import RunError, UsageError
from autoseg.inference.rows import Rows
from autoseg.inference.window_passes import Certainty, Network, Passes
from autoseg.trust.evidence import Evidence

log = logging.getLogger(__name__)

# Voxels that go through the network at once if no batch size is given. On a CPU more than this leaves the
# cache and slows down (measured for U-Nets in 2D and 3D); a GPU wants enough work.
VOXELS_AT_ONCE = {"cpu": 2**16, "cuda": 2**22}
# Logits that are added up at once: enough for most images as a whole, and little beside a network in 3D.
SLAB_BYTES = 2**29


def predict_logits(network: Network, image: Tensor, patch_size: Sequence[int], **options: Any) -> Tensor:
    """Predict one preprocessed case as a whole.

    Args:
        network: the network in evaluation mode. Of several outputs the first counts.
        image: (c, z, y, x).
        patch_size: size of the network's input; two axes predict slice by slice.
        **options: as of `predict_slabs`.

    Returns:
        Logits (heads, z, y, x), in main memory.
    """
    (logits,) = predict_slabs([network], image, patch_size, slab_bytes=None, **options)
    return logits


def predict_slabs(
    networks: Sequence[Network],
    image: Tensor,
    patch_size: Sequence[int],
    *,
    step_size: float = 0.5,
    mirror_axes: Sequence[int] = (),
    gaussian: bool = True,
    batch_size: int | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    result_dtype: torch.dtype = torch.float32,
    slab_bytes: int | None = SLAB_BYTES,
    evidence: Evidence | None = None,
    certainty: Certainty | None = None,
    regions: bool = False,
    rows: tuple[int, int] | None = None,
    known_rows: int = 0,
) -> Iterator[Tensor]:
    """Predict one preprocessed case in slabs along z, so that the logits of a large one are never all there.

    Args:
        networks: the networks in evaluation mode, on `device`; the logits are their mean.
        image: (c, z, y, x).
        patch_size: size of the networks' input; two axes predict slice by slice.
        step_size: distance between tiles as a fraction of the patch, above 0, at most 1.
        mirror_axes: spatial axes of the patch; all combinations are averaged.
        gaussian: whether the centre of a tile weighs more than its rim.
        batch_size: tiles and mirrored copies in one pass; None lets the patch and the device decide.
        device: where to compute; None for where the networks are.
        dtype: data type of the computation (autocast). None is nnU-Net's choice: float16 on CUDA, the
            network's own elsewhere.
        result_dtype: data type of the sum over tiles. float16, as in nnU-Net, halves the memory.
        slab_bytes: most bytes that the sum takes, unless overlapping tiles need more; None: all at once.
        evidence: takes in how the mirrored copies of each network agree.
        certainty: when a window needs no mirrored copies; None: each has them.
        regions: whether heads are regions, for `certainty`.
        rows: the part of y that is predicted, [first, last), with the logits of the whole; None: all.
        known_rows: rows before this were predicted already; `evidence` has seen their tiles.

    Yields:
        Logits (heads, some slices, rows, x) in main memory, slab by slab; the next overwrites the last.

    Raises:
        UsageError: for arguments out of range.
        RunError: if the logits are not finite.
    """
    check_arguments(image, patch_size, step_size, mirror_axes)
    window = Window(
        *(networks, tuple(patch_size), step_size, mirrorings(mirror_axes), gaussian, batch_size),
        *(device or _device_of(networks[0]), dtype, result_dtype, slab_bytes),
        *(evidence if mirror_axes else None, certainty, regions),
    )
    padded, (inner, high, wide) = pad_to_patch(image, patch_size)
    part = _shifted(rows or (0, image.shape[2]), high.start, known_rows)
    for start, slab in window.slide(padded, part):
        _refuse_infinite(slab)
        kept = slab[:, slice(*(max(0, end - start) for end in (inner.start, inner.stop)))]
        if kept.numel():
            yield kept[..., wide].cpu()


def _shifted(rows: tuple[int, int], start: int, known_rows: int) -> Rows:
    """Rows of an image as rows of what it was padded to."""
    return Rows(rows[0] + start, rows[1] + start, known_rows + start if known_rows else 0)


def _device_of(network: Network) -> torch.device:
    return next(network.parameters()).device if isinstance(network, nn.Module) else torch.device("cpu")


def _refuse_infinite(logits: Tensor) -> None:
    if not torch.isfinite(logits).all():
        raise RunError(
            "The network's output is not finite (NaN or infinite). Check the loss in the training's log. If "
            "the sum is float16, predict with float32."
        )


@dataclass(frozen=True)
class Window:
    """Networks that slide over images; the fields are the arguments of `predict_slabs`."""

    networks: Sequence[Network]
    patch_size: tuple[int, ...]
    step_size: float
    mirrorings: tuple[tuple[int, ...], ...]
    gaussian: bool
    batch_size: int | None
    device: torch.device
    dtype: torch.dtype | None
    result_dtype: torch.dtype
    slab_bytes: int | None
    evidence: Evidence | None = None
    certainty: Certainty | None = None
    regions: bool = False

    def slide(self, image: Tensor, rows: Rows) -> Iterator[tuple[int, Tensor]]:
        """Weighted means over all tiles of an image at least as large as the patch, slab after slab.

        Yields:
            The first slice of a slab, and its logits (heads, slices, rows, x), where they were added up.
        """
        depth = image.shape[1]
        places = filter(rows.has, tiles(image.shape[1:], self.patch_size, self.step_size))
        # What was predicted with another part stays apart: evidence has seen it.
        groups = (batched(group, self.tiles_at_once) for _, group in itertools.groupby(places, rows.is_new))
        waiting = deque(itertools.chain.from_iterable(groups))
        slab = _Slab(self, image, self.device, rows)
        while waiting:
            # Within one context, autocast converts the weights of a network once (not in inference mode).
            # No slab leaves from there: whoever takes one computes as they like.
            with torch.no_grad(), _autocast(self.device, self.dtype):
                slab.add(waiting.popleft())
                while waiting and _stop(waiting[0]) <= slab.stop:
                    slab.add(waiting.popleft())
            finished = _start(waiting[0]) if waiting else depth
            if finished > slab.start:
                yield slab.start, slab.until(finished)
                if waiting:
                    slab.move_up(finished)

    def slices_of(self, plane: Sequence[int]) -> int:
        """Slices of (heads, y, x) that a slab may have."""
        if self.slab_bytes is None:
            return sys.maxsize
        return self.slab_bytes // (math.prod(plane) * self.result_dtype.itemsize)

    @property
    def inputs_at_once(self) -> int:
        """Network inputs in one pass."""
        voxels = VOXELS_AT_ONCE.get(self.device.type, VOXELS_AT_ONCE["cpu"])
        return self.batch_size or max(1, voxels // math.prod(self.patch_size))

    @property
    def tiles_at_once(self) -> int:
        """Tiles whose mirrored copies make up one pass."""
        return max(1, self.inputs_at_once // len(self.mirrorings))

    @cached_property
    def passes(self) -> Passes:
        """What a batch of tiles goes through."""
        return Passes(
            self.networks,
            self.patch_size,
            self.mirrorings,
            self.inputs_at_once,
            self.evidence,
            self.certainty,
            self.regions,
        )


class _Slab:
    """The slices of an image whose tiles are being added up.

    With the sum of the weights known beforehand, what is added up are shares of 1. nnU-Net divides in the
    end, and its half-precision sums lose the voxels in the corners of an image, whose weight is 6e-8.
    """

    def __init__(self, window: Window, image: Tensor, home: torch.device, rows: Rows) -> None:
        self.window, self.image, self.home, self.rows = window, image, home, rows
        self.start, self.spilled = 0, False
        self.total: Tensor | None = None
        depth, *plane = image.shape[1:]
        self.plane = (rows.stop - rows.start, plane[1])
        # A 2D patch is one slice of a 3D one; its tiles lie side by side along z.
        self.flat = len(window.patch_size) == 2
        patch = (1, *window.patch_size) if self.flat else window.patch_size
        weights = (
            torch.from_numpy(importance(window.patch_size))
            if window.gaussian
            else torch.ones(window.patch_size)
        )
        self.weights = weights.reshape(patch)
        self.starts = range(depth) if self.flat else tile_starts([depth], patch[:1], window.step_size)[0]
        self.of_a_row = torch.zeros(patch[0], *self.plane)
        for y, x in map(_ranges, filter(rows.has, tiles(plane, patch[1:], window.step_size))):
            own, there = rows.of(y)
            self.of_a_row[:, there, x] += self.weights[:, own]
        self.sums: tuple[int, Tensor] | None = None

    @property
    def stop(self) -> int:
        """The first slice behind it."""
        return self.start + (0 if self.total is None else self.total.shape[1])

    def add(self, places: Sequence[Index]) -> None:
        """Predict tiles; where the device has no room for what is added up, that moves to main memory."""
        predictions: Tensor | None = None
        try:
            predictions = self._predicted(places)
        except torch.cuda.OutOfMemoryError:
            if self.spilled:
                raise
        if predictions is None:  # out of the handler, whose traceback holds what filled the device
            self._spill()
            predictions = self._predicted(places)
        assert self.total is not None
        for place, prediction in zip(places, predictions, strict=True):
            z, y, x = _ranges(place)
            own, there = self.rows.of(y)
            share = self.weights[:, own] / self._sums_at(z.start)[:, there, x]
            here = slice(z.start - self.start, z.stop - self.start)
            self.total[:, here, there, x] += prediction[:, :, own].mul_(share)

    def _spill(self) -> None:
        log.warning("The logits do not fit on %s; they stay in main memory, which is slower.", self.home)
        self.home, self.spilled, self.sums = torch.device("cpu"), True, None
        self.total = None if self.total is None else self.total.cpu()
        self._bring_home()
        torch.cuda.empty_cache()

    def _predicted(self, places: Sequence[Index]) -> Tensor:
        """(tiles, heads, *patch in 3D) at home, where the sum has room for them."""
        self._bring_home()
        batch = torch.stack([self.image[(slice(None), *place)] for place in places])
        passes = self.window.passes
        passes.evidence = self.window.evidence if self.rows.is_new(places[0]) else None
        predictions = passes.predict(batch.to(self.window.device)).to(self.home)
        missing = _stop(places) - self.stop
        if self.total is None:
            plane = (predictions.shape[1], *self.plane)
            length = max(missing, min(self.image.shape[1], self.window.slices_of(plane)))
            shape = (plane[0], length, *plane[1:])
            self.total = torch.zeros(shape, dtype=self.window.result_dtype, device=self.home)
        elif missing > 0:  # more slices than a slab has are reached by tiles that overlap
            self.total = F.pad(self.total, (0, 0, 0, 0, 0, missing))
        return predictions.unsqueeze(2) if self.flat else predictions

    def _bring_home(self) -> None:
        self.image, self.weights, self.of_a_row = (
            each.to(self.home) for each in (self.image, self.weights, self.of_a_row)
        )

    def _sums_at(self, start: int) -> Tensor:
        """Sum of all weights where the tiles lie that start there, (patch's z, y, x)."""
        if self.sums is None or self.sums[0] != start:
            size = len(self.of_a_row)
            total = torch.zeros_like(self.of_a_row)
            for other in self.starts[start : start + 1] if self.flat else self.starts:
                if abs(shift := other - start) < size:
                    ours, theirs = max(shift, 0), max(-shift, 0)
                    total[ours : size - theirs] += self.of_a_row[theirs : size - ours]
            self.sums = start, total
        return self.sums[1]

    def until(self, stop: int) -> Tensor:
        """The logits before a slice."""
        assert self.total is not None
        return self.total[:, : stop - self.start]

    def move_up(self, start: int) -> None:
        """Begin at a slice; what was added up behind it stays."""
        assert self.total is not None
        rest = self.total[:, start - self.start :].clone()
        self.total.zero_()[:, : rest.shape[1]] = rest
        self.start = start


def _ranges(place: Index) -> tuple[slice, ...]:
    return tuple(each if isinstance(each, slice) else slice(each, each + 1) for each in place)


def _start(places: Sequence[Index]) -> int:
    """The first slice of tiles in their order."""
    return int(_ranges(places[0])[0].start)


def _stop(places: Sequence[Index]) -> int:
    """The slice behind tiles in their order."""
    return int(_ranges(places[-1])[0].stop)


def pad_to_patch(image: Tensor, patch_size: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """Pad (c, z, y, x) with zeros to at least the patch, see `padding`."""
    sides, inner = padding(image.shape[1:], patch_size)
    flat = [side for pair in reversed(sides) for side in pair]
    return (F.pad(image, flat) if any(flat) else image), inner


def check_arguments(
    image: Tensor, patch_size: Sequence[int], step_size: float, mirror_axes: Sequence[int]
) -> None:
    """Refuse what `predict_logits` cannot work with.

    Raises:
        UsageError: with the value and what was expected.
    """
    if image.ndim != 4:
        raise UsageError(f"The image has shape {tuple(image.shape)}; expected (c, z, y, x). Add an axis.")
    if len(patch_size) not in (2, 3):
        raise UsageError(f"The patch size is {tuple(patch_size)}; expected 2 or 3 axes. Correct the plan.")
    if not 0 < step_size <= 1:
        raise UsageError(f"The step size is {step_size}; choose one above 0 and at most 1, such as 0.5.")
    if not set(mirror_axes) <= set(range(len(patch_size))):
        raise UsageError(
            f"Mirror axes are {tuple(mirror_axes)}; choose among {tuple(range(len(patch_size)))}."
        )


def _autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    if dtype is None and device.type == "cuda":
        dtype = torch.float16
    return torch.autocast(device.type, dtype=dtype, enabled=dtype not in (None, torch.float32))
