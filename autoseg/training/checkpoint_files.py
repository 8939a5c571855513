"""Checkpoints on disk: whole or not at all, the newest two of a training, the damaged one left out."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoseg.errors import RunError
from autoseg.nnunet import read_checkpoint
from autoseg.run import LATEST, PREVIOUS

log = logging.getLogger(__name__)


class NotWritten(RunError):
    """A checkpoint could not be written; what stood there before stands there still."""


@contextmanager
def whole_checkpoint(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there is flushed to the disk and takes its place.

    The latest checkpoint that was there becomes the previous one.

    Raises:
        NotWritten: if the disk is full or the file cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}")
    try:
        yield temporary
        if not temporary.exists():
            return  # nnU-Net writes none where checkpoints are disabled
        _flush(temporary)
        if path.name == LATEST and path.exists():
            os.replace(path, path.with_name(PREVIOUS))
        os.replace(temporary, path)
    except (OSError, RuntimeError) as problem:
        if isinstance(problem, RunError):
            raise
        raise NotWritten(_why(path, problem)) from problem
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """A rename may reach the disk before what was written does: a loss of power would leave an empty file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _why(path: Path, problem: Exception) -> str:
    free = shutil.disk_usage(path.parent).free
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    cause = problem.__cause__ or problem.__context__
    full = any(isinstance(each, OSError) and each.errno in codes for each in (problem, cause))
    # torch reports a write that failed without the system's reason.
    what = "the disk is full" if full else str(problem).splitlines()[0].rstrip(".")
    return (
        f"The checkpoint {path} could not be written: {what} ({free / 1e6:.0f} MB are free). Make room, then "
        f"type the command again: the training goes on from its last checkpoint."
    )


def candidates(folder: Path) -> list[Path]:
    """The checkpoints that a training can go on from, the newest first."""
    return [path for path in (folder / LATEST, folder / PREVIOUS) if path.is_file()]


def load_newest(folder: Path, load: Callable[[dict[str, Any]], None]) -> Path | None:
    """Load the newest checkpoint of a training that is not damaged.

    Args:
        folder: the fold's folder.
        load: takes the content of a checkpoint.

    Returns:
        The checkpoint's file; None: there is none, and the training begins.

    Raises:
        RunError: if there are checkpoints and all of them are damaged.
    """
    there = candidates(folder)
    for path in there:
        try:
            checkpoint = read_checkpoint(path)
        except RunError as problem:
            log.warning("%s", problem)
            continue
        if path != there[0]:
            log.warning("The training goes on from the checkpoint before it, %s.", path.name)
        load(checkpoint)
        return path
    if not there:
        return None
    names = " and ".join(path.name for path in there)
    raise RunError(
        f"The training in {folder} cannot go on: {names} cannot be read. Restore one of them from a copy, or "
        f"remove them, and type the command again: it then starts from the beginning."
    )


def remove_resumable(folder: Path) -> None:
    """Remove what a training goes on from, once it has ended, the older first."""
    for name in (PREVIOUS, LATEST):
        (folder / name).unlink(missing_ok=True)


def remove_torn(folder: Path) -> None:
    """Remove what a killed process has left of files that it was writing; by who holds the run alone."""
    for path in folder.glob(".*checkpoint_*.pth"):
        path.unlink()
