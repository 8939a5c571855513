"""Where predictions may be written: never over an image, and among images only what is told from them.

A folder of predictions has a file ``predictions.json`` that names them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from autoseg.errors import RunError
from autoseg.system.files import read_object

FILE_NAME, FORMAT = "predictions.json", 1
# A result of DICOM among series says itself that it is no image.
_IMAGE = re.compile(r"._\d{4}\.(?!dcm$)")


def known_results(folder: Path) -> frozenset[str]:
    """The names of the segmentations in a folder, and of what was written beside them."""
    content = read_object(folder / FILE_NAME)
    if content.get("format") != FORMAT:
        return frozenset()
    found = (content.get(kind) for kind in ("files", "intended"))
    return frozenset(name for each in found if isinstance(each, dict) for name in each)


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
