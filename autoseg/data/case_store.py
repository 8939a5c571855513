"""What was found of each case of a data set, kept so that only new and changed cases are read again.

One file for each case and kind of result. Its first line has a key and a checksum of all that follows. The
key is made of the names, sizes and times of the case's files, of the request, and of the code that reads; a
file with another key or with damage counts as none. It holds JSON and plain numbers, nothing that could be
run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from autoseg import __version__
from autoseg.data.dataset import Case
from autoseg.data.detached import file_beside
from autoseg.system.files import atomic_path, digest, read_bounded

log = logging.getLogger(__name__)

# What reads the files, beside autoseg itself.
_LIBRARIES: Final = (
    "numpy",
    "SimpleITK",
    "nibabel",
    "tifffile",
    "pillow",
    "scikit-image",
    "connected-components-3d",
)
_LARGEST: Final = 2**31


def files_of(case: Case) -> Iterator[Path]:
    """Every file that the reading of a case depends on, whether it is there or not.

    Images and label; the spacing of a TIFF, which stands in a JSON file beside it; the voxels of a header
    that names another file.
    """
    for path in (*case.images, *([case.label] if case.label else [])):
        yield path
        if path.suffix.lower() in (".tif", ".tiff"):
            yield from (path.with_name(f"{stem}.json") for stem in (path.stem, path.stem[:-5]) if stem)
        elif (beside := file_beside(path)) is not None:
            yield beside


def state_of(path: Path) -> tuple[str, int, int, int]:
    """Name, size and times of a file; -1 where there is none.

    The second time is that of the last change of any kind, which programs can set no more than users can: a
    file that another of its size and date was written over has another one. (Windows has the time of making
    there.)
    """
    try:
        about = path.stat()
    except OSError:
        return str(path), -1, -1, -1
    return str(path), about.st_size, about.st_mtime_ns, about.st_ctime_ns


@dataclass(frozen=True)
class CaseStore:
    """The kept results of one kind.

    Attributes:
        folder: where they lie.
        kind: the ending of their names.
        request: a hash of what was requested and of the code that answers.
    """

    folder: Path
    kind: str
    request: str

    @classmethod
    def at(cls, folder: Path, kind: str, request: Any, code: Sequence[Path]) -> CaseStore:
        """The store of a folder, which need not be there.

        Args:
            folder: where the results lie.
            kind: a word for them.
            request: JSON-able: all that a result depends on beside the files of its case.
            code: folders of Python files: a result depends on every one of them.
        """
        return cls(folder, kind, digest([request, _versions(), *(source_of(each) for each in code)]))

    def key(self, case: Case) -> str:
        """What a kept result must have been made from; take it before the case is read."""
        return digest([self.request, case.identifier, [state_of(path) for path in files_of(case)]])

    def read(self, case: Case, key: str) -> tuple[bytes, bytes] | None:
        """The JSON text and the numbers that were kept under this key; None without."""
        with contextlib.suppress(OSError, ValueError):
            content = read_bounded(self._path(case), _LARGEST)
            head, _, rest = content.partition(b"\n")
            if head == _head(key, rest):
                text, _, numbers = rest.partition(b"\n")
                return text, numbers
        return None

    def write(self, case: Case, key: str, text: bytes, numbers: bytes = b"") -> None:
        """Keep a result, whole or not at all; one of files that changed meanwhile is not kept.

        A disk that is full or cannot be written to costs time the next time, and nothing else.

        Args:
            case: whose result it is.
            key: `key`, taken before the case was read.
            text: JSON, in one line.
            numbers: whatever belongs to it.
        """
        if self.key(case) != key:
            return
        rest = b"\n".join((text, numbers))
        try:
            with atomic_path(self._path(case)) as temporary:
                temporary.write_bytes(b"\n".join((_head(key, rest), rest)))
        except OSError as problem:
            log.debug("%s: the result is not kept (%s).", case.identifier, problem)

    def forget_others(self, cases: Collection[Case]) -> None:
        """Remove the results of cases that are no longer there."""
        names = {self._path(case).name for case in cases}
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                if entry.name.endswith(f".{self.kind}") and entry.name not in names:
                    Path(entry).unlink(missing_ok=True)

    def _path(self, case: Case) -> Path:
        return self.folder / f"{case.identifier}.{self.kind}"


def _head(key: str, rest: bytes) -> bytes:
    return f"{key} {zlib.crc32(rest):08x} {len(rest)}".encode()


@lru_cache(maxsize=1)
def _versions() -> list[str]:
    found = [__version__]
    for name in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return found


@lru_cache(maxsize=4)
def source_of(folder: Path) -> str:
    """A hash of the Python files below a folder: nobody has to count up a number when they change."""
    found = blake2b(digest_size=16)
    for path in sorted(folder.rglob("*.py")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()
