"""Arrays turned so that their axes lead to the patient's right, front and top, and back again.

The page shows every image in one orientation and sends drawings in it. Files keep their own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from autoseg.data.image import Array, Image
from autoseg.data.orientation import directions_of, inverse, turn_towards
from autoseg.data.world import Turn, voxel_to_world

# Unit vectors of x, y and z to the right, the front and the top, in LPS, in which ITK gives directions.
_UPRIGHT: Final = ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0))
# Pictures have no place in the world; they are shown as they are seen: x to the left of a patient that
# faces the reader, y downwards.
_PICTURE: Final = Turn((0, 1, 2), (False, True, True), 0.0)
_TYPES: Final = {"uint8": 2, "int16": 4, "uint16": 512}
_RGB: Final = 128
_HEADER: Final = 352


@dataclass(frozen=True)
class Upright:
    """How one image's grid is turned.

    Attributes:
        there: from the file's order to the page's.
        back: from the page's order to the file's.
        affine: (3, 4), indices (x, y, z) of the turned array to mm in RAS.
        placed: whether the image has a place in the world.
    """

    there: Turn
    back: Turn
    affine: Array
    placed: bool

    @classmethod
    def of(cls, image: Image) -> Upright:
        """The turn of an image; a header without usable directions counts as none."""
        directions = directions_of(image)
        if directions is None:
            turn = _PICTURE
            # The first spacing of a flat picture says only that it is flat.
            z, y, x = image.spacing if image.array.shape[1] > 1 else (1.0, *image.spacing[1:])
            affine = np.eye(3, 4) * np.array([x, y, z])[:, None]
        else:
            turn = turn_towards(directions, _UPRIGHT)
            found = voxel_to_world(image)
            affine = np.eye(3, 4) if found is None else found
        return cls(turn, inverse(turn), _turned(affine, turn, image.array.shape[1:]), directions is not None)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """In mm along x, y and z of the turned array."""
        x, y, z = np.linalg.norm(self.affine[:, :3], axis=0)
        return float(x), float(y), float(z)


def _turned(affine: Array, turn: Turn, shape: tuple[int, ...]) -> Array:
    """The affine, in RAS, of an array after a turn.

    Args:
        affine: (3, 4), indices (x, y, z) to LPS.
        turn: of the array (z, y, x).
        shape: of the array before the turn, (z, y, x).
    """
    columns, origin = np.empty((3, 3)), affine[:, 3].copy()
    for axis in range(3):
        old = turn.axes[2 - axis]
        column = affine[:, 2 - old]
        if turn.flips[2 - axis]:
            origin += column * (shape[old] - 1)
            column = -column
        columns[:, axis] = column
    return np.asarray(np.diag((-1.0, -1.0, 1.0)) @ np.column_stack([columns, origin]))


def nifti_bytes(array: Array, affine: Array, slope: float = 1.0, intercept: float = 0.0) -> bytes:
    """A NIfTI-1 file of a turned array, as both viewers of the page read it.

    Args:
        array: (z, y, x) of uint8, int16 or uint16; or (z, y, x, 3) of uint8, colours.
        affine: (3, 4), RAS.
        slope, intercept: from stored values to the image's.
    """
    coloured = array.ndim == 4
    code = _RGB if coloured else _TYPES[array.dtype.name]
    z, y, x = array.shape[:3]
    header = bytearray(_HEADER)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, x, y, z, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, 24 if coloured else 8 * array.dtype.itemsize)
    spacing = np.linalg.norm(affine[:, :3], axis=0)
    struct.pack_into("<8f", header, 76, 1.0, *spacing, 1.0, 0.0, 0.0, 0.0)
    struct.pack_into("<3f", header, 108, float(_HEADER), slope, intercept)
    header[123] = 2  # mm
    struct.pack_into("<2h", header, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *affine[row])
    header[344:348] = b"n+1\0"
    return bytes(header) + array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def stored(array: Array) -> tuple[Array, float, float]:
    """Values for viewing: whole numbers of 16 bits as they are, all others scaled to them.

    Returns:
        The array, slope and intercept.
    """
    low, high = float(array.min(initial=0)), float(array.max(initial=0))
    if low >= -(2**15) and high < 2**15 and bool((array == np.rint(array)).all()):
        return array.astype(np.int16), 1.0, 0.0
    slope = (high - low) / 65535 or 1.0
    return np.rint((array - low) / slope).astype(np.uint16), slope, low
