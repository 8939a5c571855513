"""One file of the raw folder, from its content: copied bit for bit where nothing has to change."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.formats import itk_image, tiff_array, unreadable
from autoseg.data.image import Array, ImageError, require_file
from autoseg.intake.grids import grid_of, several_values
from autoseg.intake.incoming import MEDICAL, Content, ending_of
from autoseg.intake.label_pictures import numbers_in
from autoseg.intake.nifti_bytes import believe, cut_volume, pack, read_bytes
from autoseg.intake.picture_modes import in_mode
from autoseg.system.guard import note

_TIFF = (".tif", ".tiff")
_NIFTI = (".nii", ".nii.gz")


def write_content(content: Content, target: Path, link: bool = False) -> str:
    """Write one file.

    Args:
        content: what it is made of.
        target: a path that does not exist; its ending is the format.
        link: whether what needs no change becomes a symbolic link.

    Returns:
        In a few words, how: ``copied``, ``linked``, ``volume 2``, ``DICOM series of 20 slices``, ...

    Raises:
        ImageError: if the source cannot be read.
    """
    note(content.source)
    require_file(content.source)
    target.parent.mkdir(parents=True, exist_ok=True)
    ending = ending_of(content.source)
    if _as_it_is(content, target):
        return _placed(content.source, target, link)
    try:
        plain = (
            not content.codes and not content.structures and content.onto is None and content.turned is None
        )
        dicom = any((content.stack, content.drawing, content.upon, content.bare))
        if plain and not dicom and ending in _NIFTI and ending_of(target) in _NIFTI:
            pack(_bytes(content), target)
        elif dicom or ending in MEDICAL:
            _write_medical(content, target)
        else:
            _write_picture(content, target)
    except (RuntimeError, OSError) as problem:
        said = " ".join(str(problem).split())[-300:]
        raise ImageError(content.source, f"cannot be converted ({said})") from problem
    return _how(content, target)


def label_array(content: Content) -> Array:
    """The values of a label as they are in the file; of a coloured picture whose channels agree, one of them.

    Raises:
        ImageError: for a picture of several colours, or a file that cannot be read.
    """
    if content.drawing is not None or ending_of(content.source) in MEDICAL:
        import SimpleITK as sitk

        image = read_itk_image(content)
        if (components := image.GetNumberOfComponentsPerPixel()) > 1:
            raise several_values(content.source, components)
        return np.asarray(sitk.GetArrayFromImage(image))
    return _united([_label_of_picture(path) for path in (content.source, *content.united)], content)


def _united(parts: list[Array], content: Content) -> Array:
    """Several masks of one picture as one: each voxel has the value of the mask that is not 0 there."""
    whole = parts[0]
    for part, path in zip(parts[1:], content.united, strict=True):
        if part.shape != whole.shape:
            raise ImageError(path, f"has another size than {content.source.name}", "Write all masks alike.")
        both = (part != 0) & (whole != 0)
        if (part[both] != whole[both]).any():
            raise ImageError(
                path,
                f"and {content.source.name} give one pixel two labels",
                "Unite them by hand: one file with a value for each label.",
            )
        whole = np.maximum(whole, part)
    return whole


def read_itk_image(content: Content) -> Any:
    """A medical image with SimpleITK, the volume and the position in its header chosen."""

    if content.stack or content.drawing or content.upon:
        from autoseg.intake.dicom.volumes import itk_volume

        return itk_volume(content)
    try:
        if content.volume is None and content.orientation is None:
            return itk_image(content.source)
        with tempfile.TemporaryDirectory(prefix="autoseg_import_") as folder:
            path = Path(folder) / "volume.nii"
            pack(_bytes(content), path)
            return itk_image(path)
    except RuntimeError as problem:
        raise unreadable(content.source, problem) from None


def _as_it_is(content: Content, target: Path) -> bool:
    changed = content.volume is not None or any(
        (
            content.stack,
            content.drawing,
            content.upon,
            content.bare,
            content.codes,
            content.mode,
            content.united,
            content.structures,
        )
    )
    if changed or content.turned is not None or content.onto is not None or content.orientation is not None:
        return False
    own, wanted = ending_of(content.source), ending_of(target)
    return own == wanted or {own, wanted} == set(_TIFF)


def _placed(source: Path, target: Path, link: bool) -> str:
    if link:
        target.symlink_to(source.resolve())
        return "linked"
    # Contents and time, not permissions: a read-only source must not make a read-only raw folder.
    shutil.copyfile(source, target)
    status = source.stat()
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return "copied"


def _how(content: Content, target: Path) -> str:
    said = []
    if content.stack or content.drawing or content.upon:
        from autoseg.intake.dicom.volumes import described

        said += described(content)
    if content.bare:
        said.append("voxels and place alone")
    if content.volume is not None:
        said.append(f"volume {content.volume}")
    if content.orientation:
        said.append(f"placed by its {content.orientation}")
    if content.onto is not None:
        # Names of DICOM files may say who a patient is.
        other = "its label" if content.stack is not None else content.onto.source.name
        said.append(f"resampled onto {other}")
    if content.turned is not None:
        said.append("turned")
    if content.structures:
        said.append("united from files of single structures")
    if content.united:
        said.append(f"{1 + len(content.united)} masks united")
    if content.mode:
        said.append(f"as {content.mode}")
    if changed := [f"{old} to {new}" for old, new in content.codes if old != new]:
        said.append(f"label values {', '.join(changed)}")
    return "; ".join(said) or f"converted to {ending_of(target)}"


def _bytes(content: Content) -> bytes:
    found = read_bytes(content.source)
    if content.volume is not None:
        found = cut_volume(found, content.volume, content.source)
    return believe(found, content.orientation) if content.orientation else found


def _write_medical(content: Content, target: Path) -> None:
    import SimpleITK as sitk

    image = _painted(content) if content.structures else read_itk_image(content)
    if content.codes:
        recoded = sitk.GetImageFromArray(_recoded(sitk.GetArrayFromImage(image), content))
        recoded.CopyInformation(image)
        image = recoded
    if content.turned is not None:
        image = _turned(image, content)
    if content.onto is not None:
        image = resampled(image, read_itk_image(content.onto))
    if content.bare:
        for key in image.GetMetaDataKeys():
            image.EraseMetaData(key)
    sitk.WriteImage(image, str(target), True)


def _painted(content: Content) -> Any:
    """One label from masks of single structures, which have one shape and do not overlap."""
    import SimpleITK as sitk

    first = itk_image(content.source)
    kind = np.uint8 if max(value for _, value in content.structures) < 255 else np.uint16
    whole = np.zeros(first.GetSize()[::-1], kind)
    for path, value in content.structures:
        mask = np.asarray(sitk.GetArrayFromImage(itk_image(path))) != 0
        if mask.shape != whole.shape:
            raise ImageError(path, f"has another shape than {content.source.name}", "Write all masks alike.")
        if (whole[mask] != 0).any():
            other = next(p.name for p, v in content.structures if v == whole[mask].max())
            reason = f"and {other} overlap in {int(np.count_nonzero(whole[mask]))} voxels"
            raise ImageError(path, reason, "A voxel has one label: decide which, or make regions of them.")
        whole[mask] = value
    painted = sitk.GetImageFromArray(whole)
    painted.CopyInformation(first)
    return painted


def _turned(image: Any, content: Content) -> Any:
    """An image stored as another one is: the same values at the same places, in another order."""
    import SimpleITK as sitk

    assert content.turned is not None  # whoever calls has looked
    wanted = grid_of(content.turned)
    turn = grid_of(replace(content, turned=None)).turn_onto(wanted)
    array = sitk.GetArrayFromImage(image)
    if turn is None or not turn.exact:
        raise ImageError(content.source, "is no longer stored as it was", "Import again.")
    flat = (1,) * (3 - array.ndim)
    turned = sitk.GetImageFromArray(turn.apply(array.reshape(*flat, *array.shape)).reshape(wanted.size[::-1]))
    turned.SetSpacing(wanted.spacing)
    turned.SetOrigin(wanted.origin)
    turned.SetDirection(wanted.direction)
    return turned


def resampled(image: Any, onto: Any) -> Any:
    """An image on the grid of another, linear, by their positions in the world; outside it its least value.

    Where the new grid is coarser, the image is smoothed first so that one of its voxels covers a new one:
    Gaussian point spread functions whose full width at half maximum is the voxel size, Cardoso et al.,
    "Scale factor point spread function matching", MICCAI 2015.
    """
    import SimpleITK as sitk

    image = sitk.Cast(image, sitk.sitkFloat32)
    fine, coarse = np.array(image.GetSpacing()), np.array(onto.GetSpacing())
    own = np.reshape(image.GetDirection(), (len(fine), -1))
    other = np.reshape(onto.GetDirection(), (len(coarse), -1))
    along = np.abs(own.T @ other) @ coarse
    variance = np.maximum(along**2 - fine**2, 0) / (8 * np.log(2))
    low = float(sitk.GetArrayViewFromImage(image).min())
    if variance.any():
        image = sitk.DiscreteGaussian(image, tuple(float(v) for v in variance))
    return sitk.Resample(image, onto, sitk.Transform(), sitk.sitkLinear, low, sitk.sitkFloat32)


def _recoded(array: Array, content: Content) -> Array:
    codes = dict(content.codes)
    values = np.rint(array).astype(np.int64)
    found = np.unique(values)
    if unknown := [int(value) for value in found if int(value) not in codes]:
        raise ImageError(content.source, f"holds the undeclared label values {unknown[:8]}", "Declare them.")
    new = np.array([codes[int(value)] for value in found])
    kind = np.uint8 if max(codes.values()) < 255 else np.uint16
    return new[np.searchsorted(found, values)].astype(kind)


def _label_of_picture(path: Path) -> Array:
    if ending_of(path) in _TIFF:
        array = tiff_array(path)
        return array.astype(np.uint8) if array.dtype == bool else array
    array, _ = numbers_in(path)
    if array.ndim == 3:
        if (array != array[..., :1]).any():
            raise ImageError(
                path, "is a label in several colours", "Write one number for each label, in grey."
            )
        array = array[..., 0]
    return array


def _write_picture(content: Content, target: Path) -> None:
    from PIL import Image

    if content.codes:
        array = _recoded(label_array(content), content)
    elif ending_of(content.source) in _TIFF:
        array = tiff_array(content.source)
        array = in_mode(array, content.mode, content.source) if content.mode else array
    else:
        with Image.open(content.source) as picture:
            _refuse_transparency(content, picture)
            array = np.asarray(picture.convert(content.mode) if content.mode else picture)
    if ending_of(target) in _TIFF:
        import tifffile

        tifffile.imwrite(target, array)
    else:
        Image.fromarray(array).save(target)


def _refuse_transparency(content: Content, picture: Any) -> None:
    if content.mode and "A" in picture.getbands() and picture.getchannel("A").getextrema() != (255, 255):
        raise ImageError(content.source, "is partly transparent", "Write it without an alpha channel.")
