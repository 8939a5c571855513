"""What a header announces, checked before any of it is read: against its file, and against the memory.

A header of a few bytes can announce an image of any size. Libraries take the memory for it first and find out
afterwards that the file is short.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Final

from autoseg.data.image import ImageError

# A byte of a deflated file stands for 1032 at most: https://zlib.net/zlib_tech.html.
DEFLATED: Final = 1032
# Of the methods that a TIFF may name (Zstandard, LZMA) none packs densely without bounds in what is imaged.
PACKED: Final = 2**16
_MEMORY: Final = Path("/proc/meminfo")
_BEYOND: Final = 2**16
_GZIP: Final = b"\x1f\x8b"


def check_announced(path: Path, shape: Iterable[int], voxel_bytes: float, densest: int = DEFLATED) -> None:
    """Refuse an image that its file cannot hold, or the memory.

    Args:
        path: the file.
        shape: what the header announces, in any order, channels included.
        voxel_bytes: size of a value.
        densest: how many bytes a byte of the file stands for at most; 1: nothing is packed.

    Raises:
        ImageError: with both sizes.
    """
    lengths = [int(length) for length in shape]
    announced = int(prod(lengths) * voxel_bytes)
    size = path.stat().st_size
    words = " x ".join(map(str, lengths))
    if min(lengths, default=0) < 1:
        raise ImageError(path, f"announces an image of {words} voxels, which is none")
    if announced > size * densest + _BEYOND:
        reason = f"is truncated or damaged: its header announces {words} voxels ({announced} bytes)"
        raise ImageError(path, f"{reason}, which a file of {size} bytes cannot hold")
    if announced > (free := free_bytes()):
        reason = f"is too large for the memory: its {words} voxels take {announced / 1e9:.1f} GB"
        raise ImageError(
            path, f"{reason}, and {free / 1e9:.1f} GB are free", "Use a machine with more memory."
        )


def beginning(path: Path, content: bytes, count: int) -> bytes:
    """The first bytes of a file, unpacked if it is gzipped.

    Raises:
        ImageError: if that much cannot be unpacked.
    """
    if content[:2] != _GZIP:
        return content[:count]
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content[:_BEYOND], count)
    except zlib.error as problem:
        raise ImageError(path, f"is truncated or damaged ({problem})") from problem


def unpacked(path: Path, content: bytes, most: int) -> bytes:
    """The beginning of a gzipped file; what is not packed comes back as it is.

    Args:
        path: for messages.
        content: the file's bytes.
        most: bytes that are of use. Somewhat more is unpacked, so that the checksum of a file that ends there
            is compared; a file that grows far beyond is not followed.

    Raises:
        ImageError: if the file is cut or damaged.
    """
    parts: list[bytes] = []
    left = most + _BEYOND
    while content[:2] == _GZIP and left > 0:
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            parts.append(stream.decompress(content, left))
        except zlib.error as problem:
            raise ImageError(path, f"is truncated or damaged ({problem})") from problem
        left -= len(parts[-1])
        if not stream.eof and left > 0:
            raise ImageError(path, "is truncated or damaged (the packed data end too early)")
        content = stream.unused_data
    if not parts:
        return content
    if left > 0 and content.strip(b"\0"):
        raise ImageError(path, "is truncated or damaged (packed data are followed by something else)")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def free_bytes() -> int:
    """Memory that can still be had; without /proc the machine's."""
    try:
        lines = _MEMORY.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
