"""The voxels of a stack: stored values through the modality's transform, on the upright grid.

MONOCHROME1 (least is white) is turned round, except for CT and PET, whose values are in units that do not
depend on how they are shown. Padding outside the scanned region becomes the least value of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.bounds import PACKED, check_announced
from autoseg.data.dicom.frames import Frame
from autoseg.data.dicom.headers import pydicom_for
from autoseg.data.dicom.regular import onto_grid
from autoseg.data.dicom.stack import Stack
from autoseg.data.image import Array, ImageError
from autoseg.errors import DISTRIBUTION
from autoseg.system.guard import note


@dataclass(frozen=True)
class SeriesVolume:
    """A volume with what links it to its source.

    Attributes:
        array: (z, y, x), after the modality's transform: int16 or int32 where all values are whole, else
            float32.
        spacing: (z, y, x), mm.
        origin: centre of the first voxel in the patient's space (x, y, z), mm.
        direction: 9 cosines in rows; the columns are the axes x, y, z, as ITK has them.
        slices: the source's frames by position. Where `stack.placing.plain`, the n-th is `array[n]`; else
            `regular.onto_source` brings labels back onto them.
        stack: what it was read from.
        inverted: whether it was stored as MONOCHROME1 and has been turned round.
    """

    array: Array
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    slices: tuple[Frame, ...]
    stack: Stack
    inverted: bool = False


def read_volume(stack: Stack) -> SeriesVolume:
    """Read the voxels of a stack.

    Raises:
        ImageError: naming the file whose voxels cannot be decoded.
        MissingDependency: without pydicom.
    """
    header, grid = stack.header, stack.placing
    array: Array = np.empty((len(stack.frames), header.rows, header.columns), _kind(stack))
    padding: Array | None = None
    for path, numbers in _files(stack).items():
        values, padded = _of_file(path, [stack.frames[number] for number in numbers])
        array[numbers] = values
        if padded.any():
            padding = np.zeros(array.shape, bool) if padding is None else padding
            padding[numbers] = padded
    if padding is None:
        outside = float(array.min())
    else:
        outside = float(array.min(where=~padding, initial=array.max()))
        array[padding] = outside
    array = _compact(onto_grid(array, grid, outside))
    return SeriesVolume(
        array, grid.spacing, grid.origin, grid.direction, stack.frames, stack, header.inverted
    )


def _kind(stack: Stack) -> type:
    """A type that holds the values: integers where no frame is rescaled to anything else."""
    if stack.header.bits > 16:
        return np.float64
    whole = all(slope == 1 and intercept == round(intercept) for slope, intercept in _rescales(stack))
    return np.int32 if whole else np.float32


def _rescales(stack: Stack) -> set[tuple[float, float]]:
    return {(frame.rescale[0], frame.rescale[1]) for frame in stack.frames}


def _files(stack: Stack) -> dict[Path, list[int]]:
    """Numbers of the stack's frames by file, in the order that the file has them."""
    groups: dict[Path, list[int]] = {}
    for number in sorted(range(len(stack.frames)), key=lambda n: stack.frames[n].number or 0):
        groups.setdefault(stack.frames[number].header.path, []).append(number)
    return groups


def _of_file(path: Path, frames: Sequence[Frame]) -> tuple[Array, Array]:
    """Values of some frames of a file, and where they are padding."""
    pydicom = pydicom_for("Reading DICOM")
    note(path)
    header = frames[0].header
    shape = (len(frames), header.rows, header.columns, header.samples)
    check_announced(path, shape, max(header.bits, 8) / 8, PACKED)
    try:
        found = pydicom.dcmread(path, force=True)
        stored = _stored(pydicom, found, frames)
        padding = _padding(found, stored)
        if frames[0].header.inverted:
            top = -1 if found.PixelRepresentation else 2 ** int(found.BitsStored) - 1
            stored = top - stored.astype(np.int64)
        values = _rescaled(found, stored, frames)
    except Exception as problem:  # a foreign decoder on foreign bytes: whatever it stumbles over, it is bad
        raise unreadable_voxels(path, problem) from None
    if values.shape != shape[:3]:
        sizes = [" x ".join(map(str, each)) for each in (values.shape, shape[:3])]
        raise unreadable_voxels(path, ValueError(f"{sizes[0]} values, where the header says {sizes[1]}"))
    return values, padding


def unreadable_voxels(path: Path, problem: Exception) -> ImageError:
    """What pydicom stumbled over, with what to do."""
    said = " ".join(str(problem).split())[:200] or type(problem).__name__
    if "missing dependencies" in said:
        remedy = f"Export it without compression, or install a decoder: pip install '{DISTRIBUTION}[dicom]' "
        remedy += "brings one for JPEG, JPEG-LS and JPEG 2000."
        return ImageError(path, f"is compressed in a way that nothing here decodes ({said})", remedy)
    remedy = "Restore it from its source, or export it without compression."
    return ImageError(path, f"has voxels that cannot be read ({said})", remedy)


def _stored(pydicom: Any, found: Any, frames: Sequence[Frame]) -> Array:
    if "TransferSyntaxUID" not in found.file_meta:
        # Without a preamble the file has no such element, and pydicom has found out what it is.
        implicit = found.original_encoding[0]
        uid = pydicom.uid
        found.file_meta.TransferSyntaxUID = (
            uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        )
    from pydicom.pixels import iter_pixels

    if frames[0].number is None:
        return np.stack(list(iter_pixels(found)))
    return np.stack(list(iter_pixels(found, indices=[(frame.number or 1) - 1 for frame in frames])))


def _padding(found: Any, stored: Array) -> Array:
    value, limit = found.get("PixelPaddingValue"), found.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return np.zeros(stored.shape, bool)
    ends = [_as_stored(end, stored) for end in (value, limit if isinstance(limit, int) else value)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(value: int, stored: Array) -> int:
    """A padding value that is written with the other sign than the voxels, as they have it."""
    if stored.dtype.kind not in "iu":
        return value
    least, most = (int(end) for end in (np.iinfo(stored.dtype).min, np.iinfo(stored.dtype).max))
    span = most - least + 1
    return value - span if value > most else value + span if value < least else value


def _rescaled(found: Any, stored: Array, frames: Sequence[Frame]) -> Array:
    if found.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, found))
    slopes, intercepts = np.array([frame.rescale for frame in frames]).T[:, :, None, None]
    if (slopes == 1).all() and (intercepts == np.rint(intercepts)).all() and stored.dtype.kind in "iu":
        shifted: Array = stored.astype(np.int64) + intercepts.astype(np.int64)
        return shifted
    values: Array = stored * slopes + intercepts
    return values


def _compact(array: Array) -> Array:
    """The smallest usual type that holds the values; whole ones as integers."""
    if array.dtype.kind in "iu" or all(np.array_equal(plane, np.rint(plane)) for plane in array):
        for kind in (np.int16, np.int32):
            if np.iinfo(kind).min <= array.min() and array.max() <= np.iinfo(kind).max:
                return array.astype(kind)
    return array.astype(np.float32)
