"""Which segmentation in an output folder was made from what, so that nothing old passes for new.

``predictions.json`` in the folder says for each file of which model, options and images it came, and the hash
that it had when it was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case
from autoseg.errors import RunError
from autoseg.system.files import digest, read_json, write_json

FILE_NAME = "predictions.json"


class History:
    """What is known of an output folder's segmentations.

    Args:
        output: the folder; it need not be there yet.
        maker: what the segmentations depend on beside the images: the model's hash, options.
    """

    def __init__(self, output: Path, maker: Mapping[str, Any]) -> None:
        self._path, self._maker = output / FILE_NAME, digest(dict(maker))
        content = read_json(self._path, RunError) if self._path.is_file() else {}
        entries = content.get("files") if isinstance(content, dict) else None
        self._files: dict[str, Any] = dict(entries) if isinstance(entries, dict) else {}

    def refuse_foreign(self, targets: Sequence[Path]) -> None:
        """See that every file that is to be replaced was written here and is as it was written.

        Raises:
            RunError: naming those that were not: a correction by hand, or another program's result.
        """
        foreign = [path for path in targets if path.is_file() and path.stat().st_size and not self._own(path)]
        if foreign:
            listed = ", ".join(path.name for path in foreign[:5])
            raise RunError(
                f"{self._path.parent} holds {len(foreign)} segmentations that are not known to be this "
                f"program's, or that were changed since: {listed}. Give another OUTPUT, or replace them with "
                f"--overwrite."
            )

    def is_fresh(self, case: Case, target: Path) -> bool:
        """Whether a file is what the model would make of the images as they are."""
        entry = self._files.get(target.name)
        if entry is None or not target.is_file() or entry.get("maker") != self._maker:
            return False
        return entry.get("images") == _hashes(case.images) and self._own(target)

    def add(self, case: Case, target: Path) -> None:
        """Write down what a new file was made of."""
        self._files[target.name] = {
            "maker": self._maker,
            "images": _hashes(case.images),
            "file": _hash(target),
        }
        write_json(self._path, {"format": 1, "files": self._files})

    def _own(self, path: Path) -> bool:
        entry = self._files.get(path.name)
        return entry is not None and entry.get("file") == _hash(path)


def _hashes(paths: Sequence[Path]) -> list[str]:
    return [_hash(path) for path in paths]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
