"""Files whose names a user gave: what this program did not write is never replaced.

A folder ``.autoseg_written`` beside such files holds for each the hash that it was written with. The same
command can so be run again and again, while a user's own file of that name, or a result that was edited
since, is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autoseg.errors import UsageError
from autoseg.system.files import read_object, temporary_folder, write_json

NOTES = ".autoseg_written"


def refuse_foreign(paths: Sequence[Path]) -> None:
    """See that outputs can be written, before anything is computed for them.

    Args:
        paths: all files that a command is to write.

    Raises:
        UsageError: naming the first one that is no regular file, that is there and was not written by this
            program as it is, or that stands for two outputs.
    """
    seen: set[Path] = set()
    for path in paths:
        place = _followed(path)
        if place in seen:
            raise UsageError(f"{path} is named for two outputs. Give each a name of its own.")
        seen.add(place)
        _refuse(place, place.parent)


@contextmanager
def named_output(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path of the same name; on a clean exit its file is moved to `path`.

    A symbolic link stays one: the file that it points to is written.

    Args:
        path: the file to write.
        overwrite: replace a file that somebody else wrote.

    Raises:
        UsageError: see `refuse_foreign`.
    """
    if not overwrite:
        refuse_foreign([path])
    place = _followed(path)
    with named_outputs(place.parent, overwrite) as folder:
        yield folder / place.name


@contextmanager
def named_outputs(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty temporary folder; on a clean exit all files in it are moved to `folder`, or none is.

    Args:
        folder: the files' folder.
        overwrite: replace files that somebody else wrote.

    Raises:
        UsageError: see `refuse_foreign`; of any of the files, before the first is moved.
    """
    # On the same disk, and nothing is left of a folder that nothing comes into.
    with temporary_folder(folder / "outputs" if folder.is_dir() else folder) as made:
        yield made
        files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
        for name in () if overwrite else files:
            _refuse(folder / name, folder)
        for name in files:
            _place(made / name, folder, name)


def _place(made: Path, folder: Path, name: Path) -> None:
    target = folder / name
    # Both hashes are known until the new file has its name: a command that is killed here can be run again.
    known = [_hash(made), *([_hash(target)] if target.is_file() else [])]
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(_note(folder, name), {"sha256": known})
    os.replace(made, target)


def _refuse(path: Path, folder: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Give the name of a file.")
    if not path.exists():
        return
    if not path.is_file():
        raise UsageError(f"{path} is a pipe or a device. Give the name of a file.")
    known = read_object(_note(folder, path.relative_to(folder))).get("sha256")
    if path.stat().st_size and not (isinstance(known, list) and _hash(path) in known):
        raise UsageError(
            f"{path} is there already, and is not known to be this program's, or was changed since. "
            f"Remove it, or give another name."
        )


def _followed(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _note(folder: Path, name: Path) -> Path:
    return folder / NOTES / name.with_name(f"{name.name}.json")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
