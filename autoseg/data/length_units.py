"""The unit of length that a file states, where the library that reads it takes its numbers for millimetres.

SimpleITK turns NIfTI's units into millimetres itself; nibabel, and SimpleITK with NRRD and MetaImage, do not.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from autoseg.data.image import Image

_MM = {
    **{"m": 1000.0, "meter": 1000.0, "metre": 1000.0, "cm": 10.0, "mm": 1.0},
    **{"um": 1e-3, "µm": 1e-3, "micron": 1e-3, "nm": 1e-6},
}
# Headers of text are far shorter; what follows is voxels.
_HEADER_BYTES = 4096
_NRRD = re.compile(rb'^space units:\s*"([^"]+)"', re.MULTILINE)
_META = re.compile(rb"^DistanceUnits\s*=\s*(\S+)", re.MULTILINE)


def stated_unit(path: Path) -> str:
    """The unit in the header of an NRRD or MetaImage file; mm where none is stated or it is not known."""
    name = path.name.lower()
    pattern = (
        _NRRD if name.endswith((".nrrd", ".nhdr")) else _META if name.endswith((".mha", ".mhd")) else None
    )
    if pattern is None:
        return "mm"
    with path.open("rb") as file:
        match = pattern.search(file.read(_HEADER_BYTES).replace(b"\r\n", b"\n"))
    unit = match[1].decode("utf-8", "replace").strip() if match else "mm"
    return unit if unit in _MM else "mm"


def mm_of(unit: str) -> float:
    """How many mm a unit has; 1 for one that is not known."""
    return _MM.get(unit, 1.0)


def write_unit(path: Path, unit: str) -> None:
    """State a unit in the header of an NRRD or MetaImage file that states none."""
    content = path.read_bytes()
    if content.startswith(b"NRRD"):
        line = f'space units: "{unit}" "{unit}" "{unit}"\n'.encode()
        place = content.index(b"\n", content.index(b"\nspace: ") + 1) + 1
        content = content[:place] + line + content[place:]
    elif content.startswith(b"ObjectType"):
        first, _, rest = content.partition(b"\n")
        content = first + f"\nDistanceUnits = {unit}\n".encode() + rest
    path.write_bytes(content)


def in_mm(image: Image) -> Image:
    """An image with spacing and place in mm; the array is the same."""
    factor = image.unit_mm
    if factor == 1:
        return image
    z, y, x = (s * factor for s in image.spacing)
    properties = {**image.properties, "spacing": [s * factor for s in image.properties["spacing"]]}
    world = dict(image.world)
    if "sitk_stuff" in properties:
        stuff = properties["sitk_stuff"]
        scaled = {key: tuple(n * factor for n in stuff[key]) for key in ("spacing", "origin")}
        properties["sitk_stuff"] = {**stuff, **scaled}
        world["origin"] = world["origin"] * factor
    for key, affine in properties.get("nibabel_stuff", {}).items():
        if key.endswith("affine"):
            larger = affine.copy()
            larger[:3] *= factor
            properties["nibabel_stuff"] = {**properties["nibabel_stuff"], key: larger}
    if "affine" in world:
        world["affine"] = properties["nibabel_stuff"]["original_affine"]
    return replace(image, spacing=(z, y, x), properties=properties, world=world, unit_mm=1.0)
