"""Which segmentation in an output folder was made from what, so that nothing old passes for new.

``predictions.json`` in the folder says for each file of which model, options and images it came, and the hash
that it has. Before a file gets its name, this stands in a line of a hidden file, so that a case costs no more
in a folder of many. Whenever a process is killed, what stands in the folder was intended, and counts as made
if it has the hash. At the end, and first of all after a kill, the lines go into ``predictions.json``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case
from autoseg.data.results_place import FILE_NAME, FORMAT, NEWEST_NAME, entries, newest
from autoseg.errors import RunError
from autoseg.system.files import atomic_path, digest, read_json, read_object


class History:
    """What is known of an output folder's segmentations.

    Args:
        output: the folder; it need not be there yet.
        maker: what the segmentations depend on beside the images: the model's hash, options.
    """

    def __init__(self, output: Path, maker: Mapping[str, Any]) -> None:
        self._path, self._maker = output / FILE_NAME, digest(dict(maker))
        self._newest = output / NEWEST_NAME
        content = read_json(self._path, RunError) if self._path.is_file() else {"format": FORMAT}
        self._foreign = not (isinstance(content, dict) and content.get("format") == FORMAT)
        self._files = self._written(content)
        self._left = self._newest.is_file()  # by a process that was killed
        self._news = self._placing = False

    def refuse_foreign(self, targets: Sequence[Path], remedy: str) -> None:
        """See that every file that is to be replaced was written here and is as it was written.

        Args:
            targets: the files.
            remedy: what to do where one was not, as a sentence.

        Raises:
            RunError: naming those that were not: a correction by hand, or another program's result.
        """
        if self._foreign:
            raise RunError(
                f"{self._path} is another file than the one of this name that a prediction writes. {remedy}"
            )
        foreign = [path for path in targets if path.is_file() and path.stat().st_size and not self._own(path)]
        if foreign:
            listed = ", ".join(path.name for path in foreign[:5])
            raise RunError(
                f"{self._path.parent} holds {len(foreign)} segmentations that are not known to be this "
                f"program's, or that were changed since: {listed}. {remedy}"
            )

    def is_fresh(self, case: Case, target: Path) -> bool:
        """Whether a file is what the model would make of the images as they are."""
        entry = self._files.get(target.name)
        if entry is None or not target.is_file() or entry.get("maker") != self._maker:
            return False
        return entry.get("images") == _hashes(case.images) and self._own(target)

    def place(self, case: Case, made: Path, names: Sequence[str]) -> None:
        """Move all that was made of a case into the output folder, and write down what it was made of.

        Args:
            case: its images are read.
            made: a folder on the output folder's disk.
            names: of the files in it that are known by what they were made of. The first one is the
                segmentation and comes last: where it stands, all that belongs to it does.
        """
        images = _hashes(case.images)
        intended = {
            name: {"maker": self._maker, "images": images, "file": _hash(_lasting(made / name))}
            for name in names
        }
        if self._left:  # its last line may be half a line
            self.save()
        self._news = self._placing = True
        with self._newest.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"intended": intended}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        further = sorted({path.name for path in made.iterdir()} - {*names})
        for name in (*further, *reversed(names)):
            os.replace(made / name, self._path.with_name(name))
        self._files.update(intended)
        self._placing = False

    def save(self) -> None:
        """Write ``predictions.json`` with all that is known, where there is news.

        What another process has written there meanwhile stays. Where a case was not put in its place whole,
        the lines stay: the next call sees what is true of it.
        """
        if self._placing or not (self._news or self._left):
            return
        self._files = self._written(read_object(self._path)) | self._files
        lines = ",\n".join(
            f"    {json.dumps(name)}: {json.dumps(each)}" for name, each in self._files.items()
        )
        with atomic_path(self._path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(f'{{\n  "format": {FORMAT},\n  "files": {{\n{lines}\n  }}\n}}\n')
            file.flush()
            os.fsync(file.fileno())
        self._newest.unlink(missing_ok=True)
        self._news = self._left = False

    def _written(self, content: Any) -> dict[str, dict[str, Any]]:
        """What ``predictions.json`` says, and the lines of files that have got their names."""
        found, output = entries(content, "files"), self._path.parent
        for name, entry in (entries(content, "intended") | newest(output)).items():
            if (path := output / name).is_file() and entry.get("file") == _hash(path):
                found[name] = entry
        return found

    def _own(self, path: Path) -> bool:
        entry = self._files.get(path.name)
        return entry is not None and entry.get("file") == _hash(path)


def _hashes(paths: Sequence[Path]) -> list[str]:
    return [_hash(path) for path in paths]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lasting(path: Path) -> Path:
    """The same file, whose content survives a loss of power from now on."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
    return path
