"""Specks: tiny islands of a structure, away from the rest of it, which most cases of a data set do not have.

They come from a slip of the brush, a threshold, or a file that was put together from several. Lesions and
nuclei are many, and small ones are usual there; what is usual is learnt from the data set itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.data.components import box_of, marked
from autoseg.data.dataset import Case, Labels
from autoseg.data.image import Array, Image, voxel_size
from autoseg.intake.verification.findings import Finding, warning

# The components that hold this part of a structure's voxels together are its main ones.
_MAIN = 0.95
# A speck is this many times smaller than what is usual; one of a few voxels less so.
_TIMES, _TIMES_OF_FEW, _FEW_VOXELS = 100, 10, 3
# Voxels between a speck and the rest of its structure; closer ones are a ragged border.
_GAP = 2
# Of structures of more parts than these, as lesions, the smallest part is what is usual.
_FEW_PARTS = 6
# With fewer cases nothing is known to be usual: only single voxels beside one or two parts are named then.
_FEWEST_CASES, _PARTS_ALONE, _SPECKS_ALONE = 5, 2, 5
# Candidates of one structure in one case; more than these are the structure's nature.
_MOST = 60


@dataclass(frozen=True)
class Island:
    """A small component that lies away from the main ones.

    Attributes:
        voxels: how many it has.
        centre: the index (x, y, z) of its middle.
    """

    voxels: int
    centre: tuple[int, int, int]


@dataclass(frozen=True)
class Parts:
    """The components of one structure in one case.

    Attributes:
        count: how many.
        voxels: of all.
        least_main: voxels of the smallest main component.
        least: voxels of the smallest component.
        islands: small ones, the smallest first.
        voxel: size of one, in the unit.
        unit: ``mm^3``, ``mm^2`` or ``pixels``.
    """

    count: int
    voxels: int
    least_main: int
    least: int
    islands: tuple[Island, ...]
    voxel: float
    unit: str


def parts_of(labels: Labels, drawn: Array, label: Image) -> dict[str, Parts]:
    """The components of every structure of a label.

    Args:
        labels: of the data set.
        drawn: the label (z, y, x), whole numbers.
        label: the file's image, for the size of a voxel.
    """
    voxel, unit = voxel_size(label)
    above = drawn > 0
    if not above.any():
        return {}
    box = box_of(above)
    inner, corner = drawn[box], [side.start for side in box]
    together = _Marked.of(inner)
    found = {}
    for name, values in labels.structures.items():
        if len(values) == 1:
            own, marks = together, np.flatnonzero(together.owners == values[0])
        else:
            own = _Marked.of(np.isin(inner, list(values)).astype(np.uint8))
            marks = np.arange(len(own.sizes))
        if len(marks):
            found[name] = _parts(own, marks, corner, voxel, unit)
    return found


@dataclass(frozen=True)
class _Marked:
    """The components of an array, those of all its values together.

    Attributes:
        marks: the number of each voxel's component (z, y, x), from 1.
        sizes: voxels of each component.
        boxes: the box that each fills.
        owners: the value of each.
    """

    marks: Array
    sizes: Array
    boxes: Sequence[tuple[slice, ...]]
    owners: Array

    @classmethod
    def of(cls, label: Array) -> _Marked:
        marks, sizes, boxes = marked(label)
        owners = np.zeros(len(sizes) + 1, label.dtype)
        owners[marks.ravel()] = label.ravel()
        return cls(marks, sizes, boxes, owners[1:])


def _parts(own: _Marked, which: Array, corner: Sequence[int], voxel: float, unit: str) -> Parts:
    """The parts of a structure that has these components (indices from 0)."""
    sizes = own.sizes[which]
    order = np.argsort(-sizes.astype(np.int64), kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    main = order[before < _MAIN * sizes.sum()]
    small = [int(n) for n in order[::-1] if n not in main and sizes[n] * _TIMES_OF_FEW <= sizes[main[-1]]]
    boxes = {n: own.boxes[int(which[n])] for n in small[:_MOST]}
    few = boxes if len(small) <= _MOST else {}
    far = [n for n, box in few.items() if _is_far(own.marks, box, which[main] + 1)]
    islands = tuple(
        Island(
            int(sizes[n]),
            tuple(  # type: ignore[arg-type]
                start + (side.start + side.stop - 1) // 2
                for start, side in zip(reversed(corner), reversed(boxes[n]), strict=True)
            ),
        )
        for n in far
    )
    return Parts(len(sizes), int(sizes.sum()), int(sizes[main[-1]]), int(sizes.min()), islands, voxel, unit)


def _is_far(marks: Array, box: Sequence[slice], main: Array) -> bool:
    around = tuple(slice(max(0, side.start - _GAP), side.stop + _GAP) for side in box)
    return not np.isin(marks[around], main).any()


def check_specks(cases: Sequence[Case], found: Sequence[Mapping[str, Parts]]) -> Iterator[Finding]:
    """The specks of every case, a finding for each structure.

    Args:
        cases: of the data set.
        found: of each case, what `parts_of` gives.
    """
    for name in dict.fromkeys(name for each in found for name in each):
        known = [(case, each[name]) for case, each in zip(cases, found, strict=True) if name in each]
        limits = _limits([parts for _, parts in known])
        specks = [
            [island for island in parts.islands if island.voxels <= limit]
            for (_, parts), limit in zip(known, limits, strict=True)
        ]
        # What most cases have is how the structure is drawn.
        if len(known) >= _FEWEST_CASES and 2 * sum(map(bool, specks)) > len(known):
            continue
        for (case, parts), islands in zip(known, specks, strict=True):
            if islands:
                yield _finding(case, name, parts, islands)


def _limits(found: Sequence[Parts]) -> list[float]:
    """The size, in voxels of each case, up to which a component is a speck."""
    if len(found) < _FEWEST_CASES:
        return [_limit_alone(parts) for parts in found]
    few = float(np.median([parts.count - len(parts.islands) for parts in found])) <= _FEW_PARTS
    usual = float(np.median([(p.least_main if few else p.least) * p.voxel for p in found]))
    return [
        max(usual / parts.voxel / _TIMES, min(usual / parts.voxel / _TIMES_OF_FEW, _FEW_VOXELS))
        for parts in found
    ]


def _limit_alone(parts: Parts) -> float:
    few = parts.count - len(parts.islands) <= _PARTS_ALONE and len(parts.islands) <= _SPECKS_ALONE
    return min(parts.least_main / _TIMES, _FEW_VOXELS) if few else 0.0


def _finding(case: Case, name: str, parts: Parts, islands: Sequence[Island]) -> Finding:
    sizes = sorted({island.voxels for island in islands})
    least, most = sizes[0] * parts.voxel, sizes[-1] * parts.voxel
    many = f"{len(islands)} specks" if len(islands) > 1 else "a speck"
    size = f"{least:.4g}" if least == most else f"{least:.4g} to {most:.4g}"
    voxels = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    word = ("pixel" if parts.unit == "pixels" else "voxel") + ("" if sizes[-1] == 1 else "s")
    places = ", ".join(str(island.centre) for island in islands[:3]) + (" ..." if len(islands) > 3 else "")
    measured = f"{voxels} {word}" + ("" if parts.unit == "pixels" else f" ({size} {parts.unit})")
    message = (
        f"{name!r} has {many} of {measured} away from the rest of it, which holds {parts.voxels} voxels: at "
        f"(x, y, z) {places}."
    )
    remedy = "Look whether they are slips of the brush, and erase those that are."
    return warning("specks", message, remedy, case=case.identifier, file=case.label)
