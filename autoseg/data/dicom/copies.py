"""Copies of one object: the same SOPInstanceUID in several files, as exports and merged discs have them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from autoseg.data.dicom.frames import Frame
from autoseg.data.dicom.headers import pydicom_for


def without_copies(frames: Sequence[Frame]) -> list[Frame]:
    """Frames without those of files that hold an object that another file holds.

    Files are copies if they have one SOPInstanceUID, the same position and the same voxels. Anonymisers have
    written one UID into all slices: such files differ and stay.
    """
    first: dict[tuple[object, ...], list[Frame]] = {}
    retained = []
    for frame in frames:
        key = (frame.sop_instance, frame.number, frame.position, frame.cosines)
        others = first.setdefault(key, [])
        if frame.sop_instance and any(_same(frame.header.path, other.header.path) for other in others):
            continue
        others.append(frame)
        retained.append(frame)
    return retained


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes():
        return True
    return _voxels(one) == _voxels(other)


def _voxels(path: Path) -> str:
    try:
        found = pydicom_for("Reading DICOM").dcmread(path, force=True, specific_tags=["PixelData"])
        voxels = found.get("PixelData")
    except Exception:  # a foreign parser on foreign bytes: what cannot be parsed is compared as it is
        voxels = None
    return hashlib.sha256(voxels or path.read_bytes()).hexdigest()
