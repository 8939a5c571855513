"""What can be wrong with the header of one NIfTI file, whichever library reads it without a word."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Case
from autoseg.data.formats import deep_colours
from autoseg.data.image import ImageError
from autoseg.intake.nifti_bytes import CONTRADICTION_VOXELS, NiftiHeader, read_header
from autoseg.intake.verification.findings import Finding, error, warning

_Found = Iterator[tuple[Callable[..., Finding], str, str, str]]
# ITK takes a slope below the precision of a double (2.2e-16) for none; nibabel multiplies by it.
_NO_SLOPE = 1e-15
_AXES = ("columns", "rows", "slices")


def check_header(case: Case, path: Path) -> Iterator[Finding]:
    """Check the header of a NIfTI or PNG file; others, and those that cannot be unpacked, pass."""
    if path.suffix.lower() == ".png" and path.is_file():
        yield from _check_png(case, path)
    if not path.name.lower().endswith((".nii", ".nii.gz")) or not path.is_file():
        return
    try:
        header = read_header(path)
    except ImageError:
        return
    if header is None:
        return
    for severity, code, message, remedy in (
        *_spacing(header),
        *_position(header),
        *_contradiction(header),
        *_scaling(header),
    ):
        yield severity(code, message, remedy, case=case.identifier, file=path)


def _check_png(case: Case, path: Path) -> Iterator[Finding]:
    if lost := deep_colours(path):
        message = f"It is {lost} of 16 bits; it is read with 8, and the other half is lost."
        remedy = "Write grey values of 16 bits without transparency, or colours of 8 bits."
        severity = error if path == case.label else warning
        yield severity("depth_lost", message, remedy, case=case.identifier, file=path)


def _spacing(header: NiftiHeader) -> _Found:
    for axis in range(min(3, header.dimensions)):
        size = header.pixdim[axis]
        if math.isfinite(size) and size > 0:
            continue
        own = None if header.sform is None else float(np.linalg.norm(header.sform[:, axis]))
        field = f"pixdim[{axis + 1}], the distance of {_AXES[axis]}, is {size:g}"
        if math.isfinite(size) and size < 0:
            message = f"{field}. It is read as {-size:g} mm."
            yield warning, "negative_spacing", message, "Write it as a positive number."
        elif own is not None and math.isfinite(own) and own > 0:
            remedy = (
                f"Its sform says {own:g} mm. Write that into pixdim, or import the data with "
                f"--orientation sform, which does."
            )
            yield error, "bad_spacing", f"{field}; programs take 1 mm for it, or fail.", remedy
        else:
            remedy = "Write the true distance in mm, and those of the other axes if they are wrong too."
            yield error, "bad_spacing", f"{field}; programs take 1 mm for it, or fail.", remedy


def _position(header: NiftiHeader) -> _Found:
    for name, place in (("sform", header.sform), ("qform", header.qform)):
        if place is not None and not np.isfinite(place).all() and np.isfinite(header.pixdim).all():
            message = f"The {name} holds NaN or infinite numbers, and its code says that it counts."
            remedy = f"Restore it, or set {name}_code to 0 if the other position in the header is right."
            yield error, "bad_position", message, remedy


def _contradiction(header: NiftiHeader) -> _Found:
    remedy = (
        "Look at one of the images over its label, then import the data with --orientation sform or "
        "--orientation qform: the copy says one thing."
    )
    if (columns := header.other_zoom()) is not None:
        sizes = " x ".join(f"{size:.4g}" for size in columns)
        own = " x ".join(f"{size:.4g}" for size in header.pixdim[:3])
        message = f"Its sform has voxels of {sizes} mm, its pixdim {own} mm, which is what is read."
        yield error, "two_spacings", message, remedy
    elif (apart := header.contradiction()) > CONTRADICTION_VOXELS:
        message = f"Its qform and its sform place a voxel up to {apart:.3g} voxels apart; programs differ."
        yield warning, "two_positions", message, remedy


def _scaling(header: NiftiHeader) -> _Found:
    slope, intercept = header.scaling
    if (
        math.isinf(slope)
        or math.isinf(intercept)
        or (math.isfinite(slope) and slope and math.isnan(intercept))
    ):
        message = f"Its scl_slope is {slope:g} and its scl_inter {intercept:g}, which scales nothing."
        yield error, "bad_scaling", message, "Write what the values are scaled by, or 1 and 0."
    elif 0 < abs(slope) < _NO_SLOPE:
        message = f"Its scl_slope is {slope:g}: some programs take so small a one for none, others for 0."
        yield error, "bad_scaling", message, "Write what the values are scaled by, or 1 and 0."
    elif (not slope or math.isnan(slope)) and intercept and not math.isnan(intercept):
        message = (
            f"Its scl_slope is {slope:g} and its scl_inter {intercept:g}: some programs add it, some not."
        )
        yield warning, "bad_scaling", message, "Write scl_slope 1 if it is to be added, or else scl_inter 0."
