"""Reading and writing images and segmentations of every supported file format.

Each reader gives the arrays, spacings and properties that the reader of the same name gives in nnU-Net
2.8, so that a plan, a preprocessed case and a prediction mean the same to both programs. What is refused
there with a bare error is refused here with the files and the numbers.
"""

from __future__ import annotations

import gzip
import logging
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.errors import DataError
from autoseg.files import atomic_path, read_json, write_json

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Image:
    """An image or a segmentation with its geometry.

    Attributes:
        array: (channels, z, y, x). Stacked channels are float32; one file alone keeps its data type.
        spacing: in mm, in the order (z, y, x). A 2D image has one slice and a first entry that is larger
            than the others.
        properties: what nnU-Net's reader of the format gives; needed to write on the same geometry.
        world: what places the grid in the world beside its spacing, by name (origin and direction, or
            affine). Empty for formats without it.
        replaced: how many voxels of the file were NaN or infinite and have been read as 0.
    """

    array: Array
    spacing: tuple[float, float, float]
    properties: dict[str, Any]
    world: Mapping[str, Array] = field(default_factory=dict)
    replaced: int = 0


class ImageError(DataError):
    """One file cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it, as the rest of a sentence that begins with the file.
        remedy: what to do.
    """

    def __init__(self, path: Path, reason: str, remedy: str = "Restore it from its source.") -> None:
        super().__init__(path, reason, remedy)
        self.path, self.reason, self.remedy = path, reason, remedy

    def __str__(self) -> str:
        return f"{self.path} {self.reason}. {self.remedy}"


@dataclass(frozen=True)
class Reader:
    """How the files of one family of formats are read and written.

    Attributes:
        name: nnU-Net's name of the reader.
        file_endings: what it is chosen for, lower case.
        read: one file in its own data type; True says that it is a segmentation, whose name carries no
            channel number.
        write: a segmentation (z, y, x) of an unsigned type, to a path, with the properties.
        probe: raises if the file cannot be read; as cheap as the format allows.
    """

    name: str
    file_endings: tuple[str, ...]
    read: Callable[[Path, bool], Image]
    write: Callable[[Array, Path, Mapping[str, Any]], None]
    probe: Callable[[Path], object]

    def read_images(self, paths: Sequence[Path]) -> Image:
        """The module's `read_images` with this reader."""
        return read_images(paths, self.name)

    def read_segmentation(self, path: Path) -> Image:
        """The module's `read_segmentation` with this reader."""
        return read_segmentation(path, self.name)

    def write_segmentation(self, segmentation: Array, path: Path, properties: Mapping[str, Any]) -> None:
        """The module's `write_segmentation` with this reader."""
        write_segmentation(segmentation, path, properties, self.name)


def read_images(paths: Sequence[Path], reader: str) -> Image:
    """Read the channels of one case.

    Args:
        paths: one file per channel, in order, or files that hold several channels.
        reader: nnU-Net's name of the reader.

    Returns:
        The channels stacked, float32, with the first file's properties.

    Raises:
        DataError: if a file cannot be read, or the files lie on grids of different shape or spacing.
    """
    return stack([read_file(path, reader) for path in paths], paths)


def read_segmentation(path: Path, reader: str) -> Image:
    """Read a segmentation, (1, z, y, x), in the data type of the file.

    Raises:
        ImageError: if the file cannot be read, or has several channels.
    """
    image = read_file(path, reader, segmentation=True)
    if len(image.array) != 1:
        reason = f"has {len(image.array)} channels, but a segmentation has one, which holds the labels"
        raise ImageError(path, reason, "Convert its colours to label values.")
    # What was unpacked in place belongs to the unpacked bytes and cannot be written to.
    return image if image.array.flags.writeable else replace(image, array=image.array.copy())


def write_segmentation(segmentation: Array, path: Path, properties: Mapping[str, Any], reader: str) -> None:
    """Write a segmentation (z, y, x) on the geometry of the image that `properties` came with.

    The file appears whole or not at all. Its type is uint8, or uint16 where a label is 255 or more, as in
    nnU-Net.

    Raises:
        DataError: if the segmentation has other than three axes.
    """
    if segmentation.ndim != 3:
        raise DataError(
            f"A segmentation has the axes (z, y, x) to be written; this one has {segmentation.shape}."
        )
    kind = np.uint8 if segmentation.max(initial=0) < 255 else np.uint16
    _reader(reader).write(segmentation.astype(kind, copy=False), path, properties)


def read_file(path: Path, reader: str, segmentation: bool = False) -> Image:
    """Read one file in its own data type.

    Raises:
        ImageError: if there is no such file or it cannot be read, whatever the library underneath says.
    """
    if not path.is_file():
        raise ImageError(path, "is no file", "Restore it, or take its case out of the data set.")
    chosen = _reader(reader)
    try:
        return chosen.read(path, segmentation)
    except DataError:
        raise
    except MemoryError as problem:
        remedy = "Use fewer workers, or a machine with more memory."
        raise ImageError(path, "is too large for the memory", remedy) from problem
    except Exception as problem:
        said = " ".join(str(problem).split()).rstrip(".") or type(problem).__name__
        reason = f"is damaged, or of another format than its name says ({reader}: {said[-300:]})"
        raise ImageError(path, reason) from problem


def stack(images: Sequence[Image], paths: Sequence[Path]) -> Image:
    """Stack the files of one case along the channels, as float32.

    Raises:
        DataError: if shape or spacing differ. A different origin or direction is logged only, as nnU-Net
            does: it lays the voxels over each other whatever the world coordinates say.
    """
    if not images:
        raise DataError("A case without any image cannot be read. Give at least one file.")
    first = images[0]
    for image, path in zip(images[1:], paths[1:], strict=True):
        if image.array.shape != first.array.shape or not np.allclose(first.spacing, image.spacing):
            raise DataError(
                f"The channels of one case lie on different grids: {paths[0]} has {describe_grid(first)}, "
                f"{path} has {describe_grid(image)}. Resample them onto one grid."
            )
        for name, values in placed_differently(first, image).items():
            logger.warning("%s and %s differ in their %s: %s", paths[0], path, name, values)
    # A float64 beyond float32 becomes infinite, here as in nnU-Net; verify reports it.
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.concatenate([image.array for image in images], dtype=np.float32, casting="unsafe")
    return Image(array, first.spacing, first.properties, first.world, sum(i.replaced for i in images))


def placed_differently(first: Image, second: Image) -> dict[str, str]:
    """What of origin and direction differs between two grids, in words.

    The tolerance of each number is nnU-Net's (numpy's allclose). A difference that moves no voxel by more
    than a hundredth of its size, as rounding in a header does, counts as none.
    """
    found = {}
    for name in sorted(first.world.keys() & second.world.keys()):
        one, other = first.world[name], second.world[name]
        if one.shape != other.shape or not np.allclose(one, other):
            found[name] = f"{np.round(one, 4).tolist()} and {np.round(other, 4).tolist()}"
    return found if found and _shift_in_voxels(first, second) > 0.01 else {}


def _shift_in_voxels(first: Image, second: Image) -> float:
    """How far apart two grids place the same voxel at most, in sizes of a voxel; an upper bound."""
    one, other = _voxel_to_world(first), _voxel_to_world(second)
    if one.shape != other.shape:
        return float("inf")
    corners = max(first.array.shape[1:]) * np.indices((2,) * len(one)).reshape(len(one), -1)
    apart = (one - other) @ np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(apart, axis=0).max() / np.linalg.norm(one[:, :-1], axis=0).min())


def _voxel_to_world(image: Image) -> Array:
    if "affine" in image.world:
        return image.world["affine"][:3]
    origin = image.world["origin"]
    axes = image.world["direction"].reshape(len(origin), -1) * image.properties["sitk_stuff"]["spacing"]
    return np.column_stack([axes, origin])


def describe_grid(image: Image) -> str:
    """Shape and spacing in words."""
    shape = " x ".join(str(n) for n in image.array.shape[1:])
    spacing = " x ".join(f"{s:.6g}" for s in image.spacing)
    return f"{shape} voxels of {spacing} mm (z, y, x)"


def reader_for(file_ending: str, override: str | None = None, example: Path | None = None) -> Reader:
    """Choose the reader as nnU-Net does.

    Args:
        file_ending: of the data set, with the dot.
        override: ``overwrite_image_reader_writer`` of dataset.json; an unknown name is passed over.
        example: an image of the data set. Where several readers know the ending, the first one that can
            read the example is taken (2D or 3D TIFF); one that none can read settles nothing.

    Raises:
        DataError: if no reader knows the ending.
    """
    if override and override != "None":
        if override in READERS:
            return READERS[override]
        logger.warning("There is no reader %r; choosing one by the file ending %s", override, file_ending)
    candidates = [reader for reader in _CHOICE if file_ending.lower() in reader.file_endings]
    if not candidates:
        known = sorted({ending for reader in _CHOICE for ending in reader.file_endings})
        raise DataError(
            f"No reader for files ending in {file_ending!r}; known are {', '.join(known)}. Convert the "
            f"images and set file_ending in dataset.json."
        )
    if len(candidates) == 1 or example is None:
        return candidates[0]
    return next((candidate for candidate in candidates if _can_read(candidate, example)), candidates[0])


def _can_read(reader: Reader, path: Path) -> bool:
    try:
        reader.probe(path)
    except Exception as problem:
        logger.debug("%s cannot read %s: %s", reader.name, path, problem)
        return False
    return True


def _reader(name: str) -> Reader:
    try:
        return READERS[name]
    except KeyError:
        raise DataError(f"There is no reader {name!r}. Choose one of {', '.join(READERS)}.") from None


# NIfTI, MetaImage, NRRD and GIPL with SimpleITK.


def _read_itk(path: Path, segmentation: bool) -> Image:
    header = _itk_header(path)
    array, replaced = _itk_voxels(path, header)
    return _itk_image(path, array, header, replaced)


def _read_itk_reoriented(path: Path, segmentation: bool) -> Image:
    import SimpleITK as sitk

    header = _itk_header(path)
    _, replaced = _itk_voxels(path, header)
    code = sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(header.GetDirection())
    turned = sitk.DICOMOrient(header.Execute(), "RAS")
    image = _itk_image(path, sitk.GetArrayFromImage(turned), turned, replaced)
    image.properties["sitk_stuff"]["original_orientation"] = code
    return image


def _itk_header(path: Path) -> Any:
    import SimpleITK as sitk

    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    # Naming the format saves asking every other one; a file that belies its name is found either way.
    if _is_nifti(path):
        header.SetImageIO("NiftiImageIO")
    header.ReadImageInformation()
    return header


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _itk_voxels(path: Path, header: Any) -> tuple[Array, int]:
    """The voxels of a file, and how many of them ITK replaces by 0 for not being finite."""
    import SimpleITK as sitk

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
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error) as problem:
            raise ImageError(path, f"is truncated or damaged ({problem})") from problem
    if len(content) < 352 or content[344:347] != b"n+1":
        return None
    order = "<" if content[:4] == struct.pack("<i", 348) else ">"
    code = struct.unpack_from(order + "h", content, 70)[0]
    offset, slope, intercept = struct.unpack_from(order + "3f", content, 108)
    if code not in _NIFTI_TYPES or offset < 352:
        return None
    kind = np.dtype(order + _NIFTI_TYPES[code])
    expected = int(offset) + int(np.prod(size, dtype=np.int64)) * kind.itemsize
    if len(content) < expected:
        reason = f"is truncated: its header announces {expected} bytes, it holds {len(content)}"
        raise ImageError(path, reason)
    array = np.frombuffer(content, kind, int(np.prod(size, dtype=np.int64)), int(offset)).reshape(size[::-1])
    return array.astype(kind.newbyteorder("="), copy=False), (slope not in (0, 1) or intercept != 0)


def _itk_image(path: Path, array: Array, geometry: Any, replaced: int) -> Image:
    stuff = {
        "spacing": geometry.GetSpacing(),
        "origin": geometry.GetOrigin(),
        "direction": geometry.GetDirection(),
    }
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


def _write_itk(segmentation: Array, path: Path, properties: Mapping[str, Any]) -> None:
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


# NIfTI with nibabel.


def _read_nibabel(path: Path, segmentation: bool, reorient: bool = False) -> Image:
    import nibabel
    from nibabel.orientations import io_orientation

    nifti: Any = nibabel.load(path)
    if nifti.ndim != 3:
        raise ImageError(path, f"has {nifti.ndim} dimensions", "nibabel's readers take 3D images only.")
    stuff = {"original_affine": nifti.affine}
    if reorient:
        nifti = nifti.as_reoriented(io_orientation(nifti.affine))
        stuff["reoriented_affine"] = nifti.affine
    spacing = [float(zoom) for zoom in nifti.header.get_zooms()[::-1]]
    # float64 is what nnU-Net scales in; a segmentation keeps the type of the file.
    array = np.array(nifti.dataobj) if segmentation else np.asarray(nifti.dataobj, dtype=np.float64)
    properties = {"nibabel_stuff": stuff, "spacing": spacing}
    return Image(
        array.transpose(2, 1, 0)[None], _three(spacing), properties, {"affine": stuff["original_affine"]}
    )


def _read_nibabel_reoriented(path: Path, segmentation: bool) -> Image:
    return _read_nibabel(path, segmentation, reorient=True)


def _write_nibabel(segmentation: Array, path: Path, properties: Mapping[str, Any]) -> None:
    import nibabel
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    stuff = properties["nibabel_stuff"]
    affine = stuff.get("reoriented_affine", stuff["original_affine"])
    nifti: Any = nibabel.Nifti1Image(segmentation.transpose(2, 1, 0), affine=affine)
    if "reoriented_affine" in stuff:
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(stuff["original_affine"]))
        nifti = nifti.as_reoriented(back)
    with atomic_path(path) as temporary:
        nibabel.save(nifti, temporary)


# PNG, BMP and 2D TIFF.


def _read_natural(path: Path, segmentation: bool) -> Image:
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
    if path.suffix.lower() in _TIFF:
        import tifffile

        array = tifffile.imread(path)
    else:
        import imageio.v3

        array = np.asarray(imageio.v3.imread(path))
    if array.ndim > 2 and array.shape[-1] not in (3, 4) and array.shape[-3] in (3, 4):
        array = np.moveaxis(array, -3, -1)
    return array


def _write_natural(segmentation: Array, path: Path, properties: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        if path.suffix.lower() in _TIFF:
            import tifffile

            tifffile.imwrite(temporary, segmentation[0])
        else:
            import imageio.v3

            imageio.v3.imwrite(temporary, segmentation[0])


# 3D TIFF, with the spacing in a JSON file beside it.


def _read_tiff(path: Path, segmentation: bool) -> Image:
    import tifffile

    array = tifffile.imread(path)
    if array.ndim != 3:
        raise ImageError(path, f"has {array.ndim} dimensions", "Write a TIFF with the axes (z, y, x).")
    # CASE_0000.tif and CASE_0001.tif share CASE.json; a segmentation CASE.tif has CASE.json.
    beside = path.with_name((path.stem if segmentation else path.stem[:-5]) + ".json")
    spacing: Sequence[float] = (1, 1, 1)
    if beside.is_file():
        spacing = read_json(beside).get("spacing", ())
        if len(spacing) != 3 or not all(s > 0 for s in spacing):
            raise ImageError(beside, f"has the spacing {spacing}", "Give three positive numbers (z, y, x).")
    return Image(array[None], _three(spacing), {"spacing": spacing})


def _write_tiff(segmentation: Array, path: Path, properties: Mapping[str, Any]) -> None:
    import tifffile

    with atomic_path(path) as temporary:
        tifffile.imwrite(temporary, data=segmentation, compression="zlib")
    write_json(path.with_suffix(".json"), {"spacing": [float(s) for s in properties["spacing"]]})


def _three(spacing: Sequence[float]) -> tuple[float, float, float]:
    z, y, x = (float(s) for s in spacing)
    return (z, y, x)


_ITK = (".nii.gz", ".nrrd", ".mha", ".gipl")
_NIFTI = (".nii", ".nii.gz")
_TIFF = (".tif", ".tiff")


def _whole(read: Callable[[Path, bool], Image]) -> Callable[[Path], object]:
    return lambda path: read(path, False)


# In the order in which nnU-Net tries them. The last one is never chosen, only asked for by name.
_LIST = (
    Reader(
        "NaturalImage2DIO", (".png", ".bmp", ".tif"), _read_natural, _write_natural, _whole(_read_natural)
    ),
    Reader("SimpleITKIO", _ITK, _read_itk, _write_itk, _itk_header),
    Reader("Tiff3DIO", _TIFF, _read_tiff, _write_tiff, _whole(_read_tiff)),
    Reader("NibabelIO", _NIFTI, _read_nibabel, _write_nibabel, _whole(_read_nibabel)),
    Reader("NibabelIOWithReorient", _NIFTI, _read_nibabel_reoriented, _write_nibabel, _whole(_read_nibabel)),
    Reader("SimpleITKIOWithReorient", _ITK, _read_itk_reoriented, _write_itk, _itk_header),
)
READERS = {reader.name: reader for reader in _LIST}
_CHOICE = _LIST[:-1]
