"""Pictures that are no label images: from a lossy format, scaled smoothly, or numbered anew in each file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.image import Array, ImageError
from autoseg.data.tiff_pages import open_tiff
from autoseg.errors import DataError
from autoseg.intake.incoming import PICTURES, Content, ending_of
from autoseg.system.guard import note

_LOSSY = (".jpg", ".jpeg")
# Grey values that lossy formats leave lie this close to the one that was meant.
_NEAR, _BRIGHT = 8, 100

Palette = Mapping[int, tuple[int, int, int]]


def refuse_lossy(path: Path, array: Array, named: bool) -> None:
    """See that a picture's values are those of labels, not what compression or smoothing left between them.

    Args:
        path: the picture.
        array: its values (y, x).
        named: whether a user says what each value means; then only JPEG's own traces are refused.

    Raises:
        ImageError: if they are not.
    """
    if ending_of(path) not in PICTURES or array.ndim != 2:
        return
    values = [int(value) for value in np.unique(array)]
    if len(values) <= 2 or max(values) < _BRIGHT:
        return
    lossy = ending_of(path) in _LOSSY
    if not lossy and named:
        return
    near = [value for value in values if max(values) - value <= _NEAR]
    thin = _thin(array, values)
    if lossy or len(near) > 1 or (len(thin) > 1 and len(values) - len(thin) > 1):
        shown = ", ".join(map(str, values[:6])) + (" ..." if len(values) > 6 else "")
        raise ImageError(
            path,
            f"holds {len(values)} values ({shown}), as a lossy format (JPEG) or smooth scaling leaves them "
            f"around the edges",
            "Write the mask anew from its source, one value for each label, as PNG. If these are labels, "
            "name them with --labels NAME=VALUE,...",
        )


def numbers_in(path: Path) -> tuple[Array, Palette]:
    """The label values of a PNG, BMP, GIF or JPEG, and the colours that they are shown in.

    The numbers of a palette are the values, whatever their colours. Where the colours are shades of grey that
    do not rise with the numbers, and in a GIF, which has no other way to store grey, the shades are.

    Returns:
        Values (y, x), or (y, x, colour) for a picture in colours; and the palette, empty for any other kind.

    Raises:
        ImageError: if it holds several pictures.
    """
    from PIL import Image

    note(path)
    with Image.open(path) as picture:
        refuse_several(path, picture)
        if picture.mode != "P":
            grey = picture.mode in ("1", "L", "I", "I;16", "LA")
            shown = picture.convert("L") if picture.mode == "LA" else picture
            array = np.asarray(shown if grey else picture.convert("RGB"))
            return (array.astype(np.uint8) if array.dtype == bool else array), {}
        array, colours = np.asarray(picture), picture.getpalette("RGB") or []
        in_order = picture.format != "GIF"
    palette: Palette = {
        int(value): (colours[3 * value], colours[3 * value + 1], colours[3 * value + 2])
        for value in np.unique(array)
        if 3 * value + 2 < len(colours)
    }
    shades = [colour[0] for colour in palette.values() if len(set(colour)) == 1]
    if len(shades) < len(np.unique(array)) or (in_order and shades == sorted(set(shades))):
        return array, palette
    shade_of = np.zeros(256, np.uint8)
    shade_of[list(palette)] = shades
    return shade_of[array], {}


def palette_of_tiff(path: Path, values: Iterable[int]) -> Palette:
    """The colours that a TIFF's numbers are shown in, 8 bits each; empty without a palette.

    Args:
        path: the file; only its tags are read.
        values: the numbers in it.
    """
    import tifffile

    note(path)
    try:
        with open_tiff(path) as file:
            colours = file.pages[0].aspage().colormap
    except (tifffile.TiffFileError, ValueError, IndexError):
        return {}
    if colours is None:
        return {}
    # A colour map states 16 bits a colour; many programs fill 8 of them, or repeat them.
    shades = (np.asarray(colours) >> 8).T
    return {
        value: (int(shades[value][0]), int(shades[value][1]), int(shades[value][2]))
        for value in sorted(values)
        if 0 <= value < len(shades)
    }


def refuse_several(path: Path, picture: Any) -> None:
    """See that a file holds one picture, no animation.

    Raises:
        ImageError: with how many it holds.
    """
    # A JPEG may carry a preview or the view of a second eye, which is no animation.
    count = getattr(picture, "n_frames", 1) if picture.format in ("GIF", "PNG") else 1
    if count > 1:
        raise ImageError(path, f"holds {count} pictures", "Write the one that is meant as a PNG of its own.")


def refuse_own_palettes(palettes: Mapping[Content, Palette]) -> None:
    """See that one number has one colour in all pictures with a palette, so that it means one thing.

    Raises:
        DataError: naming two files that differ.
    """
    seen: dict[int, tuple[tuple[int, int, int], Path]] = {}
    for content, palette in palettes.items():
        for value, colour in palette.items():
            first, path = seen.setdefault(value, (colour, content.source))
            if first != colour:
                raise DataError(
                    f"{path} shows the value {value} in the colour {first}, {content.source} in {colour}: "
                    f"each file numbers its colours anew. Write one number for a label, in grey or with one "
                    f"palette for all files."
                )


def _thin(array: Array, values: list[int]) -> list[int]:
    """The values that fill no block of three by three pixels."""
    inner = array[1:-1, 1:-1]
    solid = np.ones(inner.shape, np.bool_)
    rows, columns = array.shape
    for y in range(3):
        for x in range(3):
            solid &= array[y : rows - 2 + y, x : columns - 2 + x] == inner
    filled = set(np.unique(inner[solid]).tolist())
    return [value for value in values if value not in filled]
