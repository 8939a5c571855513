"""What says that a preprocessed case is up to date: its inputs, its recipe and its outputs.

A marker is written last. Without one, or with one that no longer fits, the case is preprocessed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autoseg.data.dataset import Case
from autoseg.errors import DataError
from autoseg.preprocessing.blosc_store import HIDDEN, case_files
from autoseg.system.documents import parse_json
from autoseg.system.files import write_text


@dataclass(frozen=True)
class FileState:
    """A raw file as it was read.

    Attributes:
        ctime_ns: when anything of it changed last. It tells a file that another of its size and date was
            written over; nobody can set it.
    """

    name: str
    size: int
    mtime_ns: int
    sha256: str = ""
    ctime_ns: int = 0


@dataclass(frozen=True)
class CaseMarker:
    """The state in which a case was preprocessed.

    Attributes:
        recipe: hash of everything in the plan and in the labels that changes the result.
        inputs: channels in order, then the label.
        outputs: bytes of the files written.
    """

    recipe: str
    inputs: tuple[FileState, ...]
    outputs: tuple[int, ...]

    def save(self, folder: Path, case: str) -> None:
        """Write the marker, whole or not at all."""
        write_text(_path(folder, case), json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, folder: Path, case: str) -> CaseMarker | None:
        """The marker of a case if there is a readable one."""
        try:
            found = parse_json(_path(folder, case).read_bytes())
            inputs = tuple(FileState(**entry) for entry in found["inputs"])
            return cls(found["recipe"], inputs, tuple(found["outputs"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def is_current(folder: Path, case: Case, recipe: str) -> bool:
    """Whether a case needs nothing: same recipe, files of the same size and times, outputs in place."""
    marker = CaseMarker.load(folder, case.identifier)
    if marker is None or not _stands(marker, folder, case, recipe):
        return False
    return [replace(each, sha256="") for each in marker.inputs] == list(_states(case))


def refresh(folder: Path, case: Case, recipe: str) -> bool:
    """As `is_current` for files that were touched or copied: goes by contents, and notes the new times."""
    marker = CaseMarker.load(folder, case.identifier)
    if marker is None or not _stands(marker, folder, case, recipe):
        return False
    now = read_states(case)
    if [each.sha256 for each in now] != [each.sha256 for each in marker.inputs]:
        return False
    replace(marker, inputs=now).save(folder, case.identifier)
    return True


def read_states(case: Case) -> tuple[FileState, ...]:
    """The raw files of a case with the hashes of their contents.

    Take them before the files are read for good: a file that changes in between is then found changed later.
    """
    return tuple(
        replace(state, sha256=_sha256(path)) for state, path in zip(_states(case), _inputs(case), strict=True)
    )


def output_sizes(folder: Path, case: str) -> tuple[int, ...]:
    """Bytes of a case's files; -1 for one that is not there."""
    return tuple(path.stat().st_size if path.is_file() else -1 for path in case_files(folder, case))


def remove_case(folder: Path, case: str) -> None:
    """Remove a case: its marker and its image first, so that it is gone before it is in pieces."""
    for path in (_path(folder, case), *reversed(case_files(folder, case))):
        path.unlink(missing_ok=True)


def unmark(folder: Path, case: str) -> None:
    """Take the marker away before anything of the case is touched."""
    _path(folder, case).unlink(missing_ok=True)


def _stands(marker: CaseMarker, folder: Path, case: Case, recipe: str) -> bool:
    return marker.recipe == recipe and marker.outputs == output_sizes(folder, case.identifier)


def _path(folder: Path, case: str) -> Path:
    return folder / HIDDEN / f"{case}.json"


def label_of(case: Case) -> Path:
    """The case's label file.

    Raises:
        DataError: if it has none.
    """
    if case.label is None:
        raise DataError(f"{case.identifier} has no label file. Add it, or move its images to imagesTs.")
    return case.label


def _inputs(case: Case) -> Sequence[Path]:
    return (*case.images, label_of(case))


def _states(case: Case) -> tuple[FileState, ...]:
    return tuple(_state(path) for path in _inputs(case))


def _state(path: Path) -> FileState:
    try:
        status = path.stat()
    except OSError as problem:
        raise DataError(
            f"There is no file {path} ({problem.strerror}). Restore it, or remove its case."
        ) from None
    return FileState(path.name, status.st_size, status.st_mtime_ns, ctime_ns=status.st_ctime_ns)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cases_in(folder: Path) -> set[str]:
    """Cases of which any file lies in the folder, whoever wrote it."""
    ends = ("_seg.b2nd", ".b2nd", ".pkl")
    return {
        path.name[: -len(end)]
        for path in (folder.iterdir() if folder.is_dir() else ())
        for end in [next((e for e in ends if path.name.endswith(e)), "")]
        if end
    }
