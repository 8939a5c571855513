"""TIFF files, opened once their chain of pages is found sound.

The pages of a TIFF are a chain: the directory of each ends with the place of the next one. A damaged place
leads into the middle of anything, from where the chain goes on through hundreds of directories that are none.
tifffile reads all tags of each, which takes many seconds for a file of a few kilobytes. Sound directories do
not overlap, so all of them together are no longer than the file.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from autoseg.data.image import ImageError

if TYPE_CHECKING:
    import tifffile

# Byte order, and the version: struct's marks of the count of tags and of a place, and the bytes of a tag.
# TIFF 6.0, section 2; BigTIFF by its draft of 2004.
_ORDERS: Final = {b"II": "<", b"MM": ">"}
_VERSIONS: Final = {42: ("H", "I", 12), 43: ("Q", "Q", 20)}


def open_tiff(path: Path) -> tifffile.TiffFile:
    """A file for reading, to be closed by ``with``.

    Raises:
        ImageError: if its pages overlap or lead back to one another.
        tifffile.TiffFileError: if it is no TIFF.
    """
    import tifffile

    with path.open("rb") as file:
        check_pages(path, file)
    return tifffile.TiffFile(path)


def check_pages(path: Path, file: BinaryIO) -> None:
    """Refuse a chain of pages that cannot be one; what is no TIFF at all is left to its reader.

    Args:
        path: for the message.
        file: at its beginning.

    Raises:
        ImageError: if the directories are longer together than the file, or one comes twice.
    """
    head = file.read(16)
    order = _ORDERS.get(head[:2])
    if order is None or len(head) < 16:
        return
    (version,) = struct.unpack_from(f"{order}H", head, 2)
    if version not in _VERSIONS:
        return
    many, place, tag_bytes = _VERSIONS[version]
    many_bytes, place_bytes = struct.calcsize(many), struct.calcsize(place)
    (at,) = struct.unpack_from(f"{order}{place}", head, place_bytes if version == 43 else 4)
    size, taken, seen = path.stat().st_size, 0, set[int]()
    while 0 < at < size:
        if at in seen:
            raise ImageError(path, f"is damaged: its page at byte {at} comes a second time")
        seen.add(at)
        file.seek(at)
        found = file.read(many_bytes)
        if len(found) < many_bytes:
            return
        (tags,) = struct.unpack(f"{order}{many}", found)
        taken += many_bytes + tags * tag_bytes + place_bytes
        if taken > size:
            words = f"{len(seen)} directories of pages are longer together than its {size} bytes"
            raise ImageError(path, f"is damaged: {words}")
        file.seek(at + many_bytes + tags * tag_bytes)
        found = file.read(place_bytes)
        if len(found) < place_bytes:
            return
        (at,) = struct.unpack(f"{order}{place}", found)
