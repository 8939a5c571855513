"""Labels of DICOM series that are files of another format: named like the case, or in its folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autoseg.data.dicom import LeftOut, Stack
from autoseg.errors import DataError
from autoseg.intake.dicom.cases import SeriesCase
from autoseg.intake.grid import Grid
from autoseg.intake.grids import grid_of
from autoseg.intake.incoming import Content, Request, some, stem_of

_LIKE_A_LABEL = re.compile(r"[_. -]+(mask|seg|segmentation|label|labels|gt)$", re.IGNORECASE)
# Positions with one decimal, of the first slice and of the last.
_ROUNDED_MM = 0.12
# Voxels: headers of other formats are rounded otherwise.
_SAME_GRID = 0.05


def files_for(cases: Sequence[SeriesCase], masks: Sequence[Path], source: Path) -> dict[str, Path]:
    """The label file of each case, by its identifier.

    A file named like the case or its folder, else the only one in its folder. Where several volumes of a
    folder could have one file, it belongs to the one on whose grid it lies.

    Raises:
        DataError: if a case could have several files, or a file could belong to several volumes.
    """
    wanted: dict[Path, list[SeriesCase]] = {}
    for case in cases:
        fitting = _named_like(case, masks) or _beside(case, masks, source, alone=len(cases) == 1)
        if len(fitting) > 1:
            raise DataError(f"{some(fitting)} could each be the label of {case.name}. Leave one.")
        for path in fitting:
            wanted.setdefault(path, []).append(case)
    return {case.identifier: path for path, claims in wanted.items() for case in [_owner(path, claims)]}


def label_of(case: SeriesCase, path: Path, request: Request) -> Content:
    """The content that a label file is.

    A header that differs from the series' by rounding alone counts as the same: positions and cosines of
    DICOM are rounded, and converters take one slice's where here all count.

    Raises:
        DataError: if it has the size of a tilted series' slices, and nothing says how it lies on them.
    """
    for stack in case.stacks:
        slices = (stack.header.columns, stack.header.rows, len(stack.frames))
        if not stack.placing.sideways or grid_of(Content(path)).size != slices:
            continue
        if request.by_voxels:
            return Content(path, upon=stack, bare=True)
        raise DataError(
            f"{stack} lies tilted (the gantry's), by {stack.placing.tilt_mm:.3g} mm from first to last "
            f"slice. It is made upright, but {path} has the size of its tilted slices, which no header of "
            f"that format can place. If it was drawn on these slices, voxel for voxel, import with "
            f"--by-voxels: it is made upright with them. Else write it as SEG or RTSTRUCT."
        )
    grid = grid_of(Content(path))
    for number, stack in enumerate(case.stacks):
        if stack.placing.plain and grid.apart_mm(_grid(case, number)) <= _rounding_mm(stack):
            return Content(path, upon=stack, bare=True)
    return Content(path, bare=True)


def _rounding_mm(stack: Stack) -> float:
    """How far rounding in the headers of a series may place a voxel elsewhere; half a voxel at most."""
    spacing = stack.placing.spacing
    mean = np.reshape(stack.placing.direction, (3, 3)).T[:2].ravel()
    beside = [np.abs(mean - frame.cosines).max() for frame in stack.frames if frame.cosines]
    wobble = float(max(beside, default=0.0) * max(np.multiply(stack.placing.shape, spacing)))
    return min(max(_ROUNDED_MM, _SAME_GRID * min(spacing)) + wobble, min(spacing) / 2)


def refuse_short(case: SeriesCase, label: Path | None, left_out: Sequence[LeftOut]) -> None:
    """Find series that are short by files that cannot be read, where the label has more slices.

    Raises:
        DataError: naming these files.
    """
    if label is None:
        return
    folders = {folder for stack in case.stacks for folder in stack.folders}
    broken = [each for each in left_out if each.broken and each.path.parent in folders]
    size = grid_of(Content(label)).size
    for stack in case.stacks:
        if broken and len(size) == 3 and size[2] > len(stack.frames):
            listed = some([f"{each.path.name} ({each.reason})" for each in broken])
            raise DataError(
                f"{stack} is short: {label} has {size[2]} slices. Not readable there: {listed}. Restore "
                f"them from their source."
            )


def _named_like(case: SeriesCase, masks: Sequence[Path]) -> list[Path]:
    for name in (case.identifier, case.name, case.place.name):
        fitting = [path for path in masks if name in (stem_of(path), _LIKE_A_LABEL.sub("", stem_of(path)))]
        if fitting:
            return fitting
    return []


def _beside(case: SeriesCase, masks: Sequence[Path], source: Path, alone: bool) -> list[Path]:
    if case.place == source and not alone:
        return []
    return [path for path in masks if path.parent == case.place]


def _owner(path: Path, claims: Sequence[SeriesCase]) -> SeriesCase:
    if len(claims) == 1:
        return claims[0]
    grid = grid_of(Content(path))
    fitting = [
        case for case in claims if any(_lies_on(grid, _grid(case, n)) for n in range(len(case.stacks)))
    ]
    if len(fitting) == 1:
        return fitting[0]
    listed = some([f"{case.name} ({', '.join(map(str, case.stacks))})" for case in claims])
    raise DataError(
        f"{path} could be the label of {len(claims)} volumes: {listed}. Name it like the one that it was "
        f"drawn on, for instance {claims[0].name}{path.name[len(stem_of(path)) :]}, and put the others "
        f"elsewhere or give them labels of their own."
    )


def _grid(case: SeriesCase, number: int) -> Grid:
    stack = case.stacks[number]
    return grid_of(Content(stack.header.path, stack=stack))


def _lies_on(one: Grid, other: Grid) -> bool:
    turn = one.turn_onto(other)
    return turn is not None and turn.apart < _SAME_GRID
