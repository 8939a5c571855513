"""Pages of a TIFF: chains that cannot be one are refused before the reader follows them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from autoseg.data.image import ImageError
from autoseg.data.tiff_pages import open_tiff

VOLUME = np.arange(4 * 20 * 24, dtype=np.uint16).reshape(4, 20, 24)


def directories(path: Path) -> list[int]:
    with tifffile.TiffFile(path) as file:
        return [page.offset for page in file.pages]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_sound_files_open(tmp_path: Path, order: str, big: bool) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as file:  # type: ignore[arg-type]
        for page in VOLUME:
            file.write(page, contiguous=False)
    with open_tiff(path) as file:
        assert len(file.pages) == 4
        assert np.array_equal(file.asarray(range(4)), VOLUME)


@pytest.mark.parametrize("to", [0, 2])
def test_a_chain_that_leads_back_is_refused_with_its_place(tmp_path: Path, to: int) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, byteorder="<") as file:
        for page in VOLUME:
            file.write(page, contiguous=False)
    places = directories(path)
    content = bytearray(path.read_bytes())
    (tags,) = struct.unpack_from("<H", content, places[2])
    struct.pack_into("<I", content, places[2] + 2 + 12 * tags, places[to])
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"a\.tif is damaged: its page at byte {places[to]} comes a second"):
        open_tiff(path)


def test_directories_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    # Directories of one tag take 18 bytes, and each begins 6 bytes after the one before.
    content = bytearray(struct.pack("<2sHI", b"II", 42, 8) + bytes(92))
    for at in range(8, 68, 6):
        struct.pack_into("<H", content, at, 1)
        struct.pack_into("<I", content, at + 14, at + 6)
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"directories of pages are longer together than its 100 bytes"):
        open_tiff(path)


def test_what_is_no_tiff_is_left_to_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"no picture at all, but long enough")
    with pytest.raises(tifffile.TiffFileError):
        open_tiff(path)
