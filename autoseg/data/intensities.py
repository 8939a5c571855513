"""Foreground intensities: the sample that nnU-Net draws, and its statistics to the last bit.

nnU-Net (DatasetFingerprintExtractor in 2.8.1) draws 10^8 foreground voxels per channel, as many from each
case, with replacement and the same seed for every case, and hands them all to numpy. Here every worker writes
its cases' draws into one shared array, and the statistics are taken from it piece by piece: sums along the
tree in which numpy itself adds up pairs, percentiles from the few values near them. That gives numpy's
numbers exactly, in a fraction of its time and memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.system.workers import SharedArray, Workers

Singles = NDArray[np.float32]

SEED = 1234
SAMPLES = 100_000_000
PERCENTILES = (0.5, 50.0, 99.5)

_BLOCK = 1 << 17  # indices drawn at once: they stay in the cache
_REMEMBERED = 1 << 22  # random numbers retained from case to case
_LEAF = 1 << 17  # values added up at once
_STRIDE = 1021  # one value in so many shows about where a percentile lies


def room_for_samples(channels: int, cases: int) -> SharedArray:
    """Room for all draws: (channels, cases, draws per case)."""
    return SharedArray((channels, cases, SAMPLES // cases), np.float32)


def draw(foreground: Sequence[Singles], rows: Singles, before: int = 0) -> None:
    """Draw from one case.

    Args:
        foreground: the foreground voxels of each channel, all of one length, at least one.
        rows: (channels, draws per case), written to.
        before: channels of the case that come before these. One stream of random numbers runs through all.
    """
    left = before * rows.shape[1]
    indices = _indices(foreground[0].size, left + rows.size)
    while (pending := next(indices)).size <= left:
        left -= pending.size
    used = left
    for values, row in zip(foreground, rows, strict=True):
        filled = 0
        while filled < row.size:
            if used == pending.size:
                pending, used = next(indices), 0
            count = min(row.size - filled, pending.size - used)
            chosen = pending[used : used + count]
            np.take(values, chosen, out=row[filled : filled + count], mode="clip")
            filled, used = filled + count, used + count


def drawn(foreground: Sequence[Singles], spans: Sequence[tuple[int, int]]) -> list[Singles]:
    """What single places of the stream of random numbers draw from each channel.

    Args:
        foreground: the foreground voxels of each channel, all of one length, at least one.
        spans: for each channel the first place in the stream, and the one after the last.
    """
    found = [np.empty(stop - start, np.float32) for start, stop in spans]
    place = 0
    for indices in _indices(foreground[0].size, max(stop for _, stop in spans)):
        for values, (start, stop), row in zip(foreground, spans, found, strict=True):
            low, high = max(start, place), min(stop, place + indices.size)
            if low < high:
                row[low - start : high - start] = values[indices[low - place : high - place]]
        place += indices.size
    return found


def _indices(size: int, count: int) -> Iterator[NDArray[np.intp]]:
    """What ``RandomState(SEED).randint(0, size)`` gives `count` times, in blocks."""
    length = 2 * count + 16 * int(count**0.5) + 64
    if length <= _REMEMBERED:
        # numpy takes 32 random bits, masks them to the power of two and rejects what is too large.
        masked = _masked(length, (size - 1).bit_length())
        accepted = np.flatnonzero(masked < size)
        if accepted.size >= count:
            yield masked.take(accepted[:count])
            return
    random = np.random.RandomState(SEED)
    for start in range(0, count, _BLOCK):
        yield random.randint(0, size, min(_BLOCK, count - start))


@lru_cache(maxsize=4)
def _masked(length: int, bits: int) -> NDArray[np.intp]:
    return (_random_bits(length) & np.uint32((1 << bits) - 1)).astype(np.intp)


@lru_cache(maxsize=1)
def _random_bits(length: int) -> NDArray[np.uint32]:
    return np.random.RandomState(SEED).randint(0, 1 << 32, length, dtype=np.uint32)


@dataclass(frozen=True)
class _Range:
    """Where a percentile is looked for: all values from `low` to `high`."""

    low: np.float32
    high: np.float32


@dataclass(frozen=True)
class _Piece:
    """What one pass over a piece of the values gives; the last two for each range."""

    total: Any
    least: float
    most: float
    below: tuple[int, ...]
    within: tuple[Singles, ...]


def statistics(
    samples: SharedArray, channel: int, drawn: Sequence[int], workers: Workers
) -> dict[str, float]:
    """nnU-Net's seven numbers for one channel.

    Args:
        samples: (channels, cases, draws per case); rows may be moved.
        channel: its index.
        drawn: the cases that have foreground, ascending, at least one.
        workers: forked when the samples were there already.
    """
    rows = samples.array[channel]
    for place, case in enumerate(drawn):
        if place != case:
            rows[place] = rows[case]
    values = rows[: len(drawn)].reshape(-1)
    # numpy joins the draws with an empty list for a case without foreground, and with it changes to float64.
    precision = np.dtype(np.float32 if len(drawn) == len(rows) else np.float64)
    ranges, leaves = _ranges(values), _leaves(0, values.size)
    pieces = list(workers.map(_piece, [(samples, channel, leaf, precision, ranges) for leaf in leaves]))
    count = np.int64(values.size)
    mean = precision.type(_tree_sum([piece.total for piece in pieces], values.size) / count)
    squares = list(workers.map(_squares, [(samples, channel, leaf, mean) for leaf in leaves]))
    variance = precision.type(_tree_sum(squares, values.size) / count)
    low, median, high = _percentiles(values, pieces, precision)
    return {
        "mean": float(mean),
        "median": median,
        "std": float(np.sqrt(variance)),
        "min": min(piece.least for piece in pieces),
        "max": max(piece.most for piece in pieces),
        "percentile_99_5": high,
        "percentile_00_5": low,
    }


def _piece(
    samples: SharedArray, channel: int, leaf: slice, precision: np.dtype[Any], ranges: Sequence[_Range]
) -> _Piece:
    values = samples.array[channel].reshape(-1)[leaf]
    return _Piece(
        total=np.add.reduce(values.astype(precision, copy=False)),
        least=float(values.min()),
        most=float(values.max()),
        below=tuple(int(np.count_nonzero(values < each.low)) for each in ranges),
        within=tuple(values[(values >= each.low) & (values <= each.high)] for each in ranges),
    )


def _squares(samples: SharedArray, channel: int, leaf: slice, mean: Any) -> Any:
    deviation = samples.array[channel].reshape(-1)[leaf] - mean
    np.multiply(deviation, deviation, out=deviation)
    return np.add.reduce(deviation)


def _middle(start: int, stop: int) -> int:
    """Where numpy's pairwise sum splits: in the middle, at a multiple of 8 from the start."""
    half = (stop - start) // 2
    return start + half - half % 8


def _leaves(start: int, stop: int) -> list[slice]:
    if stop - start <= _LEAF:
        return [slice(start, stop)]
    middle = _middle(start, stop)
    return _leaves(start, middle) + _leaves(middle, stop)


def _tree_sum(totals: Sequence[Any], size: int) -> Any:
    """Add up the leaves' sums in the order of numpy's tree."""
    left = iter(totals)

    def add(start: int, stop: int) -> Any:
        if stop - start <= _LEAF:
            return next(left)
        first = add(start, _middle(start, stop))
        return first + add(_middle(start, stop), stop)

    return add(0, size)


def _ranges(values: Singles) -> list[_Range]:
    """Small ranges that hold the percentiles, with six standard deviations of the few values to spare."""
    few = np.sort(values[::_STRIDE])
    ranges = []
    for percent in PERCENTILES:
        share = percent / 100
        margin = 6 * np.sqrt(share * (1 - share) * few.size) + 3
        low, high = int(share * few.size - margin), int(share * few.size + margin) + 1
        ranges.append(
            _Range(
                few[low] if low >= 0 else np.float32(-np.inf),
                few[high] if high < few.size else np.float32(np.inf),
            )
        )
    return ranges


def _percentiles(values: Singles, pieces: Sequence[_Piece], precision: np.dtype[Any]) -> list[float]:
    """numpy's percentiles, which lie between two neighbours in the sorted values."""
    found = []
    for index, percent in enumerate(PERCENTILES):
        place = (values.size - 1) * (percent / 100)
        ranks = [int(place), min(int(place) + 1, values.size - 1)]
        below = sum(piece.below[index] for piece in pieces)
        within = np.concatenate([piece.within[index] for piece in pieces])
        if below > ranks[0] or ranks[1] >= below + within.size:
            below, within = 0, values
        offsets = [rank - below for rank in ranks]
        pair = np.partition(within, offsets)[offsets].astype(precision)
        # Of two values, the quantile at the fraction is the interpolation between them.
        found.append(float(np.quantile(pair, np.array([place - ranks[0]]))[0]))
    return found
