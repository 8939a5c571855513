"""DICOM series: which files make one volume, in which order, and where it lies. Read with SimpleITK (GDCM).

Order and spacing come from the positions of the slices (0020,0032) along their normal, never from file names,
instance numbers or the thickness of a slice, which may overlap or leave gaps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.image import Array, ImageError
from autoseg.errors import DataError
from autoseg.intake.grid import Grid
from autoseg.intake.incoming import some

MODALITY, DESCRIPTION, PATIENT = "0008|0060", "0008|103e", "0010|0020"
SERIES, POSITION, DIRECTIONS, CLASS = "0020|000e", "0020|0032", "0020|0037", "0008|0016"
# Objects that hold no image of their own.
NOT_IMAGES = ("SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO", "REG", "DOC")
_AT_MAGIC, _MAGIC = 128, b"DICM"
# Of the distance between slices: rounding in the tags, but no missing slice.
_UNEVEN = 0.05


@dataclass(frozen=True)
class Slice:
    """One file.

    Attributes:
        path: where it lies.
        tags: the DICOM tags that are listed above, as text.
        size: columns, rows, frames.
    """

    path: Path
    tags: Mapping[str, str]
    size: tuple[int, ...]

    @property
    def single(self) -> bool:
        """Whether it is one slice, not a volume in one file."""
        return len(self.size) < 3 or self.size[2] == 1

    @property
    def position(self) -> Array:
        """Of the first voxel, mm.

        Raises:
            ImageError: if the file does not say.
        """
        return self._numbers(POSITION, 3)

    @property
    def axes(self) -> Array:
        """Directions of a row, of a column, and the normal, as columns."""
        row, column = self._numbers(DIRECTIONS, 6).reshape(2, 3)
        return np.column_stack([row, column, np.cross(row, column)])

    def _numbers(self, tag: str, count: int) -> Array:
        try:
            found = np.array([float(part) for part in self.tags.get(tag, "").split("\\")])
        except ValueError:
            found = np.zeros(0)
        if len(found) != count:
            raise ImageError(self.path, f"does not say where it lies (tag {tag})", "Export the series again.")
        return found


@dataclass(frozen=True)
class Series:
    """The slices of one volume, in order of their position."""

    slices: tuple[Slice, ...]

    @property
    def folder(self) -> Path:
        """Of its first slice."""
        return self.slices[0].path.parent

    @property
    def files(self) -> tuple[Path, ...]:
        """All its files."""
        return tuple(each.path for each in self.slices)

    def tag(self, name: str) -> str:
        """A tag of the first slice."""
        return self.slices[0].tags.get(name, "").strip()


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM; its name may be anything."""
    with path.open("rb") as file:
        file.seek(_AT_MAGIC)
        return file.read(4) == _MAGIC


def find_series(files: Iterable[Path]) -> tuple[list[Series], list[Path]]:
    """Sort DICOM files into series.

    A series is what shares folder, series id, size and direction: scouts and views in other planes that were
    stored under one id fall apart.

    Returns:
        The series, and the files that hold no image.

    Raises:
        ImageError: for a file that cannot be read.
        DataError: if a series has a gap, several slices in one place, or slices that are shifted sideways.
    """
    groups = defaultdict[tuple[Any, ...], list[Slice]](list)
    others = []
    for path in files:
        found = _read_slice(path)
        if found.tags.get(MODALITY, "").strip() in NOT_IMAGES or not all(found.size):
            others.append(path)
            continue
        where = tuple(np.round(found.axes.ravel(), 3)) if found.single and found.tags.get(DIRECTIONS) else ()
        key = (path.parent, found.tags.get(SERIES, "").strip(), found.size, where)
        groups[key if found.single else (path,)].append(found)
    return [_ordered(group) for group in groups.values()], others


def _read_slice(path: Path) -> Slice:
    import SimpleITK as sitk

    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    header.SetImageIO("GDCMImageIO")
    try:
        header.ReadImageInformation()
    except RuntimeError as problem:
        said = " ".join(str(problem).split())[-200:]
        raise ImageError(path, f"is DICOM that cannot be read ({said})") from None
    wanted = (MODALITY, DESCRIPTION, PATIENT, SERIES, POSITION, DIRECTIONS, CLASS)
    tags = {tag: header.GetMetaData(tag) for tag in wanted if header.HasMetaDataKey(tag)}
    return Slice(path, tags, tuple(header.GetSize()))


def _ordered(group: Sequence[Slice]) -> Series:
    if len(group) == 1:
        return Series(tuple(group))
    normal = group[0].axes[:, 2]
    ordered = sorted(group, key=lambda each: float(each.position @ normal))
    along = np.array([each.position @ normal for each in ordered])
    steps = np.diff(along)
    if steps.min() < 1e-3:
        first = int(steps.argmin())
        raise DataError(
            f"{ordered[first].path} and {ordered[first + 1].path} lie in one place: the series holds several "
            f"volumes (phases, echoes). Put each into a folder of its own."
        )
    usual = float(np.median(steps))
    if np.abs(steps - usual).max() > _UNEVEN * usual:
        worst = int(np.abs(steps - usual).argmax())
        raise DataError(
            f"Between {ordered[worst].path} and {ordered[worst + 1].path.name} are {steps[worst]:.3g} mm, "
            f"between most slices {usual:.3g} mm. Restore what is missing, or put aside what is "
            f"too much."
        )
    _refuse_tilt(ordered)
    return Series(tuple(ordered))


def _refuse_tilt(ordered: Sequence[Slice]) -> None:
    first, last = ordered[0], ordered[-1]
    apart = last.position - first.position
    sideways = apart - first.axes[:, 2] * (apart @ first.axes[:, 2])
    if np.linalg.norm(sideways) > 0.01 * np.linalg.norm(apart):
        raise DataError(
            f"The slices of {first.path.parent} are shifted against each other (a tilted gantry): by "
            f"{np.linalg.norm(sideways):.3g} mm from first to last. "
            f"Resample the series onto upright slices first."
        )


@lru_cache(maxsize=4096)
def grid_of_slices(files: tuple[Path, ...]) -> Grid:
    """The grid of a series whose files are in order.

    Raises:
        ImageError: if a header cannot be read.
    """
    import SimpleITK as sitk

    header = sitk.ImageFileReader()
    header.SetFileName(str(files[0]))
    header.SetImageIO("GDCMImageIO")
    header.ReadImageInformation()
    if len(files) == 1:
        return Grid(header.GetSize(), header.GetSpacing(), header.GetOrigin(), header.GetDirection())
    first, last = _read_slice(files[0]), _read_slice(files[-1])
    # The mean distance: rounding of single positions does not add up.
    step = float((last.position - first.position) @ first.axes[:, 2]) / (len(files) - 1)
    return Grid(
        (*header.GetSize()[:2], len(files)),
        (*header.GetSpacing()[:2], step),
        tuple(first.position.tolist()),
        tuple(first.axes.ravel().tolist()),
    )


def read_slices(files: tuple[Path, ...]) -> Any:
    """The volume of a series as a SimpleITK image: stored values times slope plus intercept of each slice.

    Raises:
        ImageError: if a slice cannot be read, or has several values a voxel.
    """
    import SimpleITK as sitk

    grid = grid_of_slices(files)
    parts = []
    for path in files:
        try:
            part = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        except RuntimeError as problem:
            said = " ".join(str(problem).split())[-200:]
            raise ImageError(path, f"is damaged ({said})") from None
        if part.GetNumberOfComponentsPerPixel() > 1:
            raise ImageError(path, "is a picture in colour", "Convert it to PNG, with its label beside it.")
        parts.append(sitk.GetArrayFromImage(part))
    array = np.concatenate(parts) if parts[0].ndim == 3 else np.stack(parts)
    image = sitk.GetImageFromArray(_small(array))
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def _small(array: Array) -> Array:
    """Slices whose slopes are written as 1.0 come as float64 whatever is in them."""
    if array.dtype.kind == "f" and np.array_equal(array, np.rint(array)):
        array = array.astype(np.int64)
    for kind in (np.int16, np.int32):
        if (
            array.dtype.kind in "iu"
            and np.iinfo(kind).min <= array.min()
            and array.max() <= np.iinfo(kind).max
        ):
            return array.astype(kind)
    return array.astype(np.float32)


def describe(paths: Sequence[Path]) -> str:
    """Files without an image, in words."""
    return some([path.name for path in paths])
