"""Headers of text (MetaImage, NRRD): what they name for their voxels, and numbers that are none.

A header from a stranger could name any file of the machine, a list of files, or a pattern that names are made
of. None of these is needed for an image in one file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from autoseg.data.image import ImageError

_HEADER_BYTES: Final = 2**16
_META: Final = re.compile(rb"^\s*ElementDataFile\s*=\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_NRRD: Final = re.compile(rb"^data ?file\s*:\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_META_GEOMETRY: Final = re.compile(
    rb"^\s*(Offset|Position|Origin|TransformMatrix|Rotation|Orientation|ElementSpacing|ElementSize)\s*="
    rb"[^\n]*?([+-]?(?:nan|inf)[a-z]*)\b",
    re.MULTILINE | re.IGNORECASE,
)
_NO_NUMBER: Final = re.compile(r"[+-]?\b(?:nan|inf)[a-z]*", re.IGNORECASE)
# Of NRRD's kinds of axes; ??? is one that is not known.
_SPATIAL: Final = ("domain", "space", "???")
_WITHIN: Final = (b"local",)


def check_detached(path: Path) -> None:
    """Refuse a header whose voxels are said to lie elsewhere than in it or in a file beside it.

    Raises:
        ImageError: with what the header names.
    """
    named = _named(path)
    if named is not None and not _lies_beside(named):
        reason = f"takes its voxels from {named[:60]!r}, which is not a file beside it"
        raise ImageError(path, reason, "Write header and voxels into one file.")


def check_numbers(path: Path) -> None:
    """Refuse a MetaImage or NRRD header with NaN or infinity for place or size of its voxels.

    ITK takes what it cannot read as a number for 0 or 1, and says nothing. In an NRRD the axis of a voxel's
    several values has no spacing, and NaN there is right (teem's definition of the format).

    Raises:
        ImageError: with the field and what it holds.
    """
    name = path.name.lower()
    if not name.endswith((".mha", ".mhd", ".nrrd", ".nhdr")):
        return
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    if name.endswith((".mha", ".mhd")):
        end = _META.search(head)
        match = _META_GEOMETRY.search(head, 0, end.start() if end else len(head))
        found = (match[1].decode(), match[2].decode()) if match else None
    else:
        found = _nrrd_without_number(
            head.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
        )
    if found:
        field, value = found
        reason = f"states {value} for where its voxels lie or how large they are ({field})"
        raise ImageError(path, reason, "Write the true numbers, or those of the image that it belongs to.")


def _nrrd_without_number(head: str) -> tuple[str, str] | None:
    """A field of an NRRD header that has NaN or infinity for an axis in space, and the value."""
    fields = {
        key.lower(): value for key, value in re.findall(r"^([^#:\n]+):(?!=)\s*(.*?)\s*$", head, re.MULTILINE)
    }
    kinds = fields.get("kinds", "").lower().split()
    axes = {
        "spacings": fields.get("spacings", "").split(),
        "space directions": re.findall(r"\([^)]*\)|\S+", fields.get("space directions", "")),
    }
    for field, values in axes.items():
        wrong = [(n, found) for n, value in enumerate(values) if (found := _NO_NUMBER.search(value))]
        if kinds:
            wrong = [(n, found) for n, found in wrong if n >= len(kinds) or kinds[n] in _SPATIAL]
        elif len(values) > 3:  # one of these axes has no place in space
            wrong = wrong[1:]
        if wrong:
            return field, wrong[0][1][0]
    found = _NO_NUMBER.search(fields.get("space origin", ""))
    return ("space origin", found[0]) if found else None


def file_beside(path: Path) -> Path | None:
    """The file beside a header that holds its voxels; None where it holds them itself, or is unreadable."""
    try:
        named = _named(path) if path.is_file() else None
    except OSError:
        return None
    return path.with_name(named) if named is not None and _lies_beside(named) else None


def _named(path: Path) -> str | None:
    """The file that a header says its voxels lie in; None: in itself."""
    name = path.name.lower()
    meta = name.endswith((".mha", ".mhd"))
    if not meta and not name.endswith((".nrrd", ".nhdr")):
        return None
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES).replace(b"\r\n", b"\n")
    match = _META.search(head) if meta else _NRRD.search(head.partition(b"\n\n")[0])
    if match is None or match[1].lower() in _WITHIN:
        return None
    return match[1].decode("utf-8", "replace")


def _lies_beside(named: str) -> bool:
    listed = named.upper().startswith("LIST")
    return not (re.search(r"[/\\%\0]", named) or listed or named in ("", ".", ".."))
