"""Where predictions may be written: never over an image, and among images only what is told from them.

A folder of predictions has a file ``predictions.json`` that names them. While they are made, and after a
kill, the newest stand in a hidden file beside it, a line each.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autoseg.errors import RunError
from autoseg.system.files import read_object

FILE_NAME, NEWEST_NAME, FORMAT = "predictions.json", ".predictions.jsonl", 1
# A result of DICOM among series says itself that it is no image.
_IMAGE = re.compile(r"._\d{4}\.(?!dcm$)")


def known_results(folder: Path) -> frozenset[str]:
    """The names of the segmentations in a folder, and of what was written beside them."""
    content = read_object(folder / FILE_NAME)
    kinds = ("files", "intended") if content.get("format") == FORMAT else ()
    return frozenset([*(name for kind in kinds for name in entries(content, kind)), *newest(folder)])


def entries(content: Any, kind: str) -> dict[str, dict[str, Any]]:
    """What a document says of files, by their names; nothing where it is not of that form."""
    found = content.get(kind) if isinstance(content, dict) else None
    return {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}


def newest(folder: Path) -> dict[str, dict[str, Any]]:
    """What the hidden file says of files, by their names; they may not have got these names yet."""
    try:
        lines = (folder / NEWEST_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            content = json.loads(line)
        except ValueError:  # the last one, where a process was killed while it wrote
            continue
        found |= entries(content, "intended")
    return found


def is_among_images(images: Iterable[Path], targets: Iterable[Path]) -> bool:
    """Whether results go into the folder of their images; see that there they replace and resemble none.

    Args:
        images: all images that are to be segmented.
        targets: the files that are to be written.

    Raises:
        RunError: if a result would replace an image, or have a name that makes it one the next time.
    """
    given, among = tuple(images), False
    files = {os.path.realpath(path) for path in given}
    folders = {os.path.realpath(path.parent) for path in given}
    for target in targets:
        if os.path.realpath(target) in files:
            raise RunError(f"{target} is an image that is to be segmented. Give another OUTPUT.")
        if os.path.realpath(target.parent) in folders:
            among = True
            if _IMAGE.search(target.name):
                raise RunError(
                    f"The result would be {target}, a name that makes it an image the next time. Give OUTPUT "
                    f"a folder of its own."
                )
    return among
