"""Reading and writing images and segmentations of every supported file format.

Each reader gives the arrays, spacings and properties that the reader of the same name gives in nnU-Net
2.8, so that a plan, a preprocessed case and a prediction mean the same to both programs. What is refused
there with a bare error is refused here with the files and the numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.formats import (
    TIFF_ENDINGS,
    itk_header,
    read_itk,
    read_itk_reoriented,
    read_natural,
    read_nibabel,
    read_nibabel_reoriented,
    read_tiff,
    unreadable,
    write_itk,
    write_natural,
    write_nibabel,
    write_tiff,
)
from autoseg.data.image import Array, Image, ImageError, describe_grid, placed_differently, require_file
from autoseg.errors import DataError
from autoseg.system.guard import note

# Farther than this from a whole number a label's value is a fraction.
ALMOST_WHOLE = 1e-3

logger = logging.getLogger(__name__)

__all__ = [
    "READERS",
    "Image",
    "ImageError",
    "Reader",
    "describe_grid",
    "placed_differently",
    "read_file",
    "read_images",
    "read_segmentation",
    "reader_for",
    "stack",
    "write_segmentation",
]


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
        remedy = "Convert its colours to label values."
        if path.name.lower().endswith((*_ITK, *_NIFTI)):
            remedy = "Unite its volumes, one of each label, into one that holds the label of each voxel."
        raise ImageError(path, reason, remedy)
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
    require_file(path)
    chosen = _reader(reader)
    note(path)
    try:
        image = chosen.read(path, segmentation)
        return _whole_numbers(image) if segmentation and image.array.dtype.kind == "f" else image
    except DataError:
        raise
    except MemoryError as problem:
        remedy = "Use fewer workers, or a machine with more memory."
        raise ImageError(path, "is too large for the memory", remedy) from problem
    except Exception as problem:
        raise unreadable(path, problem) from problem


def _whole_numbers(image: Image) -> Image:
    """A label whose values are whole but for rounding, in whole numbers; any other one as it is.

    A label in floating point that was saved with an integer header is stored as multiples of a slope, and
    comes back as 1.0000153.
    """
    whole = np.rint(image.array)
    with np.errstate(invalid="ignore"):
        worst = float(np.abs(image.array - whole).max(initial=0))
    return replace(image, array=whole, rounded=worst) if 0 < worst <= ALMOST_WHOLE else image


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
    return Image(
        array,
        first.spacing,
        first.properties,
        first.world,
        sum(i.replaced for i in images),
        unit_mm=first.unit_mm,
    )


def reader_for(file_ending: str, override: str | None = None, example: Path | None = None) -> Reader:
    """Choose the reader as nnU-Net does.

    Args:
        file_ending: the ending of the data set's files, with the dot.
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


_ITK = (".nii.gz", ".nrrd", ".mha", ".gipl")
_NIFTI = (".nii", ".nii.gz")


def _whole(read: Callable[[Path, bool], Image]) -> Callable[[Path], object]:
    return lambda path: read(path, False)


# In the order in which nnU-Net tries them. The last one is never chosen, only requested by name.
_LIST = (
    Reader("NaturalImage2DIO", (".png", ".bmp", ".tif"), read_natural, write_natural, _whole(read_natural)),
    Reader("SimpleITKIO", _ITK, read_itk, write_itk, itk_header),
    Reader("Tiff3DIO", TIFF_ENDINGS, read_tiff, write_tiff, _whole(read_tiff)),
    Reader("NibabelIO", _NIFTI, read_nibabel, write_nibabel, _whole(read_nibabel)),
    Reader("NibabelIOWithReorient", _NIFTI, read_nibabel_reoriented, write_nibabel, _whole(read_nibabel)),
    Reader("SimpleITKIOWithReorient", _ITK, read_itk_reoriented, write_itk, itk_header),
)
READERS = {reader.name: reader for reader in _LIST}
_CHOICE = _LIST[:-1]
