"""What pictures hold: grey or colours, 8 bits or more, one picture or a volume; and how all become alike.

Modes are named as Pillow names them: ``L`` grey, ``1`` black and white, ``RGB``, ``RGBA``, ``I;16``, ``F``;
and ``RGB;16`` for colours of more than 8 bits, which Pillow has no name for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autoseg.data.formats import TIFF_ENDINGS
from autoseg.data.image import Array, ImageError
from autoseg.data.tiff_pages import open_tiff
from autoseg.data.tiff_spacing import is_volume
from autoseg.errors import DataError
from autoseg.intake.incoming import ending_of
from autoseg.system.guard import note

_GREY = ("L", "1", "LA")


def mode_of(path: Path) -> str:
    """The mode of one picture.

    Raises:
        ImageError: for a TIFF that holds neither a grey picture nor one in colours, or colours for print.
    """
    note(path)
    if ending_of(path) in TIFF_ENDINGS:
        return _mode_of_tiff(path)
    from PIL import Image

    with Image.open(path) as picture:
        if picture.mode == "CMYK":
            raise _for_print(path)
        return picture.mode


def _mode_of_tiff(path: Path) -> str:
    import tifffile

    with open_tiff(path) as file:
        shape, kind = file.series[0].shape, file.series[0].dtype
        if len(shape) == 3 and file.pages.first.photometric == tifffile.PHOTOMETRIC.SEPARATED:
            raise _for_print(path)
    if len(shape) == 2:
        small = {"b": "1", "u": "L"}.get(kind.kind) if kind.itemsize == 1 else ""
        return small or {"f": "F"}.get(kind.kind) or ("I;16" if kind == np.uint16 else "I")
    colours = {shape[-1], shape[0]} & {3, 4} if len(shape) == 3 else set()
    if not colours:
        said = " x ".join(map(str, shape))
        raise ImageError(path, f"has the shape {said}", "Write a grey picture, or one in RGB.")
    mode = "RGBA" if shape[-1] == 4 or (shape[-1] != 3 and shape[0] == 4) else "RGB"
    return mode if kind.itemsize == 1 else f"{mode};16"


def _for_print(path: Path) -> ImageError:
    remedy = "Write it in RGB, mask and images alike: magick mogrify -colorspace sRGB FILE."
    return ImageError(path, "is in CMYK, the colours of print", remedy)


def are_volumes(paths: Sequence[Path]) -> bool:
    """Whether all files are TIFF volumes.

    Raises:
        DataError: if some are and some are not.
    """
    kinds = {}
    for path in paths:
        note(path)
        kinds[ending_of(path) in TIFF_ENDINGS and is_volume(path)] = path
    if len(kinds) > 1:
        raise DataError(f"{kinds[True]} is a volume, {kinds[False]} a picture. Import them one by one.")
    return True in kinds


def one_mode(paths: Sequence[Path]) -> tuple[str, dict[Path, str]]:
    """The mode that all pictures get, and the files that have to be changed for it.

    Raises:
        DataError: if some have more bits than others, which no conversion makes alike.
    """
    modes = {path: mode_of(path) for path in paths}
    found = set(modes.values())
    deep = {mode for mode in found if mode[0] in "IF" or mode.endswith(";16")}
    if deep and len(found) > 1:
        example = next(path for path, mode in modes.items() if mode in deep)
        other = next(path for path, mode in modes.items() if mode != modes[example])
        raise DataError(
            f"{example} has 16 bits or more ({modes[example]}), {other} is otherwise ({modes[other]}). Write "
            f"all of them alike."
        )
    wanted = "L" if found <= set(_GREY) else found.pop() if deep else "RGB"
    return wanted, {path: wanted for path, mode in modes.items() if mode != wanted}


def in_mode(array: Array, mode: str, path: Path) -> Array:
    """The pixels of a TIFF as another mode has them, (y, x) or (y, x, 3).

    Raises:
        ImageError: if a transparency would be lost.
    """
    if array.ndim == 3 and array.shape[-1] not in (3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.ndim == 3 and array.shape[-1] == 4:
        if (array[..., 3] != np.iinfo(array.dtype).max).any():
            raise ImageError(path, "is partly transparent", "Write it without an alpha channel.")
        array = array[..., :3]
    return np.stack([array] * 3, -1) if mode == "RGB" and array.ndim == 2 else array
