"""Where a stack of slices lies, from the position and the directions of every one of them.

Neither file names, instance numbers, nor the thickness of a slice count: slices may overlap or leave gaps.

Tolerances. Positions that are written with one decimal lie up to 0.05 mm beside the true ones, and the line
through them a little more: 0.06 mm. A twentieth of the distance between slices shows in no voxel. A missing
slice leaves at least a third of a distance, so no tolerance exceeds a quarter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.data.dicom.frames import Frame
from autoseg.data.image import Array
from autoseg.errors import DataError

ROUNDED_MM = 0.06
_OF_STEP, _AT_MOST_OF_STEP = 0.05, 0.25
# Sideways, in sizes of a pixel, and for cosines that are written with three decimals: radians.
_OF_PIXEL, ROUNDED_RAD = 0.25, 2e-3
# In usual distances: what lies in a wider gap cannot be guessed from the slices around it.
_WIDEST_GAP = 4.5
# Closer than this two slices lie in one place.
ONE_PLACE = 0.05


class UnevenSlices(DataError):
    """Slices are missing, or too many: their distances differ by more than rounding."""


@dataclass(frozen=True)
class Placing:
    """The upright grid of a stack, and how its slices lie on it.

    Attributes:
        shape: (z, y, x), voxels.
        spacing: (z, y, x), mm.
        origin: centre of the first voxel in the patient's space (x, y, z), mm.
        direction: 9 cosines in rows; its columns are the axes x, y, z of the array, as ITK has them. The
            axes are at right angles and right-handed.
        along: where each source slice lies along the normal, mm, from the first voxel.
        sideways: how far each source slice is to be moved along its rows (x) and columns (y) to lie on the
            grid, mm; empty if none is.
        even: whether the distances are even; else the volume is interpolated between the slices.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    along: tuple[float, ...]
    sideways: tuple[tuple[float, float], ...] = ()
    even: bool = True

    @property
    def plain(self) -> bool:
        """Whether the source's slices are the array's, voxel for voxel."""
        return self.even and not self.sideways

    @property
    def tilt_mm(self) -> float:
        """How far the last slice lies sideways of the first, mm."""
        return float(np.hypot(*np.subtract(self.sideways[-1], self.sideways[0]))) if self.sideways else 0.0


def normal_of(frames: Sequence[Frame]) -> Array:
    """The mean normal of frames that are placed, of unit length."""
    return axes_of(frames)[:, 2]


def axes_of(frames: Sequence[Frame]) -> Array:
    """Mean directions of a row and of a column, and the normal, as columns at right angles."""
    row, column = np.mean([frame.cosines or () for frame in frames], axis=0).reshape(2, 3)
    row = row / np.linalg.norm(row)
    column = column - row * (row @ column)
    column = column / np.linalg.norm(column)
    return np.column_stack([row, column, np.cross(row, column)])


def ordered(frames: Sequence[Frame]) -> tuple[list[Frame], Array]:
    """Frames in the order of their position along their normal, and these positions in mm."""
    along = np.array([frame.position for frame in frames]) @ normal_of(frames)
    order = np.argsort(along, kind="stable")
    return [frames[index] for index in order], along[order]


def is_even(along: Array) -> bool:
    """Whether sorted positions have even distances, but for rounding, and none is there twice."""
    if len(along) < 2:
        return True
    step, beside = _line(along)
    usual = float(np.median(np.diff(along)))
    return bool(
        usual > 0
        and np.diff(along).min() > ONE_PLACE * usual
        and beside <= min(max(ROUNDED_MM, _OF_STEP * step), _AT_MOST_OF_STEP * step)
    )


def place(frames: Sequence[Frame], mend: bool = False) -> Placing:
    """The grid of a stack.

    Args:
        frames: of one size, direction and pixel size, in the order that `ordered` gives.
        mend: whether uneven distances are interpolated.

    Raises:
        UnevenSlices: if distances are uneven and not mended, naming the place.
        DataError: if two slices lie in one place.
    """
    axes = axes_of(frames)
    positions = np.array([frame.position for frame in frames], float)
    along = (positions - positions[0]) @ axes[:, 2]
    even = is_even(along)
    if not even:
        _refuse_one_place(frames, along)
        if not mend or np.diff(along).max() > _WIDEST_GAP * np.median(np.diff(along)):
            raise _uneven(frames, along, mend)
    pixel = frames[0].spacing
    beside = (positions - positions[0]) @ axes[:, :2]
    if np.abs(beside).max() > max(ROUNDED_MM, _OF_PIXEL * min(pixel)):
        turned = _rounded_cosines(axes, positions, pixel)
        if turned is not None:
            axes = turned
            along, beside = (positions - positions[0]) @ axes[:, 2], np.zeros_like(beside)
    else:
        beside = np.zeros_like(beside)
    _refuse_apart(frames, beside)
    count, step = _count_and_step(frames, along, even)
    # Room for all slices once they are moved: pixels before and behind, along rows and columns.
    low = np.floor(beside.min(axis=0) / pixel[::-1] + 1e-6).astype(int)
    high = np.ceil(beside.max(axis=0) / pixel[::-1] - 1e-6).astype(int)
    origin = positions[0] + axes[:, :2] @ (low * pixel[::-1])
    more = high - low
    return Placing(
        shape=(count, frames[0].header.rows + int(more[1]), frames[0].header.columns + int(more[0])),
        spacing=(step, float(pixel[0]), float(pixel[1])),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple(float(value) for value in axes.ravel()),
        along=tuple(float(value) for value in along),
        sideways=tuple((float(x), float(y)) for x, y in beside - low * pixel[::-1]) if beside.any() else (),
        even=even,
    )


def _refuse_apart(frames: Sequence[Frame], beside: Array) -> None:
    """Slices that are moved sideways still lie over each other."""
    header = frames[0].header
    size = np.multiply((header.columns, header.rows), frames[0].spacing[::-1])
    if (np.abs(beside).max(axis=0) >= size).any():
        farthest = int(np.abs(beside).max(axis=1).argmax())
        raise DataError(
            f"{frames[farthest]} lies {np.abs(beside).max():.4g} mm beside {frames[0]}, which is more than a "
            f"slice is wide. Put aside what does not belong to the series."
        )


def _line(along: Array) -> tuple[float, float]:
    """The step of the line through positions, and how far the farthest lies beside it."""
    numbers = np.arange(len(along))
    step, start = np.polyfit(numbers, along, 1)
    return float(step), float(np.abs(along - (start + step * numbers)).max())


def _count_and_step(frames: Sequence[Frame], along: Array, even: bool) -> tuple[int, float]:
    if len(frames) == 1:
        thickness = frames[0].thickness
        return 1, thickness if thickness and thickness > 0 else 1.0
    if even:
        # The mean distance: rounding of single positions does not add up.
        return len(frames), float(along[-1] - along[0]) / (len(frames) - 1)
    count = round(float(along[-1] - along[0]) / float(np.median(np.diff(along)))) + 1
    return count, float(along[-1] - along[0]) / (count - 1)


def _rounded_cosines(axes: Array, positions: Array, pixel: tuple[float, ...]) -> Array | None:
    """Axes whose normal runs through the positions, where rounded cosines explain that it does not."""
    apart = positions[-1] - positions[0]
    normal = apart / np.linalg.norm(apart)
    if np.linalg.norm(np.cross(normal, axes[:, 2])) > ROUNDED_RAD:
        return None
    beside = (positions - positions[0]) - np.outer((positions - positions[0]) @ normal, normal)
    if np.linalg.norm(beside, axis=1).max() > max(ROUNDED_MM, _OF_PIXEL * min(pixel)):
        return None
    row = axes[:, 0] - normal * (axes[:, 0] @ normal)
    row = row / np.linalg.norm(row)
    return np.column_stack([row, np.cross(normal, row), normal])


def _refuse_one_place(frames: Sequence[Frame], along: Array) -> None:
    steps = np.diff(along)
    if steps.min() <= ONE_PLACE * max(float(np.median(steps)), 1e-3):
        first = int(steps.argmin())
        raise DataError(
            f"{frames[first]} and {frames[first + 1]} lie in one place, and nothing in them tells which "
            f"volume each belongs to: the series holds several volumes (phases, echoes). Export each as a "
            f"series of its own."
        )


def _uneven(frames: Sequence[Frame], along: Array, mend: bool) -> DataError:
    steps = np.diff(along)
    usual = float(np.median(steps))
    worst = int(np.abs(steps - usual).argmax())
    other = frames[worst + 1]
    second = other.header.path.name if other.number is None else f"its frame {other.number}"
    kind = DataError if mend else UnevenSlices
    wide = " This gap is too wide to interpolate." if mend else ""
    return kind(
        f"Between {frames[worst]} and {second} are {steps[worst]:.3g} mm, between most slices "
        f"{usual:.3g} mm.{wide} Restore what is missing, or put aside what is too much."
    )
