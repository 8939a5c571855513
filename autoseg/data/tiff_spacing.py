"""The size of a voxel that a 3D TIFF states itself, in ImageJ's or OME's words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from autoseg.data.tiff_pages import open_tiff


@dataclass(frozen=True)
class TiffSpacing:
    """What a file says.

    Attributes:
        spacing: along (z, y, x), in its unit.
        unit: as it stands there.
        program: whose words they are.
    """

    spacing: tuple[float, float, float]
    unit: str
    program: str

    def __str__(self) -> str:
        return f"{' x '.join(f'{s:.6g}' for s in self.spacing)} {self.unit} (z, y, x; {self.program})"


def stated_spacing(path: Path) -> TiffSpacing | None:
    """The spacing that a TIFF states; None if it states none, or not along all three axes."""
    with open_tiff(path) as file:
        if file.ome_metadata:
            return _of_ome(file.ome_metadata)
        if file.imagej_metadata:
            return _of_imagej(file.imagej_metadata, file.pages[0])
    return None


def is_volume(path: Path) -> bool:
    """Whether a TIFF is one volume (z, y, x), however few slices it has, and no picture in colours."""
    return shape_of_volume(path) is not None


def shape_of_volume(path: Path) -> tuple[int, int, int] | None:
    """The shape (z, y, x) of a TIFF that is one volume; None for a picture."""
    with open_tiff(path) as file:
        series = file.series[0]
        if len(series.shape) != 3 or "S" in series.axes or "C" in series.axes:
            return None
        z, y, x = map(int, series.shape)
        return z, y, x


def _of_ome(text: str) -> TiffSpacing | None:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    pixels = next(
        (each for each in root.iter() if each.tag.endswith("}Pixels") or each.tag == "Pixels"), None
    )
    if pixels is None:
        return None
    units = {pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"}
    found = [_positive(pixels.get(f"PhysicalSize{axis}")) for axis in "ZYX"]
    if None in found or len(units) != 1:
        return None
    z, y, x = (float(size or 0) for size in found)
    return TiffSpacing((z, y, x), units.pop(), "OME")


def _of_imagej(about: dict[str, Any], page: Any) -> TiffSpacing | None:
    z = _positive(about.get("spacing"))
    unit = str(about.get("unit", ""))
    x, y = (_step(page, tag) for tag in ("XResolution", "YResolution"))
    if z is None or x is None or y is None:
        return None
    unit = unit.replace("\\u00B5", "µ")
    return TiffSpacing((z, y, x), unit or "units", "ImageJ")


def _step(page: Any, name: str) -> float | None:
    """Distance of pixels, from a tag that has pixels for each unit."""
    tag = page.tags.get(name)
    if tag is None or not tag.value[0]:
        return None
    return _positive(tag.value[1] / tag.value[0])


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
