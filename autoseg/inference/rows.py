"""The part of an image along y that a sliding window predicts, and which tiles have a share in it."""

from __future__ import annotations

from dataclasses import dataclass

from autoseg.bundle.tiles import Index


@dataclass(frozen=True)
class Rows:
    """The part of an image's y that is predicted.

    Attributes:
        start: the first row.
        stop: the row behind it.
        known: tiles that start before this row were predicted with another part.
    """

    start: int
    stop: int
    known: int = 0

    def has(self, place: Index) -> bool:
        """Whether a tile has a part in it."""
        side = place[-2]
        assert isinstance(side, slice)
        return bool(side.start < self.stop and side.stop > self.start)

    def is_new(self, place: Index) -> bool:
        """Whether a tile had no part in what was predicted before."""
        side = place[-2]
        assert isinstance(side, slice)
        return bool(side.start >= self.known)

    def of(self, side: slice) -> tuple[slice, slice]:
        """What a tile's rows share with it: rows of the tile, and of the part."""
        first, last = max(side.start, self.start), min(side.stop, self.stop)
        own = slice(first - side.start, last - side.start)
        return own, slice(first - self.start, last - self.start)
