"""What ITK makes of a NIfTI header, asked once for all files whose headers differ in nothing but their size.

ITK opens a packed NIfTI file three times and unpacks up to 256 kB of it each time before it says where its
voxels lie. The images of many data sets have one geometry, and so have nearly always an image and its label.
What ITK said of one such header holds for the next: the number of voxels along each axis is all that differs.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autoseg.data.bounds import beginning
from autoseg.data.image import ImageError

# Of the header of NIfTI-1: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
_HEADER: Final = 352
_SIZE: Final = struct.pack("<i", 348)
_MAGIC: Final = slice(344, 348)
# The number of axes and the voxels along the first three.
_DIM: Final = struct.Struct("<4h")
_DIM_AT: Final = 40
# Words about the image (descrip, aux_file), which often name a case.
_WORDS: Final = slice(148, 252)
# Of a packed file, where its header is looked for.
_START: Final = 8192
_MOST: Final = 1024


@dataclass(frozen=True)
class NiftiSaid:
    """What ITK says of a volume before it reads the voxels; named like the methods of its reader.

    Attributes:
        path: the file.
        size: voxels along x, y, z.
        said: spacing, origin and direction, and the type of the voxels.
    """

    path: Path
    size: tuple[int, int, int]
    said: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], int]

    def GetSize(self) -> tuple[int, int, int]:
        return self.size

    def GetSpacing(self) -> tuple[float, ...]:
        return self.said[0]

    def GetOrigin(self) -> tuple[float, ...]:
        return self.said[1]

    def GetDirection(self) -> tuple[float, ...]:
        return self.said[2]

    def GetPixelID(self) -> int:
        return self.said[3]

    def GetNumberOfComponents(self) -> int:
        return 1

    def Execute(self) -> Any:
        """The image itself, read by ITK."""
        return asked(self.path).Execute()


# What ITK said of a header, by the header without sizes and words.
_known: dict[bytes, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], int]] = {}


def asked(path: Path) -> Any:
    """ITK's reader of a NIfTI file that has read the header.

    Raises:
        RuntimeError: if ITK cannot read it.
    """
    import SimpleITK as sitk

    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    # Naming the format saves asking every other one; a file that belies its name is found either way.
    header.SetImageIO("NiftiImageIO")
    header.ReadImageInformation()
    return header


def nifti_header(path: Path) -> Any:
    """What ITK says of a NIfTI file: its reader, or what it said of an earlier file of the same header.

    Raises:
        RuntimeError: if ITK cannot read it.
    """
    key, size = _key_of(path)
    if size is None:
        return asked(path)
    if key not in _known:
        header = asked(path)
        if header.GetSize() != size or header.GetNumberOfComponents() != 1:
            return header
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = (header.GetSpacing(), header.GetOrigin(), header.GetDirection(), header.GetPixelID())
    return NiftiSaid(path, size, _known[key])


def _key_of(path: Path) -> tuple[bytes, tuple[int, int, int] | None]:
    """A header without its sizes and words, and the sizes; None for all but a plain volume.

    With fewer axes, with more, or with one of a single voxel ITK counts the axes in ways of its own.
    """
    with path.open("rb") as file:
        start = file.read(_START)
    try:
        head = beginning(path, start, _HEADER)
    except (ImageError, zlib.error):  # ITK says what is wrong
        return b"", None
    if len(head) < _HEADER or head[:4] != _SIZE or head[_MAGIC] != b"n+1\0":
        return b"", None
    axes, x, y, z = _DIM.unpack_from(head, _DIM_AT)
    if axes != 3 or min(x, y, z) < 2:
        return b"", None
    bare = bytearray(head)
    bare[_DIM_AT : _DIM_AT + _DIM.size] = bytes(_DIM.size)
    bare[_WORDS] = bytes(_WORDS.stop - _WORDS.start)
    return bytes(bare), (x, y, z)
