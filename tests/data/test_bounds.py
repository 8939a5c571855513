"""Headers that announce more than their file holds are refused before memory is taken."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from autoseg.data import bounds
from autoseg.data.bounds import beginning, check_announced, unpacked
from autoseg.data.image import ImageError
from autoseg.data.readers import read_file

PATH = Path("image.nii.gz")


@given(st.binary(max_size=5000), st.integers(1, 3), st.integers(0, 6000))
def test_what_is_unpacked_is_what_was_packed(content: bytes, members: int, most: int) -> None:
    packed = b"".join(
        gzip.compress(content[start::members]) for start in range(members)
    )  # several members, as bgzip writes them
    whole = b"".join(content[start::members] for start in range(members))
    assert unpacked(PATH, packed, most) == whole
    if len(packed) < 60_000 and members == 1:
        assert beginning(PATH, packed, 352) == whole[:352]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda packed: packed[:-9], "end too early"),
        (lambda packed: packed[:-4], "end too early"),
        (lambda packed: packed[:-8] + b"\0" * 8, "incorrect data check"),
        (lambda packed: packed + b"more", "followed by something else"),
        (lambda packed: packed[:20] + b"\xff" * 9 + packed[29:], "truncated or damaged"),
    ],
)
def test_damaged_packing_is_told(damage: object, words: str) -> None:
    packed = gzip.compress(np.random.default_rng(0).bytes(3000))
    with pytest.raises(ImageError, match=words):
        unpacked(PATH, damage(packed), 3000)  # type: ignore[operator]


def test_zeros_after_packed_data_are_padding() -> None:
    assert unpacked(PATH, gzip.compress(b"voxels") + bytes(512), 6) == b"voxels"


def test_what_grows_beyond_its_header_is_not_followed() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    tracemalloc.start()
    assert len(unpacked(PATH, packed, 1000)) < 10**5
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "densest", "words"),
    [
        ((10, 0, 3), 1, "10 x 0 x 3 voxels, which is none"),
        ((-4, 5), 1, "which is none"),
        ((400, 400, 400), 1, "a file of 100 bytes cannot hold"),
        ((4000, 4000, 4000), bounds.DEFLATED, "a file of 100 bytes cannot hold"),
    ],
)
def test_an_image_that_its_file_cannot_hold_is_refused(
    tmp_path: Path, shape: tuple[int, ...], densest: int, words: str
) -> None:
    path = tmp_path / "i.mha"
    path.write_bytes(bytes(100))
    check_announced(path, (5, 5, 4), 1, densest)
    with pytest.raises(ImageError, match=words):
        check_announced(path, shape, 1, densest)


def test_an_image_that_the_memory_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "i.mha"
    path.write_bytes(bytes(8000))
    check_announced(path, (20, 20, 20), 1)
    monkeypatch.setattr(bounds, "free_bytes", lambda: 7999)
    with pytest.raises(ImageError, match="too large for the memory: its 20 x 20 x 20 voxels"):
        check_announced(path, (20, 20, 20), 1)


def _nifti(path: Path, layout: str, offset: int, *values: float) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((16, 16, 16), np.int16)), str(path))
    head = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into(layout, head, offset, *values)
    path.write_bytes(gzip.compress(bytes(head)))
    return path


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO"])
@pytest.mark.parametrize(
    "change",
    [
        ("<8h", 40, 3, 32767, 32767, 32767, 1, 1, 1, 1),
        ("<8h", 40, 5, 16, 16, 16, 1, 30000, 1, 1),
        ("<8h", 40, 3, -16, 16, 16, 1, 1, 1, 1),
    ],
)
def test_a_nifti_that_announces_much_is_refused(
    tmp_path: Path, reader: str, change: tuple[object, ...]
) -> None:
    path = _nifti(tmp_path / "i.nii.gz", *change)  # type: ignore[arg-type]
    with pytest.raises(ImageError):
        read_file(path, reader)


@pytest.mark.parametrize("offset", [1e30, float("inf"), float("nan")])
def test_voxels_that_begin_nowhere_are_told(tmp_path: Path, offset: float) -> None:
    with pytest.raises(ImageError, match="would begin at the byte"):
        read_file(_nifti(tmp_path / "i.nii.gz", "<f", 108, offset), "SimpleITKIO")


def test_a_file_without_niftis_mark_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"lacks the mark n\+1"):
        read_file(_nifti(tmp_path / "i.nii.gz", "<4s", 344, b"oops"), "SimpleITKIO")  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_a_text_header_that_announces_much_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"i{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((16, 16, 16), np.int16)), str(path))
    path.write_bytes(path.read_bytes().replace(b"16 16 16", b"60000 60000 60000"))
    with pytest.raises(ImageError, match="60000 x 60000 x 60000"):
        read_file(path, "SimpleITKIO")


@pytest.mark.parametrize("reader", ["Tiff3DIO", "NaturalImage2DIO"])
def test_a_tiff_that_announces_much_is_refused(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "i.tif"
    tifffile.imwrite(path, np.ones((3, 16, 16), np.uint8), photometric="minisblack")
    content = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<I", content, 4)
    for entry in range(directory + 2, directory + 2 + 12 * content[directory], 12):
        if struct.unpack_from("<H", content, entry)[0] in (256, 257):  # width and height
            struct.pack_into("<HII", content, entry + 2, 4, 1, 60_000)
    path.write_bytes(bytes(content))
    with pytest.raises(ImageError):
        read_file(path, reader)
