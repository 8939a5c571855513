"""Prediction tile by tile in numpy: the sliding window of `autoseg.inference`, for any function of a batch.

Tiles, weights and mirroring are nnU-Net's (nnunetv2 2.8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from autoseg.bundle.tiles import batched, importance, mirrorings, padding, tile_starts, tiles
from autoseg.trust.evidence import Evidence

Floats = NDArray[np.float32]
Network = Callable[[Floats], Floats]

# Voxels that go through a network at once, as in `autoseg.inference`.
VOXELS_AT_ONCE = 2**16


def predict_slabs(
    networks: Sequence[Network],
    image: Floats,
    patch_size: Sequence[int],
    step_size: float = 0.5,
    mirror_axes: Sequence[int] = (),
    evidence: Evidence | None = None,
) -> Iterator[Floats]:
    """Predict one preprocessed case in slabs along z, so that the logits of a large one are never all there.

    Args:
        networks: each from (batch, channels, *patch) to logits (batch, heads, *patch); their mean is taken.
        image: (c, z, y, x).
        patch_size: size of the networks' input; two axes predict slice by slice.
        step_size: step of the window, in patches.
        mirror_axes: axes of the patch over whose mirrored copies logits are averaged.
        evidence: takes in how the mirrored copies of each network agree.

    Yields:
        Logits (heads, some slices, y, x), one slab after the other.
    """
    patch = tuple(patch_size)
    sides, (inner, *plane) = padding(image.shape[1:], patch)
    padded = np.pad(image, ((0, 0), *sides)) if any(map(any, sides)) else image
    for start, slab in _slide(
        networks, padded, patch, step_size, mirrorings(mirror_axes), evidence if mirror_axes else None
    ):
        first, last = (max(0, end - start) for end in (inner.start, inner.stop))
        part = slab[(slice(None), slice(first, last), *plane)]
        if part.size:
            yield part


def _slide(
    networks: Sequence[Network],
    image: Floats,
    patch: tuple[int, ...],
    step_size: float,
    copies: Sequence[tuple[int, ...]],
    evidence: Evidence | None,
) -> Iterator[tuple[int, Floats]]:
    """Weighted means over all tiles: the first slice of a slab, and its logits.

    Tiles are taken row by row along z. Behind the first slice of the next row nothing is added any more.
    """
    thick = patch[0] if len(patch) == 3 else 1
    depth = image.shape[1]
    starts = tile_starts([depth], patch[:1], step_size)[0] if len(patch) == 3 else tuple(range(depth))
    weights = importance(patch).reshape((thick, *patch[-2:]))
    sums: Floats | None = None
    shares = np.zeros((thick, *image.shape[2:]), np.float32)
    for start, following in zip(starts, (*starts[1:], depth), strict=True):
        row = image[:, start : start + thick]
        for place, logits in _tiles_of_a_row(networks, row, patch, step_size, copies, evidence):
            if sums is None:
                sums = np.zeros((len(logits), thick, *image.shape[2:]), np.float32)
            sums[(slice(None), slice(None), *place)] += logits * weights
            shares[(slice(None), *place)] += weights
        assert sums is not None  # every row has a tile
        done = following - start
        yield start, np.divide(sums[:, :done], shares[:done], dtype=np.float32)
        for array in (sums, shares):
            rest = array[..., done:, :, :].copy()
            array[...] = 0
            array[..., : thick - done, :, :] = rest


def _tiles_of_a_row(
    networks: Sequence[Network],
    row: Floats,
    patch: tuple[int, ...],
    step_size: float,
    copies: Sequence[tuple[int, ...]],
    evidence: Evidence | None,
) -> Iterator[tuple[tuple[slice, ...], Floats]]:
    """Where each tile of a row lies (y, x), and its mean logits (heads, thick, *patch's y and x)."""
    places = list(tiles(row.shape[2:], patch[-2:], step_size))
    at_once = max(1, VOXELS_AT_ONCE // math.prod(patch))
    for group in batched(places, max(1, at_once // len(copies))):
        batch = np.stack([row[(slice(None), slice(None), *place)] for place in group])
        if len(patch) == 2:
            batch = batch[:, :, 0]
        logits = _mean(networks, batch, copies, at_once, evidence)
        if len(patch) == 2:
            logits = logits[:, :, None]
        for place, each in zip(group, logits, strict=True):
            yield tuple(side for side in place if isinstance(side, slice)), each


def _mean(
    networks: Sequence[Network],
    batch: Floats,
    copies: Sequence[tuple[int, ...]],
    at_once: int,
    evidence: Evidence | None = None,
) -> Floats:
    """Mean over networks and mirrored copies, (tiles, heads, *patch)."""
    total: Floats | None = None
    for network in networks:
        turned = []
        for group in batched(copies, max(1, at_once // len(batch))):
            inputs = np.concatenate([np.flip(batch, axes) for axes in group])
            outputs = network(np.ascontiguousarray(inputs, dtype=np.float32))
            for part, axes in zip(np.split(outputs, len(group)), group, strict=True):
                back = np.flip(part, axes)
                total = back.copy() if total is None else np.add(total, back, out=total)
                turned += [back] if evidence is not None else []
        if evidence is not None:
            _compare(turned, importance(batch.shape[2:]), evidence)
    assert total is not None  # the empty mirroring is always there
    total /= len(networks) * len(copies)
    return total


def _compare(copies: Sequence[Floats], weights: Floats, evidence: Evidence) -> None:
    """Count the voxels that each copy and their mean give to each head, weighted as in the prediction."""
    mean = _decided(np.sum(copies, axis=0), evidence.has_regions)
    counts = np.zeros((3, copies[0].shape[1]))
    for logits in copies:
        copy = _decided(logits, evidence.has_regions)
        for row, chosen in zip(counts, (copy & mean, copy, mean), strict=True):
            row += (chosen * weights).sum(axis=(0, *range(2, chosen.ndim)), dtype=np.float64)
    evidence.add_copies(*counts)


def _decided(logits: Floats, has_regions: bool) -> NDArray[np.bool_]:
    """Which voxels belong to which head, (tiles, heads, *patch)."""
    if has_regions:
        return np.asarray(logits > 0)
    return np.asarray(np.expand_dims(logits.argmax(axis=1), 1) == _heads_of(logits))


def _heads_of(logits: Floats) -> NDArray[np.int_]:
    return np.arange(logits.shape[1]).reshape(-1, *(1,) * (logits.ndim - 2))
