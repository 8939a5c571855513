"""The file formats: NIfTI, MetaImage, NRRD and GIPL, PNG, BMP and TIFF, each read as nnU-Net 2.8 reads it."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.bounds import PACKED, beginning, check_announced, unpacked
from autoseg.data.detached import check_detached, check_numbers
from autoseg.data.image import Array, Image, ImageError, require_file
from autoseg.data.itk_headers import nifti_header
from autoseg.data.length_units import mm_of, stated_unit, write_unit
from autoseg.data.tiff_pages import open_tiff
from autoseg.data.tiff_spacing import stated_spacing
from autoseg.system.files import atomic_path, read_json, write_json
from autoseg.system.guard import note

logger = logging.getLogger(__name__)

TIFF_ENDINGS = (".tif", ".tiff")


# NIfTI, MetaImage, NRRD and GIPL with SimpleITK.


def read_itk(path: Path, segmentation: bool) -> Image:
    header = itk_header(path)
    array, replaced = _itk_voxels(path, header)
    image = _itk_image(path, array, header, replaced)
    unit = stated_unit(path)
    if unit != "mm":
        image.properties["sitk_stuff"]["unit"] = unit
        image = replace(image, unit_mm=mm_of(unit))
    return image


def read_itk_reoriented(path: Path, segmentation: bool) -> Image:
    import SimpleITK as sitk

    header = itk_header(path)
    _, replaced = _itk_voxels(path, header)
    code = sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(header.GetDirection())
    turned = sitk.DICOMOrient(header.Execute(), "RAS")
    image = _itk_image(path, sitk.GetArrayFromImage(turned), turned, replaced)
    image.properties["sitk_stuff"]["original_orientation"] = code
    return image


def itk_header(path: Path) -> Any:
    """A reader of ITK that has read the header of a file, or what answers the same questions.

    Raises:
        ImageError: for a header that names other files, or holds no numbers.
        RuntimeError: if ITK cannot read it.
    """
    import SimpleITK as sitk

    note(path)
    require_file(path)
    check_detached(path)
    check_numbers(path)
    if _is_nifti(path):
        return nifti_header(path)
    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    header.ReadImageInformation()
    return header


def check_itk(path: Path, header: Any) -> None:
    """Refuse an image that its file or the memory cannot hold, before ITK takes memory for it.

    Raises:
        ImageError: with what the header announces.
    """
    size = (*header.GetSize(), header.GetNumberOfComponents())
    check_announced(path, size, _bytes_of(header.GetPixelID()))


@cache
def _bytes_of(pixel: int) -> float:
    """Size of a voxel of one of ITK's types; 1 for one that it does not know."""
    import SimpleITK as sitk

    bits = re.search(r"(\d+)-bit", sitk.GetPixelIDValueAsString(pixel))
    return int(bits[1]) / 8 if bits else 1.0


def itk_image(path: Path) -> Any:
    """A SimpleITK image, once its header is found sound.

    Raises:
        ImageError: if the file cannot hold what its header announces.
        RuntimeError: if ITK cannot read it.
    """
    header = itk_header(path)
    check_itk(path, header)
    return header.Execute()


def itk_geometry(header: Any) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Spacing, origin and direction of an ITK reader or image, the spacing positive.

    A reader gives MetaImage's negative spacings as they stand; an image, as nnU-Net has it, turns the axis.
    """
    spacing = tuple(float(s) for s in header.GetSpacing())
    direction = tuple(float(d) for d in header.GetDirection())
    if min(spacing) < 0:
        signs = np.where(np.array(spacing) < 0, -1.0, 1.0)
        direction = tuple((np.reshape(direction, (len(spacing), -1)) * signs).ravel().tolist())
    return tuple(map(abs, spacing)), tuple(header.GetOrigin()), direction


def unreadable(path: Path, problem: Exception) -> ImageError:
    """What a library says that cannot read a file, for a reader who does not know the library."""
    if path.is_file() and path.stat().st_size == 0:
        return ImageError(path, "is empty: it has 0 bytes")
    said = " ".join(str(problem).split()).rstrip(".") or type(problem).__name__
    if "orthonormal" in said:
        reason = "has axes that are not at right angles: its sform is sheared, and it has no sound qform"
        remedy = (
            "Write a right sform (rounded rotations do this), set sform_code to 0 if the qform is sound, or "
            'let nibabel read the data set: "overwrite_image_reader_writer": "NibabelIO" in dataset.json.'
        )
        return ImageError(path, reason, remedy)
    if _is_nifti(path) and _is_second_version(path):
        reason = "is NIfTI-2, which SimpleITK does not read"
        remedy = (
            "Write it as NIfTI-1 (nibabel: Nifti1Image.from_image), or let nibabel read the data set in "
            'place: "overwrite_image_reader_writer": "NibabelIO" in dataset.json.'
        )
        return ImageError(path, reason, remedy)
    return ImageError(path, f"is damaged, or of another format than its name says ({said[-300:]})")


def _is_second_version(path: Path) -> bool:
    """Whether a NIfTI header has the size of version 2, in either byte order."""
    try:
        with path.open("rb") as file:
            size = beginning(path, file.read(1024), 4)
    except (OSError, ImageError):  # the reader's own message says what is wrong
        return False
    return 540 in (int.from_bytes(size, "little"), int.from_bytes(size, "big"))


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _itk_voxels(path: Path, header: Any) -> tuple[Array, int]:
    """The voxels of a file, and how many of them ITK replaces by 0 for not being finite."""
    import SimpleITK as sitk

    check_itk(path, header)
    if header.GetNumberOfComponents() > 1:
        reason = f"has {header.GetNumberOfComponents()} values per voxel"
        raise ImageError(path, reason, "Write one file per channel.")
    stored = _nifti_voxels(path, header.GetSize()) if _is_nifti(path) else None
    if stored is None:
        return sitk.GetArrayFromImage(header.Execute()), 0
    array, scaled = stored
    replaced = 0
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
        replaced = int(np.count_nonzero(bad))
        array = np.where(bad, array.dtype.type(0), array) if replaced else array
    return (sitk.GetArrayFromImage(header.Execute()) if scaled else array), replaced


# Codes of the NIfTI-1 header, https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
_NIFTI_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}


def _nifti_voxels(path: Path, size: Sequence[int]) -> tuple[Array, bool] | None:
    """The voxels of a NIfTI-1 file as stored, and whether the header scales them; None for other kinds.

    ITK fills what is missing of a truncated or damaged file with zeros, and makes zeros of NaN, without a
    word. Unpacking the file here finds both, at less than the time of ITK's own reading.

    Raises:
        ImageError: if the file is shorter than its header says.
    """
    content = path.read_bytes()
    head = beginning(path, content, 352)
    if len(head) < 352 or head[344:347] != b"n+1":
        if len(head) < 352 or (head[344:347] != b"ni1" and head[4:8] not in (b"n+2\0", b"ni2\0")):
            reason = "is no NIfTI file: it lacks the mark n+1 (damaged, or Analyze without orientation)"
            raise ImageError(path, reason, "Restore it, or convert it to NIfTI with its orientation.")
        return None
    order = "<" if head[:4] == struct.pack("<i", 348) else ">"
    code = struct.unpack_from(order + "h", head, 70)[0]
    offset, slope, intercept = struct.unpack_from(order + "3f", head, 108)
    if not offset < 2**31:
        raise ImageError(path, f"is damaged: its voxels would begin at the byte {offset:g}")
    if code not in _NIFTI_TYPES or offset < 352:
        return None
    kind = np.dtype(order + _NIFTI_TYPES[code])
    count = int(np.prod(size, dtype=np.int64))
    expected = int(offset) + count * kind.itemsize
    content = unpacked(path, content, expected)
    if len(content) < expected:
        reason = f"is truncated: its header announces {expected} bytes, it holds {len(content)}"
        raise ImageError(path, reason)
    array = np.frombuffer(content, kind, count, int(offset)).reshape(size[::-1])
    return array.astype(kind.newbyteorder("="), copy=False), (slope not in (0, 1) or intercept != 0)


def _itk_image(path: Path, array: Array, geometry: Any, replaced: int) -> Image:
    stuff = dict(zip(("spacing", "origin", "direction"), itk_geometry(geometry), strict=True))
    spacing = [abs(s) for s in stuff["spacing"][::-1]]
    if array.ndim == 2:
        # nnU-Net's mark of a 2D image: a first axis far coarser than the others.
        array, spacing = array[None], [max(spacing) * 999, *spacing]
    elif array.ndim == 4:
        spacing = spacing[1:]
    elif array.ndim != 3:
        raise ImageError(path, f"has {array.ndim} dimensions", "Write 2 or 3, or 4 with the channels.")
    world = {"origin": np.array(stuff["origin"]), "direction": np.array(stuff["direction"])}
    properties = {"sitk_stuff": stuff, "spacing": spacing}
    return Image(array if array.ndim == 4 else array[None], _three(spacing), properties, world, replaced)


def write_itk(segmentation: Array, path: Path, properties: Mapping[str, Any]) -> None:
    import SimpleITK as sitk

    stuff = properties["sitk_stuff"]
    image = sitk.GetImageFromArray(segmentation[0] if len(stuff["spacing"]) == 2 else segmentation)
    image.SetSpacing(stuff["spacing"])
    image.SetOrigin(stuff["origin"])
    image.SetDirection(stuff["direction"])
    if "original_orientation" in stuff:
        image = sitk.DICOMOrient(image, stuff["original_orientation"])
    with atomic_path(path) as temporary:
        sitk.WriteImage(image, str(temporary), True)
        if "unit" in stuff:
            write_unit(temporary, stuff["unit"])


# NIfTI with nibabel.


def read_nibabel(path: Path, segmentation: bool, reorient: bool = False) -> Image:
    import nibabel
    from nibabel.orientations import io_orientation

    nifti: Any = nibabel.load(path)
    check_announced(path, nifti.shape, nifti.get_data_dtype().itemsize)
    if nifti.ndim != 3:
        raise ImageError(path, f"has {nifti.ndim} dimensions", "nibabel's readers take 3D images only.")
    stuff = {"original_affine": nifti.affine}
    unit = nifti.header.get_xyzt_units()[0]
    if reorient:
        nifti = nifti.as_reoriented(io_orientation(nifti.affine))
        stuff["reoriented_affine"] = nifti.affine
    spacing = [float(zoom) for zoom in nifti.header.get_zooms()[::-1]]
    # float64 is what nnU-Net scales in; a segmentation keeps the type of the file.
    array = np.array(nifti.dataobj) if segmentation else np.asarray(nifti.dataobj, dtype=np.float64)
    if mm_of(unit) != 1:
        stuff["unit"] = unit
    properties = {"nibabel_stuff": stuff, "spacing": spacing}
    world = {"affine": stuff["original_affine"]}
    return Image(array.transpose(2, 1, 0)[None], _three(spacing), properties, world, unit_mm=mm_of(unit))


def read_nibabel_reoriented(path: Path, segmentation: bool) -> Image:
    return read_nibabel(path, segmentation, reorient=True)


def write_nibabel(segmentation: Array, path: Path, properties: Mapping[str, Any]) -> None:
    import nibabel
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    stuff = properties["nibabel_stuff"]
    affine = stuff.get("reoriented_affine", stuff["original_affine"])
    nifti: Any = nibabel.Nifti1Image(segmentation.transpose(2, 1, 0), affine=affine)
    if "reoriented_affine" in stuff:
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(stuff["original_affine"]))
        nifti = nifti.as_reoriented(back)
    if "unit" in stuff:
        nifti.header.set_xyzt_units(stuff["unit"])
    with atomic_path(path) as temporary:
        nibabel.save(nifti, temporary)


# PNG, BMP and 2D TIFF.


def read_natural(path: Path, segmentation: bool) -> Image:
    array = _natural_array(path)
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        array = array.transpose(2, 0, 1)
    elif array.ndim == 2:
        array = array[None]
    else:
        raise ImageError(path, f"has the shape {array.shape}", "Write a grey, an RGB or an RGBA image.")
    return Image(array[:, None], (999.0, 1.0, 1.0), {"spacing": (999, 1, 1)})


def _natural_array(path: Path) -> Array:
    """What skimage.io.imread gives, without importing scikit-image."""
    array: Array
    if path.suffix.lower() in TIFF_ENDINGS:
        array = tiff_array(path)
    else:
        import imageio.v3

        array = np.asarray(imageio.v3.imread(path))
    if array.ndim > 2 and array.shape[-1] not in (3, 4) and array.shape[-3] in (3, 4):
        array = np.moveaxis(array, -3, -1)
    return array


def tiff_array(path: Path) -> Array:
    """What tifffile.imread gives, once the file is found large enough for it."""
    with open_tiff(path) as file:
        packed = any(page.compression != 1 for page in file.series[0].pages if page is not None)
        check_announced(path, file.series[0].shape, file.series[0].dtype.itemsize, PACKED if packed else 1)
        array: Array = file.asarray()
    return array


def deep_colours(path: Path) -> str:
    """What a PNG holds in 16 bits that readers of pictures give in 8, in words; empty for any other file."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[24] != 16:
        return ""
    return {2: "a picture in colours", 4: "grey with transparency", 6: "in colours with transparency"}.get(
        head[25], ""
    )


def write_natural(segmentation: Array, path: Path, properties: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        if path.suffix.lower() in TIFF_ENDINGS:
            import tifffile

            tifffile.imwrite(temporary, segmentation[0])
        else:
            import imageio.v3

            imageio.v3.imwrite(temporary, segmentation[0])


# 3D TIFF, with the spacing in a JSON file beside it, or else as ImageJ or OME writes it into the file, which
# nnU-Net does not read: it takes 1 x 1 x 1 then.


def read_tiff(path: Path, segmentation: bool) -> Image:
    array = tiff_array(path)
    if array.ndim != 3:
        raise ImageError(path, f"has {array.ndim} dimensions", "Write a TIFF with the axes (z, y, x).")
    # CASE_0000.tif and CASE_0001.tif share CASE.json; a segmentation CASE.tif has CASE.json, and so has an
    # image that is predicted by itself.
    beside = path.with_name((path.stem if segmentation else re.sub(r"_\d{4}$", "", path.stem)) + ".json")
    spacing: Sequence[float] = (1, 1, 1)
    if beside.is_file():
        spacing = read_json(beside).get("spacing", ())
        if len(spacing) != 3 or not all(s > 0 for s in spacing):
            raise ImageError(beside, f"has the spacing {spacing}", "Give three positive numbers (z, y, x).")
    elif (stated := stated_spacing(path)) is not None:
        logger.info("%s: its own spacing counts, %s; there is no %s", path, stated, beside.name)
        spacing = stated.spacing
    return Image(array[None], _three(spacing), {"spacing": spacing})


def write_tiff(segmentation: Array, path: Path, properties: Mapping[str, Any]) -> None:
    import tifffile

    with atomic_path(path) as temporary:
        tifffile.imwrite(temporary, data=segmentation, compression="zlib")
    write_json(path.with_suffix(".json"), {"spacing": [float(s) for s in properties["spacing"]]})


def _three(spacing: Sequence[float]) -> tuple[float, float, float]:
    z, y, x = (float(s) for s in spacing)
    return (z, y, x)


# Its images have pixels, no millimetres.
WITHOUT_SPACING = "NaturalImage2DIO"
