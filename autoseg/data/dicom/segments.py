"""The masks of a SEG: BINARY, FRACTIONAL and LABELMAP, each segment on the grid of its image.

A SEG holds only frames with content, in any order, and may lie on another grid than its image. Frames that
coincide with slices are taken voxel for voxel; others by nearest neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoseg.data.dicom.file_frames import frames_of
from autoseg.data.dicom.frames import Frame
from autoseg.data.dicom.headers import pydicom_for
from autoseg.data.dicom.label_objects import LabelObject
from autoseg.data.dicom.lattice import Lattice
from autoseg.data.dicom.mask import Mask
from autoseg.data.dicom.placing import axes_of
from autoseg.data.dicom.regular import onto_grid
from autoseg.data.dicom.splitting import SAME_PLANE_RAD
from autoseg.data.dicom.stack import Stack
from autoseg.data.image import Array, ImageError

# Of a voxel: frames within it lie where the slice does.
_SAME_PLACE = 0.05


def masks_of(label: LabelObject, stack: Stack, numbers: Sequence[int], threshold: float) -> dict[int, Mask]:
    """Masks of some segments on the grid of a volume.

    Args:
        label: a SEG.
        stack: the volume.
        numbers: of the segments.
        threshold: of FRACTIONAL ones: the share from which a voxel belongs.

    Returns:
        Masks by number.

    Raises:
        ImageError: if the file cannot be read.
    """
    frames, values = _read(label)
    wanted = [frame for frame in frames if frame.placed]
    if len(wanted) < len(frames):
        raise ImageError(label.header.path, "does not state where its frames lie", "Export it again.")
    return {
        number: _onto(stack, *_of_segment(label, frames, values, number, threshold)) for number in numbers
    }


def _read(label: LabelObject) -> tuple[list[Frame], Array]:
    pydicom = pydicom_for("Reading DICOM")
    path = label.header.path
    try:
        found = pydicom.dcmread(path, force=True)
        frames = frames_of(label.header, found)
        if label.header.lacking:
            raise ValueError(f"{label.header.lacking} bytes are missing")
        from pydicom.pixels import pixel_array

        values: Array = np.asarray(pixel_array(found))
        values = values.reshape(len(frames), label.header.rows, label.header.columns)
        if label.kind == "FRACTIONAL":
            values = values / float(found.get("MaximumFractionalValue") or 255)
    except (
        Exception
    ) as problem:  # a foreign decoder on foreign bytes: whatever it stumbles over, the file is bad
        said = " ".join(str(problem).split())[:200]
        raise ImageError(path, f"is a segmentation that cannot be read ({said})") from None
    return frames, values


def _of_segment(
    label: LabelObject, frames: Sequence[Frame], values: Array, number: int, threshold: float
) -> tuple[list[Frame], list[Array]]:
    if label.kind == "LABELMAP":
        return list(frames), [plane == number for plane in values]
    own = [k for k, frame in enumerate(frames) if frame.mark("ReferencedSegmentNumber") in (str(number), "")]
    least = threshold if label.kind == "FRACTIONAL" else 0.5
    return [frames[k] for k in own], [values[k] >= least for k in own]


def _onto(stack: Stack, frames: Sequence[Frame], planes: Sequence[Array]) -> Mask:
    filled = [(frame, plane) for frame, plane in zip(frames, planes, strict=True) if plane.any()]
    if not filled:
        return Mask.empty(stack.placing)
    places = _coinciding(stack, [frame for frame, _ in filled])
    if places is not None:
        header = stack.header
        source = np.zeros((len(stack.frames), header.rows, header.columns), bool)
        for place, (_, plane) in zip(places, filled, strict=True):
            source[place] |= plane
        return Mask(onto_grid(source, stack.placing, labels=True))
    return _lattice(frames, [frame for frame, _ in filled], [plane for _, plane in filled]).onto(
        stack.placing
    )


def _coinciding(stack: Stack, frames: Sequence[Frame]) -> list[int] | None:
    """The slice that each frame coincides with; None if one does with none."""
    first = stack.frames[0]
    positions = np.array([frame.position for frame in stack.frames])
    near = _SAME_PLACE * min(first.spacing)
    places = []
    for frame in frames:
        turned = np.abs(np.subtract(frame.cosines or (), first.cosines or ())).max()
        shape = (frame.header.rows, frame.header.columns)
        if turned > SAME_PLANE_RAD or not np.allclose(frame.spacing, first.spacing, rtol=1e-3):
            return None
        apart = np.linalg.norm(positions - np.array(frame.position), axis=1)
        if apart.min() > near or shape != (first.header.rows, first.header.columns):
            return None
        places.append(int(apart.argmin()))
    return places


def _lattice(every: Sequence[Frame], filled: Sequence[Frame], planes: Sequence[Array]) -> Lattice:
    axes = axes_of(filled)
    along = np.unique(np.round(np.array([frame.position for frame in every]) @ axes[:, 2], 3))
    thickness = filled[0].thickness or 1.0
    step = float(np.diff(along).min()) if len(along) > 1 else thickness
    y, x = filled[0].spacing
    positions = np.array([frame.position for frame in filled], float)
    return Lattice(planes, positions, axes, (float(y), float(x)), step / 2)
