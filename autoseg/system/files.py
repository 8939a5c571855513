"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoseg.errors import AutosegError, DataError, UsageError
from autoseg.names import whole_number
from autoseg.system.documents import LARGEST_BYTES, DocumentError, parse_json


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on a clean exit it is renamed to `path`.

    The temporary name keeps the file's ending, which many writers choose the format by. If the block
    raises, the temporary file is removed and whatever stood at `path` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two writers of one file apart; the last rename wins, whole.
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; on a clean exit it is renamed to `path`.

    If the block raises, the temporary folder and all in it are removed.

    Raises:
        UsageError: if something other than an empty folder stands at `path`.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{path} is there already. Remove it, or give another name.")
    with temporary_folder(path) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Give an empty hidden folder beside `path`, on the same disk; at the end it is removed with all in it.

    What killed processes left for the same path is removed as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    host = platform.node() or "host"
    _clear_debris(path, host)
    temporary = path.with_name(f".{os.getpid()}-{host}.{path.name}")
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _clear_debris(path: Path, host: str) -> None:
    """Remove what processes of this machine left beside `path` when they were killed."""
    for each in path.parent.glob(f".*-{host}.{path.name}"):
        number = whole_number(each.name[1:].partition("-")[0])
        if number is not None and not _is_alive(number):
            shutil.rmtree(each, ignore_errors=True)


def _is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document, whole or not at all.

    Raises:
        ValueError: for NaN or infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_bounded(path: Path, most: int = LARGEST_BYTES) -> bytes:
    """The content of a file; of a pipe or a device nothing is read, which could be without end.

    Raises:
        OSError: if it cannot be opened.
        DocumentError: if it is no file, or has more than `most` bytes.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
        raise DocumentError("it is a pipe or a device, not a file")
    if about.st_size > most:
        raise DocumentError(f"it has {about.st_size / 2**20:.0f} MiB, more than {most // 2**20}")
    return path.read_bytes()


def read_json(path: Path, error: type[AutosegError] = DataError, finite: bool = True) -> Any:
    """Read a JSON document.

    Args:
        path: the file.
        error: what is raised if it cannot be read.
        finite: refuse NaN and infinities.

    Raises:
        AutosegError: one of the given class, if the file is missing, cannot be opened or is not JSON.
    """
    try:
        return parse_json(read_bounded(path), finite)
    except FileNotFoundError:
        raise error(f"There is no file {path}. Check the path.") from None
    except OSError as problem:
        raise error(
            f"{path} cannot be read: {problem.strerror or problem}. Give a file that you may read."
        ) from None
    except DocumentError as problem:
        raise error(
            f"{path} is not valid JSON: {problem}. Correct it or restore it from its source."
        ) from None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is no such file, or something else in it."""
    try:
        content = read_json(path) if path.is_file() else {}
    except AutosegError:
        return {}
    return content if isinstance(content, dict) else {}


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value in canonical form, hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
