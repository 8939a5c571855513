"""Pictures that are no label images: from a lossy format, scaled smoothly, or numbered anew in each file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autoseg.data.image import Array, ImageError
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


def palette_of(path: Path, values: frozenset[int]) -> Palette:
    """The colours of the values in a picture with a palette; empty for any other."""
    if ending_of(path) not in PICTURES or ending_of(path) in (".tif", ".tiff"):
        return {}
    from PIL import Image

    note(path)
    with Image.open(path) as picture:
        palette = picture.getpalette("RGB") if picture.mode == "P" else None
    if not palette:
        return {}
    return {
        value: (palette[3 * value], palette[3 * value + 1], palette[3 * value + 2])
        for value in sorted(values)
        if 3 * value + 2 < len(palette)
    }


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
