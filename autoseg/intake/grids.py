"""On which grid a file's voxels lie, read from headers alone, and whether the files of a case agree."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.formats import TIFF_ENDINGS, deep_colours, itk_geometry, itk_header, unreadable
from autoseg.data.image import ImageError, require_file
from autoseg.data.tiff_spacing import shape_of_volume
from autoseg.errors import DataError
from autoseg.intake.grid import Grid
from autoseg.intake.incoming import MEDICAL, Content, Incoming, IncomingCase, Request, ending_of, some
from autoseg.intake.label_pictures import refuse_several
from autoseg.intake.nifti_bytes import CONTRADICTION_VOXELS, believe, header_bytes, read_header
from autoseg.system.guard import note

# The rest is rounding: float32 in one header, float64 in another.
MOVED_VOXELS = 0.01
_EXIF_ORIENTATION = 274


def grid_of(content: Content) -> Grid:
    """The grid of a file, or of the volume, that a content is made of.

    Raises:
        ImageError: if its header cannot be read.
    """
    if stack := content.stack or content.upon or (content.drawing and content.drawing.stack):
        grid = stack.placing
        return Grid(grid.shape[::-1], grid.spacing[::-1], grid.origin, grid.direction)
    if ending_of(content.source) in MEDICAL:
        return _medical(content)
    from PIL import Image

    require_file(content.source)
    try:
        note(content.source)
        with Image.open(content.source) as picture:
            _refuse_turned_picture(content.source, picture)
            refuse_several(content.source, picture)
            if lost := deep_colours(content.source):
                raise ImageError(
                    content.source,
                    f"is {lost} of 16 bits, and would be read with 8",
                    "Write grey values of 16 bits without transparency, or colours of 8 bits.",
                )
            shape = shape_of_volume(content.source) if ending_of(content.source) in TIFF_ENDINGS else None
            return Grid(picture.size, (1.0, 1.0)) if shape is None else Grid(shape[::-1], (1.0, 1.0, 1.0))
    except OSError as problem:
        raise ImageError(content.source, f"cannot be read as a picture ({problem})") from problem


def _refuse_turned_picture(path: Path, picture: Any) -> None:
    """EXIF may say that a picture is to be shown turned: some programs do so, others do not."""
    turned = picture.getexif().get(_EXIF_ORIENTATION, 1)
    if turned not in (0, 1):
        raise ImageError(
            path,
            f"is to be shown turned or mirrored (EXIF orientation {turned}), and a mask may lie beside its "
            f"object",
            "Write the pixels as they are shown (exiftran -a, mogrify -auto-orient), and look at the mask.",
        )


def _medical(content: Content) -> Grid:
    if content.orientation is not None and ending_of(content.source) in (".nii", ".nii.gz"):
        with tempfile.TemporaryDirectory(prefix="autoseg_import_") as folder:
            path = Path(folder) / "header.nii"
            path.write_bytes(believe(header_bytes(content.source), content.orientation))
            return _grid_in(path, content.source)
    grid = _grid_in(content.source, content.source)
    if content.volume is None and ending_of(content.source) not in (".nii", ".nii.gz"):
        return grid
    header = read_header(content.source) if content.volume is None else None
    if header is not None and header.volumes > 1:
        raise ImageError(
            content.source,
            f"has 4 dimensions, {header.volumes} volumes",
            "Write each channel, or the label of each voxel, as one 3D volume.",
        )
    return grid


def _grid_in(path: Path, source: Path) -> Grid:
    try:
        header = itk_header(path)
    except RuntimeError as problem:
        raise unreadable(source, problem) from None
    if (components := header.GetNumberOfComponents()) > 1:
        raise several_values(source, components)
    spacing, origin, direction = itk_geometry(header)
    count = min(3, len(spacing))
    whole = np.reshape(direction, (len(spacing), -1))
    return Grid(
        tuple(header.GetSize()[:count]), spacing[:count], origin[:count], tuple(whole[:count, :count].ravel())
    )


def several_values(path: Path, count: int) -> ImageError:
    """What is said of a file with several values for each voxel, which no reader of nnU-Net's takes."""
    remedy = (
        "Write one file for each channel of an image. Of a segmentation in layers (3D Slicer), collapse the "
        "layers, or export it as a labelmap: each voxel has one label."
    )
    return ImageError(path, f"has {count} values for each voxel", remedy)


def on_one_grid(incoming: Incoming, request: Request) -> Incoming:
    """Check every case, and let images be resampled where that is requested.

    The label's grid is the case's; labels are never resampled. Without a label it is the first channel's.
    Files that are stored along other axes than the first channel are turned without loss.

    Raises:
        DataError: naming the files that lie on other grids, or whose header contradicts itself.
    """
    incoming = _without_contradictions(incoming, request)
    alike = {name: [_stored_alike(case, request) for case in cases] for name, cases in incoming.parts}
    found = {
        name: tuple(_aligned(case, request.resample) for case, _ in cases) for name, cases in alike.items()
    }
    wrong = [text for cases in found.values() for _, texts in cases for text in texts]
    notes = incoming.notes
    if turned := sum(count for cases in alike.values() for _, count in cases):
        notes = (
            *notes,
            f"{turned} files are stored along other axes than their case's first image; they are turned "
            f"without loss, as their headers say.",
        )
    if wrong:
        listed = "\n  ".join(wrong[:5])
        if not request.resample:
            raise DataError(
                f"Images that lie on another grid than their label, or without one their first channel "
                f"({len(wrong)}):\n  {listed}\n"
                f"Import with --resample to bring them onto the label's grid (linear, smoothed where it is "
                f"coarser), or register and resample them yourself."
            )
        notes = (
            *notes,
            f"Images on another grid than their label or first channel are resampled onto it ({len(wrong)}).",
        )
    return replace(
        incoming,
        cases=tuple(case for case, _ in found["Tr"]),
        tests=tuple(case for case, _ in found["Ts"]),
        unlabelled=tuple(case for case, _ in found["Un"]),
        notes=notes,
    )


def _stored_alike(case: IncomingCase, request: Request) -> tuple[IncomingCase, int]:
    """A case whose files are all stored as its first image is, and how many had to be turned for that.

    Raises:
        DataError: if the axes of a file run otherwise, and no permutation and flips bring its voxels to the
            same places.
    """
    anchor = case.images[0]
    wanted = grid_of(anchor)
    if request.by_voxels or not wanted.direction:
        return case, 0

    def alike(content: Content) -> Content:
        grid = grid_of(content)
        turn = None if content is anchor else grid.turn_onto(wanted)
        if turn is None and (content is anchor or not grid.direction or grid.differs(wanted)):
            return content
        if turn is not None and not turn.changes:
            return content
        if turn is not None and turn.exact:
            return replace(content, turned=anchor)
        if request.resample:
            return content
        apart = turn.apart if turn is not None else grid.moved(wanted)
        raise DataError(
            f"{content.source} and {anchor.source} are stored along other axes, and no permutation and flips "
            f"bring their voxels to the same places (up to {apart:.3g} voxels apart). Correct the wrong "
            f"header, or resample with --resample. If the voxels match as they are stored, import with "
            f"--by-voxels."
        )

    images = tuple(map(alike, case.images))
    label = alike(case.label) if case.label else None
    turned = sum(content.turned is not None for content in (*images, *([label] if label else [])))
    return replace(case, images=images, label=label), turned


def _aligned(case: IncomingCase, resample: bool) -> tuple[IncomingCase, list[str]]:
    reference = case.label or case.images[0]
    wanted = grid_of(reference.turned or reference)
    images, wrong = [], []
    for image in case.images:
        grid = grid_of(image.turned or image) if image is not reference else wanted
        # What is only placed elsewhere can be laid over: verification warns of it.
        if grid.differs(wanted) or (resample and grid.moved(wanted) > MOVED_VOXELS):
            if not grid.direction:
                own, other = (" x ".join(map(str, each.size)) for each in (grid, wanted))
                raise DataError(
                    f"{image.source} has {own} pixels, but {reference.source} {other}. Restore the picture "
                    f"that belongs to this label."
                )
            wrong.append(f"{image.source}: {grid}, but {reference.source}: {wanted}")
            image = replace(image, onto=reference)
        images.append(image)
    return replace(case, images=tuple(images)), wrong


def _without_contradictions(incoming: Incoming, request: Request) -> Incoming:
    """Every NIfTI header gives one place for a voxel, or is to be corrected in the copy."""
    wrong: dict[Content, float] = {}
    for content in incoming.contents:
        if ending_of(content.source) in (".nii", ".nii.gz") and (header := read_header(content.source)):
            apart = float("inf") if header.other_zoom() is not None else header.contradiction()
            if apart > CONTRADICTION_VOXELS:
                wrong[content] = apart
    if not wrong:
        return incoming
    listed = some(
        [
            f"{content.source} ({f'by {apart:.3g} voxels' if np.isfinite(apart) else 'other voxel sizes'})"
            for content, apart in wrong.items()
        ]
    )
    if request.orientation is None:
        raise DataError(
            f"The headers of {len(wrong)} files give two places or sizes for each voxel, qform or pixdim and "
            f"sform; programs differ in which they take: {listed}. Look at one over its label, import "
            f"with --orientation sform or --orientation qform; the other one is struck out in the copy."
        )
    believed = incoming.with_contents(
        lambda content: replace(content, orientation=request.orientation) if content in wrong else content
    )
    named = "" if incoming.private else f": {listed}"
    note = f"{len(wrong)} headers gave two places; the {request.orientation} is used{named}."
    return replace(believed, notes=(*believed.notes, note))
