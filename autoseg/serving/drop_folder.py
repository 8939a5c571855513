"""A folder into which images are dropped: what lies in it, whole and at rest, and where it goes then."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from autoseg.errors import UsageError
from autoseg.serving.jobs import Job, mark_of
from autoseg.system.files import write_text

FINISHED, SET_ASIDE = "done", "set_aside"
_OWN = (FINISHED, SET_ASIDE)
# What copying programs and browsers call a file that is not whole yet.
_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart")


@dataclass(frozen=True)
class Dropped:
    """Files that make one job.

    Attributes:
        name: of the case, or of the folder or file without its ending.
        paths: channels in their order; or a folder, or a zip.
    """

    name: str
    paths: tuple[Path, ...]


@dataclass
class DropFolder:
    """A folder that is looked at again and again.

    Attributes:
        folder: created if need be, with the two folders that take what is finished and what is set aside.
        ending: of the images of its model, with the dot.
        channels: number of files of a case.
        settle_s: seconds for which files have to stay as they are before they are taken.
    """

    folder: Path
    ending: str
    channels: int
    settle_s: float = 3.0
    _seen: dict[Path, tuple[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The journal outlives the process, which may be started elsewhere the next time.
        self.folder = self.folder.absolute()

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            UsageError: if files cannot be moved there.
        """
        for name in _OWN:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise UsageError(
                f"{self.folder} cannot be written to. What is finished is moved within it; give a folder of "
                f"yours."
            )

    def ready(self, claimed: Container[tuple[Path, str]]) -> list[Dropped]:
        """What can be taken: whole cases that have been at rest, without those that jobs have already."""
        found, present = [], self._entries(claimed)
        self._seen = {path: seen for path, seen in self._seen.items() if path in present}
        for dropped in self._cases(present):
            if all([self._rests(path) for path in dropped.paths]):  # each is to be looked at
                found.append(dropped)
        return found

    def is_empty(self, claimed: Container[tuple[Path, str]]) -> bool:
        """Whether there is nothing that may become a job by waiting."""
        return not self._cases(self._entries(claimed))

    def _entries(self, claimed: Container[tuple[Path, str]]) -> list[Path]:
        return [
            self.folder / entry.name
            for entry in sorted(os.scandir(self.folder), key=lambda entry: entry.name)
            if not entry.name.startswith((".", "~"))
            and entry.name not in _OWN
            and not entry.name.lower().endswith(_UNFINISHED)
            and (self.folder / entry.name, mark_of(self.folder / entry.name)) not in claimed
        ]

    def _cases(self, paths: Iterable[Path]) -> list[Dropped]:
        """Channels of a case together; a case that lacks some is waited for."""
        pattern = re.compile(r"(.+)_(\d{4})" + re.escape(self.ending))
        channels: dict[str, dict[int, Path]] = {}
        others = []
        for path in paths:
            match = pattern.fullmatch(path.name)
            if match and not path.is_dir():
                channels.setdefault(match[1], {})[int(match[2])] = path
            else:
                others.append(Dropped(_plain(path.name, self.ending), (path,)))
        whole = [
            Dropped(name, tuple(files[number] for number in sorted(files)))
            for name, files in channels.items()
            # More than there should be is no case that gets whole: it is taken, and set aside.
            if len(files) >= self.channels
        ]
        return whole + others

    def _rests(self, path: Path) -> bool:
        look, (before, since) = _look(path), self._seen.get(path, ("", 0.0))
        if look != before:
            self._seen[path] = (look, time.monotonic())
            return self.settle_s <= 0
        return time.monotonic() - since >= self.settle_s

    def put_away(self, job: Job) -> None:
        """Move what a job was made of to ``done``; or to ``set_aside``, with the reason beside it.

        A file that has been replaced since the job began stays where it is: it is the next job.
        """
        target = self.folder / (SET_ASIDE if job.reason else FINISHED)
        for path, mark in zip(job.paths, job.marks, strict=True):
            if mark and mark_of(path) == mark:
                moved = free_path(target / path.name)
                os.rename(path, moved)
                if job.reason:
                    write_text(moved.with_name(f"{moved.name}.reason.txt"), f"{job.reason}\n")


def free_path(path: Path) -> Path:
    """The path itself, or with a number where something is there already."""
    return next(each for each in _numbered(path) if not os.path.lexists(each))


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    stem, dot, ending = path.name.partition(".")
    number = 2
    while True:
        yield path.with_name(f"{stem}_{number}{dot}{ending}")
        number += 1


def _plain(name: str, ending: str) -> str:
    return name.removesuffix(ending).removesuffix(".zip") or name


def _look(path: Path) -> str:
    """What a file is like, or all files below a folder; another text once anything has changed."""
    if not path.is_dir() or path.is_symlink():
        return mark_of(path)
    marks = [mark_of(Path(place, name)) for place, _, names in os.walk(path) for name in sorted(names)]
    return f"{len(marks)} {hash(tuple(marks))} {mark_of(path)}"
