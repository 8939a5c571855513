"""A look at labels that are drawn from SEG and RTSTRUCT objects, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoseg.data.dicom import Drawing, draw
from autoseg.data.image import ImageError
from autoseg.errors import DataError
from autoseg.intake.dicom.drawings import Drawings
from autoseg.intake.incoming import Content, Incoming, Request, some
from autoseg.system.pool import each


@dataclass(frozen=True)
class _Seen:
    values: frozenset[int]
    moved_mm: float
    covered: int
    outside: int


def inspected(incoming: Incoming, drawings: Drawings, request: Request) -> Incoming:
    """The data set with its labels' names, and notes on what drawing them came to.

    Raises:
        DataError: if a segmentation cannot be drawn, or none has a voxel.
    """
    names = [case.identifier for case in incoming.cases]
    seen = each(_see, [drawings.of_case[name] for name in names], names, request.workers, "Read labels")
    notes = [*drawings.notes, *_notes(seen)]
    held = frozenset[int]().union(*(one.values for one in seen))
    if not held:
        raise DataError("No segmentation has a voxel on its series. Check that they belong together.")
    labels = drawings.labels
    if empty := [name for name, value in labels.items() if value and value not in held]:
        if request.labels:
            notes.append(f"No case has a voxel of {some(empty, 12)}.")
        else:
            notes.append(f"No case has a voxel of {some(empty, 12)}; no label is made of that.")
            labels, incoming = _without(empty, labels, incoming)
    codes = {name: code for name, code in drawings.codes.items() if name in labels}
    about = {**incoming.about, **({"codes": codes} if codes else {})}
    return replace(incoming, labels=labels, about=about, notes=(*incoming.notes, *notes))


def _without(
    empty: Sequence[str], labels: Mapping[str, int], incoming: Incoming
) -> tuple[dict[str, int], Incoming]:
    """Labels, and what is drawn, without some names; the others are numbered anew."""
    left = [name for name in labels if name not in empty]
    new = {labels[name]: number for number, name in enumerate(left)}

    def changed(content: Content) -> Content:
        drawing = content.drawing
        if drawing is None:
            return content
        parts = tuple(
            replace(part, values=tuple((n, new[value]) for n, value in part.values if value in new))
            for part in drawing.parts
        )
        return replace(content, drawing=replace(drawing, parts=parts))

    return {name: number for number, name in enumerate(left)}, incoming.with_contents(
        lambda content: content, changed
    )


def _see(drawing: Drawing) -> _Seen:
    drawn = draw(drawing)
    values = frozenset(int(value) for value in np.unique(drawn.array) if value)
    if not values and drawn.outside:
        raise ImageError(
            drawing.parts[0].label.header.path,
            "lies wholly beside its series",
            "Check that both are of one frame of reference; else register them first.",
        )
    return _Seen(values, drawn.moved_mm, sum(drawn.covered.values()), drawn.outside)


def _notes(seen: Sequence[_Seen]) -> list[str]:
    notes = []
    if moved := [one.moved_mm for one in seen if one.moved_mm > 0]:
        notes.append(
            f"{len(moved)} segmentations lie on another grid than their series. Each voxel takes the label "
            f"of the nearest one, up to {max(moved):.2g} mm away."
        )
    if outside := [one.outside for one in seen if one.outside]:
        notes.append(
            f"{len(outside)} segmentations reach beyond their series; {sum(outside)} of their voxels or "
            f"contours are lost."
        )
    if covered := sum(one.covered for one in seen):
        notes.append(f"Structures overlap; the later label lies on top in {covered} voxels.")
    return notes
