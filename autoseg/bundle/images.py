"""Images and segmentations of a bundle's cases, with SimpleITK alone."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autoseg.data.formats import itk_image
from autoseg.data.image import Array, Image, ImageError, finite
from autoseg.data.readers import read_file, stack, write_segmentation
from autoseg.errors import DataError
from autoseg.system.files import atomic_path

# What SimpleITK's reader stands in for; of a plain NIfTI it gives the same array and spacing.
_STANDS_IN = {"NibabelIO": "SimpleITKIO"}
_NATURAL = "NaturalImage2DIO"


def find_cases(source: Path, file_ending: str, channels: int) -> dict[str, tuple[Path, ...]]:
    """The images of each case: of a folder those named ``CASE_0000.ending``, or a single file.

    Args:
        source: a folder or, for a model of one channel, a file.
        file_ending: ending of the images, with the dot.
        channels: files that a case has.

    Raises:
        DataError: if there is none, or a case lacks a channel.
    """
    pattern = re.compile(r"(.+?)_(\d{4})" + re.escape(file_ending))
    if source.is_file():
        match = pattern.fullmatch(source.name)
        name = match[1] if match else source.name.removesuffix(file_ending)
        if channels != 1 or not source.name.endswith(file_ending):
            raise DataError(
                f"{source} is one file; the model takes {channels} of a case, ending in {file_ending}. Give "
                f"a folder of images named CASE_0000{file_ending}."
            )
        return {name: (source,)}
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        if not path.name.startswith(".") and (match := pattern.fullmatch(path.name)):
            found.setdefault(match[1], {})[int(match[2])] = path
    if not found:
        raise DataError(
            f"{source} has no images named CASE_0000{file_ending}. Give the folder that holds them."
        )
    for name, files in found.items():
        # One file may hold several channels; which there are is seen when it is read.
        if sorted(files) not in ([0], list(range(channels))):
            raise DataError(
                f"The case {name} has the channels {sorted(files)}; the model takes {channels}, from 0 on. "
                f"Complete it, or take it out of {source}."
            )
    return {name: tuple(files[n] for n in sorted(files)) for name, files in found.items()}


def read_case(paths: Sequence[Path], reader: str) -> Image:
    """The channels of a case, float32, finite.

    Raises:
        DataError: if a file cannot be read, or the files lie on different grids.
    """
    read = [
        _natural(path) if reader == _NATURAL else read_file(path, _STANDS_IN.get(reader, reader))
        for path in paths
    ]
    return finite(stack(read, paths), paths)


def write_case(segmentation: Array, path: Path, image: Image, reader: str) -> None:
    """Write a segmentation (z, y, x) on the grid of its image, whole or not at all."""
    if reader != _NATURAL:
        write_segmentation(segmentation, path, image.properties, _STANDS_IN.get(reader, reader))
        return
    import SimpleITK as sitk

    with atomic_path(path) as temporary:
        sitk.WriteImage(sitk.GetImageFromArray(segmentation[0]), str(temporary))


def _natural(path: Path) -> Image:
    """A PNG, BMP or TIFF with the values that nnU-Net's reader gives."""
    import SimpleITK as sitk

    if not path.is_file():
        raise ImageError(path, "is not a file")
    try:
        array = sitk.GetArrayFromImage(itk_image(path))
    except RuntimeError as problem:
        raise ImageError(path, f"cannot be read ({str(problem).splitlines()[-1][-200:]})") from None
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        # nnU-Net's reader keeps 8 of 16 bits of a colour.
        array = (array >> 8 if array.dtype == np.uint16 else array).transpose(2, 0, 1)
    elif array.ndim == 2:
        array = (array > 0 if _is_one_bit(path) else array)[None]
    else:
        raise ImageError(path, f"has the shape {array.shape}", "Write a grey, an RGB or an RGBA image.")
    return Image(array[:, None], (999.0, 1.0, 1.0), {"spacing": (999, 1, 1)})


def _is_one_bit(path: Path) -> bool:
    """Whether a PNG has one bit a pixel, of which SimpleITK makes 0 and 255 and nnU-Net's reader 0 and 1."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack_from(">BB", head, 24) == (1, 0)
