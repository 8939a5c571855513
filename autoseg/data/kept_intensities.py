"""Foreground values of a case, kept in such a way that the fingerprint's draws can be made from them again.

How many values are drawn from a case depends on the number of cases: every case that is added leaves fewer
draws to the others. Of a small foreground all values are kept. Of a large one only those that are drawn, and
somewhat more, because the draws of the second and further channels begin earlier in the stream of random
numbers when there are fewer of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from autoseg.data import intensities
from autoseg.data.intensities import Singles

# All values are kept up to so many times the number of draws.
_WHOLE: Final = 2
# The draws stay possible until the data set has grown to 5/4 of its cases.
_GROWTH: Final = (4, 5)
_TYPES: Final = ("<i2", "<f4")


@dataclass(frozen=True)
class KeptValues:
    """Values of each channel, and from which draw on they are; None: all values, drawn from none of them."""

    channels: tuple[Singles, ...]
    first_draws: tuple[int, ...] | None

    def draw(self, first: int, rows: Singles) -> bool:
        """Make the draws of some channels.

        Args:
            first: the first of these channels.
            rows: (channels, draws), written to.

        Returns:
            Whether that can be done with what was kept.
        """
        channels = self.channels[first : first + len(rows)]
        if self.first_draws is None:
            if channels[0].size:
                intensities.draw(channels, rows, before=first)
            return True
        count = rows.shape[1]
        for number, (values, row) in enumerate(zip(channels, rows, strict=True), start=first):
            begin = number * count - self.first_draws[number]
            if begin < 0 or begin + count > values.size:
                return False
            row[:] = values[begin : begin + count]
        return True


def keep(foreground: Sequence[Singles], count: int) -> KeptValues:
    """Choose what is kept of a case.

    Args:
        foreground: the foreground voxels of each channel, all of one length.
        count: draws of a channel.
    """
    if foreground[0].size <= _WHOLE * count:
        return KeptValues(tuple(foreground), None)
    part, whole = _GROWTH
    spans = [(number * count * part // whole, (number + 1) * count) for number in range(len(foreground))]
    return KeptValues(tuple(intensities.drawn(foreground, spans)), tuple(start for start, _ in spans))


def to_bytes(kept: KeptValues) -> tuple[dict[str, Any], bytes]:
    """A description for JSON, and the values; whole numbers take two bytes each."""
    packed = [_packed(values) for values in kept.channels]
    described = {
        "first_draws": kept.first_draws,
        "types": [each.dtype.str for each in packed],
        "sizes": [each.size for each in packed],
    }
    return described, b"".join(each.tobytes() for each in packed)


def from_bytes(described: dict[str, Any], content: bytes) -> KeptValues:
    """What `to_bytes` gave.

    Raises:
        ValueError, KeyError, TypeError: if it is something else.
    """
    channels, start = [], 0
    for kind, size in zip(described["types"], described["sizes"], strict=True):
        if kind not in _TYPES:
            raise ValueError(f"values of the type {kind}")
        values = np.frombuffer(content, kind, size, start)
        channels.append(values.astype(np.float32, copy=False))
        start += values.nbytes
    first = described["first_draws"]
    return KeptValues(tuple(channels), None if first is None else tuple(first))


def _packed(values: Singles) -> np.ndarray[Any, np.dtype[Any]]:
    with np.errstate(invalid="ignore"):
        whole = values.astype("<i2")
    # Bit by bit: a zero with a sign is no whole number.
    same = np.array_equal(whole.astype(np.float32).view(np.uint32), values.view(np.uint32))
    return whole if same else np.ascontiguousarray(values, "<f4")
