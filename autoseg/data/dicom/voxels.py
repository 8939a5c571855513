"""The voxels of a stack: stored values through the modality's transform, on the upright grid.

MONOCHROME1 (least is white) is turned round, except for CT and PET, whose values are in units that do not
depend on how they are shown. Padding outside the scanned region becomes the least value of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoseg.data.dicom.frames import Frame
from autoseg.data.dicom.headers import pydicom_for
from autoseg.data.dicom.regular import onto_grid
from autoseg.data.dicom.stack import Stack
from autoseg.data.image import Array, ImageError


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
    parts, padded, inverted = [], [], False
    for path, frames in _files(stack):
        values, padding, turned = _of_file(path, frames)
        parts.append(values)
        padded.append(padding)
        inverted |= turned
    # Frames of a file lie in the order of the file; the stack's order is another.
    places = {frame: number for number, frame in enumerate(f for _, group in _files(stack) for f in group)}
    order = [places[frame] for frame in stack.frames]
    array, padding = np.concatenate(parts)[order], np.concatenate(padded)[order]
    background = float(array[~padding].min()) if not padding.all() else 0.0
    if padding.any():
        array[padding] = background
    grid = stack.placing
    array = _compact(onto_grid(array, grid, outside=background if padding.any() else float(array.min())))
    return SeriesVolume(array, grid.spacing, grid.origin, grid.direction, stack.frames, stack, inverted)


def _files(stack: Stack) -> list[tuple[Any, list[Frame]]]:
    groups: dict[Any, list[Frame]] = {}
    for frame in stack.frames:
        groups.setdefault(frame.header.path, []).append(frame)
    return [(path, sorted(frames, key=lambda each: each.number or 0)) for path, frames in groups.items()]


def _of_file(path: Any, frames: Sequence[Frame]) -> tuple[Array, Array, bool]:
    """Values of some frames of a file, where they are padding, and whether they were turned round."""
    pydicom = pydicom_for("Reading DICOM")
    try:
        found = pydicom.dcmread(path, force=True)
        stored = _stored(pydicom, found, frames)
        padding = _padding(found, stored)
        turned = frames[0].header.inverted
        if turned:
            bits = int(found.BitsStored)
            top = -1 if found.PixelRepresentation else 2**bits - 1
            stored = top - stored.astype(np.int64)
        return _rescaled(pydicom, found, stored, frames), padding, turned
    except (
        Exception
    ) as problem:  # a foreign decoder on foreign bytes: whatever it stumbles over, the file is bad
        said = " ".join(str(problem).split())[:200]
        raise ImageError(
            path,
            f"has voxels that cannot be read ({said or type(problem).__name__})",
            "Restore it from its source, or export it without compression.",
        ) from None


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
    other = limit if isinstance(limit, int) else value
    return (stored >= min(value, other)) & (stored <= max(value, other))


def _rescaled(pydicom: Any, found: Any, stored: Array, frames: Sequence[Frame]) -> Array:
    if found.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, found), np.float64)
    slopes, intercepts = np.array([frame.rescale for frame in frames]).T[:, :, None, None]
    values: Array = stored * slopes + intercepts
    return values


def _compact(array: Array) -> Array:
    """The smallest usual type that holds the values; whole ones as integers."""
    if np.array_equal(array, np.rint(array)):
        for kind in (np.int16, np.int32):
            if np.iinfo(kind).min <= array.min() and array.max() <= np.iinfo(kind).max:
                return array.astype(kind)
    return array.astype(np.float32)
