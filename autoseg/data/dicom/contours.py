"""The masks of an RTSTRUCT: closed contours filled on the slices of an image, with holes and islands.

A voxel belongs to a structure if its centre lies within the contour or on it. A contour within another one of
the same plane is a hole, and one within the hole an island, as planning systems write them beside the keyhole
form of the standard (DICOM PS3.3 C.8.8.6), which is filled right by itself. Contours in planes across the
slices are filled in their own planes and taken onto the grid by nearest neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from autoseg.data.dicom.headers import pydicom_for, several
from autoseg.data.dicom.label_objects import LabelObject
from autoseg.data.dicom.lattice import Lattice
from autoseg.data.dicom.mask import Mask
from autoseg.data.dicom.placing import axes_of
from autoseg.data.dicom.regular import onto_grid
from autoseg.data.dicom.stack import Stack
from autoseg.data.image import Array, ImageError

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
# Points are written with some decimals: a centre this near, in pixels, lies on the contour.
_ON_IT = 0.02
# Share of a contour's voxels that lie in what is filled already, for it to be a hole there.
_WITHIN = 0.95
# Sine of the angle from which contours lie across the slices.
_ACROSS = 0.02
# Of the distance between slices: contours this near lie in one plane.
_ONE_PLANE = 0.1
# Contours on every third slice at most stand for those between.
_MOST_STEPS = 3.1


def masks_of(label: LabelObject, stack: Stack, numbers: Sequence[int]) -> dict[int, Mask]:
    """Masks of some structures on the grid of a volume.

    Args:
        label: an RTSTRUCT.
        stack: the volume.
        numbers: of the structures.

    Returns:
        Masks by number. Voxels between contours that were drawn on every second slice count as moved.

    Raises:
        ImageError: if the file cannot be read.
    """
    path = label.header.path
    try:
        found = pydicom_for("Reading DICOM").dcmread(path, force=True)
        contours = {number: list(_contours(found, number)) for number in numbers}
    except (
        Exception
    ) as problem:  # a foreign parser on foreign bytes: whatever it stumbles over, the file is bad
        said = " ".join(str(problem).split())[:200]
        raise ImageError(path, f"holds contours that cannot be read ({said})") from None
    return {number: _filled(contours[number], stack) for number in numbers}


def _contours(found: object, number: int) -> Iterator[Array]:
    for region in several(found.get("ROIContourSequence")):  # type: ignore[attr-defined]
        if int(region.get("ReferencedROINumber") or 0) != number:
            continue
        for contour in several(region.get("ContourSequence")):
            points = np.array(several(contour.get("ContourData")), float).reshape(-1, 3)
            if contour.get("ContourGeometricType", "CLOSED_PLANAR") in _CLOSED and len(points) > 2:
                yield points


def _filled(contours: Sequence[Array], stack: Stack) -> Mask:
    if not contours:
        return Mask.empty(stack.placing)
    axes = axes_of(stack.frames)
    normal = _normal(contours)
    if np.linalg.norm(np.cross(normal, axes[:, 2])) > _ACROSS:
        return _across(contours, normal, stack)
    header = stack.header
    source = np.zeros((len(stack.frames), header.rows, header.columns), bool)
    apart = 0.0
    heights = np.array([float(np.mean(points @ axes[:, 2])) for points in contours])
    slices = np.array([frame.position for frame in stack.frames]) @ axes[:, 2]
    step = float(np.median(np.diff(slices))) if len(slices) > 1 else stack.placing.spacing[0]
    reach = _reach(heights, step)
    for number, height in enumerate(slices):
        nearest = float(np.abs(heights - height).min())
        if nearest > reach + 1e-3:
            continue
        here = [
            points
            for points, own in zip(contours, heights, strict=True)
            if abs(own - height) <= nearest + _ONE_PLANE * step
        ]
        frame = stack.frames[number]
        flat = [(points - np.array(frame.position)) @ axes[:, :2] / frame.spacing[::-1] for points in here]
        source[number] = fill([points[:, ::-1] for points in flat], source.shape[1:])
        apart = max(apart, nearest if source[number].any() else 0.0)
    outside = int((np.abs(heights[:, None] - slices).min(axis=1) > reach + 1e-3).sum())
    moved = apart if apart > _ONE_PLANE * step else 0.0
    return Mask(onto_grid(source, stack.placing, labels=True), moved, outside)


def _reach(heights: Array, step: float) -> float:
    """How far from a slice its contours may lie: half their own distance, which may be some slices."""
    planes = np.unique(np.round(np.sort(heights) / (_ONE_PLANE * step))) * _ONE_PLANE * step
    apart = float(np.diff(planes).min()) if len(planes) > 1 else step
    return max(step, apart if apart <= _MOST_STEPS * step else step) / 2


def fill(contours: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """Fill the contours of one plane.

    Args:
        contours: points (row, column) in pixels, the centre of the first pixel at (0, 0).
        shape: rows, columns.

    Returns:
        The mask.
    """
    mask = np.zeros(shape, bool)
    for points in sorted(_distinct(contours), key=_area, reverse=True):
        inner = _covered(points, shape, closed=False)
        count = int(inner.sum())
        if count and int((inner & mask).sum()) >= _WITHIN * count:
            mask &= ~inner
        else:
            mask |= _covered(points, shape, closed=True)
    return mask


def _covered(points: Array, shape: tuple[int, ...], closed: bool) -> Array:
    """Pixels whose centre a contour encloses, with or without those that lie on it."""
    from skimage.draw import polygon2mask

    low = np.clip(np.floor(points.min(axis=0)).astype(int) - 1, 0, np.array(shape))
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + 2, low, np.array(shape))
    found = np.zeros(shape, bool)
    size = tuple(int(n) for n in high - low)
    if min(size) == 0:
        return found
    shifts = [(y, x) for y in (-_ON_IT, _ON_IT) for x in (-_ON_IT, _ON_IT)]
    parts = [polygon2mask(size, points - low + shift) for shift in shifts]
    inside = np.any(parts, axis=0) if closed else np.all(parts, axis=0)
    found[low[0] : high[0], low[1] : high[1]] = inside
    return found


def _distinct(contours: Sequence[Array]) -> list[Array]:
    """Contours without those that are there twice."""
    return list({np.round(points, 3).tobytes(): points for points in contours}.values())


def _area(points: Array) -> float:
    y, x = points.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def _extent(stack: Stack, axes: Array) -> tuple[Array, Array]:
    """How far a volume reaches along some axes, mm: from, to."""
    grid = stack.placing
    ends = np.multiply(np.subtract(grid.shape[::-1], 1), grid.spacing[::-1])
    corners = np.array(list(product(*([0.0, end] for end in ends))))
    along = (corners @ np.reshape(grid.direction, (3, 3)).T + grid.origin) @ axes
    return along.min(axis=0), along.max(axis=0)


def _normal(contours: Sequence[Array]) -> Array:
    """The direction that all contours' planes have in common."""
    largest = max(contours, key=len)
    return np.asarray(np.linalg.svd(largest - largest.mean(axis=0))[2][2])


def _across(contours: Sequence[Array], normal: Array, stack: Stack) -> Mask:
    """Fill contours in planes of their own, in pixels of half the volume's, and take them onto its grid."""
    row = np.linalg.svd(normal[None])[2][1]
    axes = np.column_stack([row, np.cross(normal, row), normal])
    size = min(stack.placing.spacing) / 2
    heights = np.array([float(np.mean(points @ normal)) for points in contours])
    # No more than the volume reaches: points may lie anywhere.
    low, high = _extent(stack, axes[:, :2])
    flat = np.concatenate([points @ axes[:, :2] for points in contours])
    corner = np.clip(flat.min(axis=0), low - size, high)
    far = np.clip(flat.max(axis=0), corner, high + size)
    shape = tuple(int(n) for n in np.ceil((far - corner) / size)[::-1] + 1)
    planes, positions = [], []
    grouped = np.round(heights, 2)
    for height in np.unique(grouped):
        here = [points for points, own in zip(contours, grouped, strict=True) if own == height]
        planes.append(fill([((points @ axes[:, :2] - corner) / size)[:, ::-1] for points in here], shape))
        positions.append(axes @ np.array([*corner, height]))
    apart = np.diff(np.unique(grouped))
    reach = (float(apart.min()) if len(apart) else stack.placing.spacing[0]) / 2
    return Lattice(planes, np.array(positions), axes, (size, size), reach).onto(stack.placing)
