"""Volumes and labels of DICOM as SimpleITK images, and what was done to them in a few words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autoseg.data.dicom import Stack, draw, read_volume
from autoseg.data.dicom.regular import onto_grid
from autoseg.data.dicom.suv import suv_factor
from autoseg.intake.grids import grid_of
from autoseg.intake.incoming import Content


def itk_volume(content: Content) -> Any:
    """The voxels of a content that is a volume of DICOM, or labels upon one.

    Raises:
        ImageError: if a file cannot be read.
    """
    import SimpleITK as sitk

    if content.drawing is not None:
        array, stack = draw(content.drawing).array, content.drawing.stack
    elif content.upon is not None:
        stack = content.upon
        stored = sitk.GetArrayFromImage(sitk.ReadImage(str(content.source)))
        turn = grid_of(replace(content, upon=None)).turn_onto(grid_of(content))
        array = onto_grid(turn.apply(stored) if turn else stored, stack.placing, labels=True)
    else:
        assert content.stack is not None  # whoever calls has looked
        stack = content.stack
        array = read_volume(stack).array
        if content.suv:
            array = (array * suv_factor(stack)).astype("float32")
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(stack.placing.spacing[::-1])
    image.SetOrigin(stack.placing.origin)
    image.SetDirection(stack.placing.direction)
    return image


def described(content: Content) -> list[str]:
    """What it is and what was done to it; no name of a file, which may say who a patient is."""
    if content.drawing is not None:
        kinds = {"RTSTRUCT" if part.label.kind == "RTSTRUCT" else "SEG" for part in content.drawing.parts}
        return [f"DICOM {' and '.join(sorted(kinds))}"]
    if content.upon is not None:
        return [] if content.upon.placing.plain else ["made upright with its series"]
    assert content.stack is not None  # whoever calls has looked
    said = [_series(content.stack)]
    if content.stack.placing.sideways:
        said.append("made upright")
    if not content.stack.placing.even:
        said.append("interpolated between slices")
    if content.suv:
        said.append("as SUV")
    return said


def _series(stack: Stack) -> str:
    count = len(stack.frames)
    return f"DICOM series of {count} slices" if count > 1 else "DICOM image"
