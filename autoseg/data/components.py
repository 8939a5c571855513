"""Connected components of labelled structures: the size of one object, not of all of a class together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoseg.data.image import Array

# The smallest components that hold less than this part of a structure's voxels together are specks.
SPECKS = 0.05


@dataclass(frozen=True)
class Components:
    """The components of one structure in one case, without specks.

    Attributes:
        voxels: sizes of the components, the largest first.
        extents: voxels of each component along each axis.
    """

    voxels: tuple[int, ...]
    extents: tuple[tuple[int, ...], ...]


def components_of(label: Array, structures: Mapping[str, Sequence[int]]) -> dict[str, Components]:
    """The components of every structure that a label map holds; voxels that touch at a corner are one.

    Args:
        label: (z, y, x), whole numbers.
        structures: the values of each by name; they may share values.
    """
    if not (label > 0).any():
        return {}
    inner = label[box_of(label > 0)]
    single = {name: values[0] for name, values in structures.items() if len(values) == 1}
    found: dict[str, Components] = {}
    if single:
        sizes, extents, owners = _components(inner)
        found |= {
            name: _without_specks(sizes[owners == value], extents[owners == value])
            for name, value in single.items()
            if (owners == value).any()
        }
    for name, values in structures.items():
        if name not in single and (mask := np.isin(inner, list(values))).any():
            sizes, extents, _ = _components(mask.astype(np.uint8))
            found[name] = _without_specks(sizes, extents)
    return found


def marked(label: Array) -> tuple[Array, Array, list[tuple[slice, ...]]]:
    """Connected components of equal values above 0; voxels that touch at a corner are one.

    Returns:
        The number of each voxel's component (z, y, x), from 1; and of each, its voxels and the box it fills.
    """
    import cc3d

    whole = np.ascontiguousarray(label)
    if whole.dtype.kind == "f":
        whole = whole.astype(np.int32)
    if not whole.flags.writeable:  # what was unpacked in place; the library wants a buffer of its own
        whole = whole.copy()
    marks: Array = cc3d.connected_components(whole, connectivity=26)
    facts: Any = cc3d.statistics(marks)
    return marks, facts["voxel_counts"][1:], list(facts["bounding_boxes"][1:])


def _components(label: Array) -> tuple[Array, Array, Array]:
    """Voxels, extents and the label value of each component of equal values above 0."""
    marks, sizes, boxes = marked(label)
    owners = np.zeros(len(sizes) + 1, label.dtype)
    owners[marks.ravel()] = label.ravel()
    extents = [[side.stop - side.start for side in box] for box in boxes]
    return sizes, np.array(extents).reshape(len(sizes), -1), owners[1:]


def _without_specks(sizes: Array, extents: Array) -> Components:
    order = np.argsort(-sizes.astype(np.int64), kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    kept = order[before < (1 - SPECKS) * sizes.sum()]
    return Components(
        tuple(int(n) for n in sizes[kept]), tuple(tuple(int(n) for n in row) for row in extents[kept])
    )


def box_of(mask: Array) -> tuple[slice, ...]:
    """The smallest box that holds a mask with any voxel."""
    found = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        found.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(found)


def summary(
    found: Sequence[Components], spacings: Sequence[Sequence[float]], voxel_sizes: Sequence[float]
) -> dict[str, Any]:
    """What a fingerprint says of one structure's components.

    Args:
        found: in each case that has the structure.
        spacings: spacings of these cases.
        voxel_sizes: voxel sizes of these cases, in the unit of sizes.

    Returns:
        ``per_case``: median number in a case; ``median_voxels`` and ``median``: size of one, in voxels and in
        the unit; ``extent``: median extent along each axis, mm (pixels of a picture).
    """
    voxels = [n for each in found for n in each.voxels]
    sizes = [n * size for each, size in zip(found, voxel_sizes, strict=True) for n in each.voxels]
    extents = [
        np.multiply(row, spacing)
        for each, spacing in zip(found, spacings, strict=True)
        for row in each.extents
    ]
    return {
        "per_case": float(np.median([len(each.voxels) for each in found])),
        "median_voxels": float(np.median(voxels)),
        "median": float(np.median(sizes)),
        "extent": [float(n) for n in np.median(extents, axis=0)],
    }
