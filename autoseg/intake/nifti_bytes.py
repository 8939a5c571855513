"""NIfTI-1 files as bytes: a volume of a 4D file is cut out, a header corrected, and no voxel is touched.

Layout of the header: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.bounds import beginning
from autoseg.data.image import Array, ImageError, require_file

HEADER = 352
# Beyond this the two positions in a header mean two places, and two sizes of a voxel are two.
CONTRADICTION_VOXELS = 0.1
ZOOM_SHARE = 0.01
# Of a volume, from 0 to 1 along each axis.
_CORNERS = np.indices((2, 2, 2)).reshape(3, -1)
_DIM, _PIXDIM, _BITPIX, _OFFSET, _SLOPE = 40, 76, 72, 108, 112
_FARTHEST = 2**31
# Of a packed file, where its header is looked for first.
_START = 8192
_QFORM_CODE, _QUATERN, _SROW, _MAGIC = 252, 256, 280, 344


@dataclass(frozen=True)
class NiftiHeader:
    """What is read of a header.

    Attributes:
        order: byte order, as `struct` writes it.
        shape: voxels in file order (x, y, z, ...).
        offset: where the voxels begin.
        voxel_bits: size of a voxel.
        qform, sform: voxel to world (3, 4), mm; None where its code says that it is not given.
        dimensions: how many axes it has.
        pixdim: distances of voxels along x, y, z, as they stand there.
        scaling: slope and intercept, as they stand there.
    """

    order: str
    shape: tuple[int, ...]
    offset: int
    voxel_bits: int
    qform: Array | None
    sform: Array | None
    dimensions: int = 3
    pixdim: tuple[float, ...] = (1.0, 1.0, 1.0)
    scaling: tuple[float, float] = (1.0, 0.0)

    @property
    def volumes(self) -> int:
        """Number of 3D volumes."""
        return int(np.prod(self.shape[3:], dtype=np.int64))

    @property
    def volume_bytes(self) -> int:
        """Size of one of them."""
        return int(np.prod(self.shape[:3], dtype=np.int64)) * self.voxel_bits // 8

    def contradiction(self) -> float:
        """How far apart, in voxels, the two positions of the header place a voxel at most; 0 with only one.

        Programs differ in which of the two they believe.
        """
        if self.qform is None or self.sform is None:
            return 0.0
        between = self.qform - self.sform
        last = np.array(self.shape[:3]) - 1
        apart = (between[:, :3] * last) @ _CORNERS + between[:, 3:]
        size = _lengths(self.sform[:, :3]).min()
        return float(_lengths(apart).max() / size) if size > 0 else float("inf")

    def other_zoom(self) -> Array | None:
        """The sizes of a voxel by the sform, where it counts and they are not those of pixdim."""
        if self.sform is None:
            return None
        columns = _lengths(self.sform[:, :3])
        known = list(zip(columns.tolist(), map(abs, self.pixdim), strict=True))[: self.dimensions]
        usable = all(math.isfinite(size) and size for pair in known for size in pair)
        if not usable or all(abs(own - size) <= ZOOM_SHARE * size for own, size in known):
            return None
        return columns


def _lengths(columns: Array) -> Array:
    """The lengths of vectors that stand beside each other."""
    squares: Array = np.square(columns, dtype=np.float64).sum(axis=0)
    return np.sqrt(squares)


def read_header(path: Path) -> NiftiHeader | None:
    """The header of a single-file NIfTI-1; None if it is another kind of file.

    Raises:
        ImageError: if the file cannot be unpacked.
    """
    return _header(_unpacked(path, HEADER))


def read_bytes(path: Path) -> bytes:
    """The whole file, unpacked.

    Raises:
        ImageError: if it is truncated or damaged.
    """
    return _unpacked(path, -1)


def header_bytes(path: Path) -> bytes:
    """The header alone, unpacked.

    Raises:
        ImageError: if the file cannot be unpacked.
    """
    return _unpacked(path, HEADER)


def pack(content: bytes, target: Path) -> None:
    """Write a file's bytes, packed if the name says so; the same bytes give the same file."""
    target.write_bytes(gzip.compress(content, 6, mtime=0) if target.suffix == ".gz" else content)


def cut_volume(content: bytes, index: int, path: Path) -> bytes:
    """One volume of a 4D file as a 3D file; scaling, position and extensions stay.

    Raises:
        ImageError: if the file does not hold that volume whole.
    """
    header = _header(content)
    if header is None:
        raise ImageError(path, "is not a NIfTI-1 file", "Convert it to NIfTI-1, one file per channel.")
    start = header.offset + index * header.volume_bytes
    if len(content) < start + header.volume_bytes:
        raise ImageError(path, f"is truncated: its volume {index} is not whole")
    head = bytearray(content[: header.offset])
    struct.pack_into(f"{header.order}8h", head, _DIM, 3, *header.shape[:3], 1, 1, 1, 1)
    return bytes(head) + content[start : start + header.volume_bytes]


def believe(content: bytes, which: str) -> bytes:
    """Strike out the other position in the header: its code becomes 0, which means that it is not given.

    With the sform its sizes of a voxel count as well.
    """
    header = _header(content)
    if header is not None and header.sform is not None and which == "sform":
        content = _with_zoom_of_sform(content, header)
    if header is None or header.qform is None or header.sform is None:
        return content
    changed = bytearray(content)
    place = _QFORM_CODE if which == "sform" else _QFORM_CODE + 2
    struct.pack_into(f"{header.order}h", changed, place, 0)
    return bytes(changed)


def _with_zoom_of_sform(content: bytes, header: NiftiHeader) -> bytes:
    """The sform's sizes of a voxel as pixdim, which is what programs take for the spacing."""
    assert header.sform is not None  # whoever calls has looked
    columns = np.linalg.norm(header.sform[:, :3], axis=0)
    if not (np.isfinite(columns).all() and columns.all()) or np.allclose(columns, header.pixdim, rtol=1e-6):
        return content
    changed = bytearray(content)
    struct.pack_into(f"{header.order}3f", changed, _PIXDIM + 4, *columns)
    return bytes(changed)


def _unpacked(path: Path, size: int) -> bytes:
    require_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            if start != b"\x1f\x8b":
                return file.read(size)
            if 0 <= size <= _START:
                # The header of nearly every file lies in its first packed block; gzip takes longer to begin.
                head = beginning(path, file.read(_START), size)
                if len(head) == size:
                    return head
                file.seek(0)
            with gzip.open(file) as content:
                return content.read(size)
    except (EOFError, OSError, zlib.error) as problem:
        raise ImageError(path, f"is truncated or damaged ({problem})") from problem


def _header(content: bytes) -> NiftiHeader | None:
    if len(content) < HEADER or content[_MAGIC : _MAGIC + 3] != b"n+1":
        return None
    order = "<" if content[:4] == struct.pack("<i", 348) else ">"
    number, *lengths = struct.unpack_from(f"{order}8h", content, _DIM)
    (offset,) = struct.unpack_from(f"{order}f", content, _OFFSET)
    if not 1 <= number <= 7 or not abs(offset) < _FARTHEST:
        return None
    q_code, s_code = struct.unpack_from(f"{order}2h", content, _QFORM_CODE)
    pixdim = struct.unpack_from(f"{order}8f", content, _PIXDIM)
    quatern = struct.unpack_from(f"{order}6f", content, _QUATERN)
    return NiftiHeader(
        order=order,
        shape=(*lengths[:number], *([1] * (3 - number))),
        offset=int(offset),
        voxel_bits=struct.unpack_from(f"{order}h", content, _BITPIX)[0],
        qform=_from_quaternion(quatern, pixdim) if q_code > 0 else None,
        sform=np.array(struct.unpack_from(f"{order}12f", content, _SROW)).reshape(3, 4)
        if s_code > 0
        else None,
        dimensions=min(3, number),
        pixdim=pixdim[1:4],
        scaling=struct.unpack_from(f"{order}2f", content, _SLOPE),
    )


def _from_quaternion(quatern: tuple[float, ...], pixdim: tuple[float, ...]) -> Array:
    """Method 2 of nifti1.h: a rotation, voxel sizes, a sign for the third axis, and an offset."""
    b, c, d, *offset = quatern
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    sizes = np.array(pixdim[1:4]) * (1, 1, -1 if pixdim[0] < 0 else 1)
    with np.errstate(invalid="ignore"):  # infinite sizes, which verification reports
        return np.column_stack([rotation * sizes, offset])
