"""What is read of strangers' files, in a process of its own: the images of a job, and zips unpacked."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.bundle.archive import UNREADABLE, listed_files
from autoseg.data.dicom.stack import Stack
from autoseg.data.dicom_objects.result import read_series
from autoseg.data.dicom_objects.series_inputs import is_series, series_in
from autoseg.data.image import Image, finite
from autoseg.data.readers import read_images
from autoseg.errors import AutosegError, DataError
from autoseg.names import case_problem, shown
from autoseg.system.guard import note

# Files of a zip: a series of thin slices in several phases stays below.
_MOST_FILES = 20_000
UNPACKED = "unpacked"


@dataclass(frozen=True)
class Facts:
    """What reading has to know of a model.

    Attributes:
        ending: of its images, with the dot.
        channels: their names.
        reader: nnU-Net's name of the reader.
        mend: whether series with uneven distances between slices are interpolated.
    """

    ending: str
    channels: tuple[str, ...]
    reader: str
    mend: bool = False


@dataclass(frozen=True)
class Source:
    """One image that a job holds: files of its channels, or a series."""

    name: str
    files: tuple[Path, ...]
    stack: Stack | None = None


@dataclass(frozen=True)
class Sources:
    """All images of a job, and what of it is left out."""

    images: tuple[Source, ...]
    left_out: dict[str, str]


def find_sources(paths: Sequence[Path], facts: Facts, work: Path, largest: int) -> Sources:
    """The images of a job.

    Args:
        paths: one zip, one folder, one DICOM file, or the files of a case's channels.
        facts: of the model.
        work: a folder for what a zip holds.
        largest: bytes that a zip may unpack to.

    Raises:
        DataError: if the model takes nothing of it.
    """
    first = paths[0]
    if len(paths) == 1 and first.is_file() and zipfile.is_zipfile(first):
        first = unpack(first, work / UNPACKED, largest)
    elif len(paths) == 1 and not first.is_dir() and not first.is_file():
        raise DataError(f"{first.name} is no file and no folder. Drop images, folders or zips.")
    if len(paths) == 1 and is_series(first, facts.ending):
        found = series_in(first, facts.channels, facts.reader, facts.mend)
        left = {each.name: reason for each, reason in (*found.left_out, *found.passed_over)}
        return Sources(tuple(Source(c.name, tuple(c.stack.files), c.stack) for c in found.cases), left)
    if first.is_dir():
        return _of_folder(first, facts)
    return Sources((_of_files(paths, facts),), {})


def _of_folder(folder: Path, facts: Facts) -> Sources:
    from autoseg.inference.inputs import inputs_of

    inner = [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith((".", "__"))]
    files = [each for each in folder.iterdir() if each.is_file() and not each.name.startswith(".")]
    if len(inner) == 1 and not files:
        return _of_folder(inner[0], facts)  # a zip of a folder
    found = inputs_of(folder, facts.ending, facts.channels)
    left = {each.path.name: each.reason for each in found.left_out}
    return Sources(tuple(Source(case.identifier, case.images) for case in found.cases), left)


def _of_files(paths: Sequence[Path], facts: Facts) -> Source:
    first, ending = paths[0], facts.ending
    if not all(path.name.endswith(ending) for path in paths):
        raise DataError(
            f"{first.name} is not a {ending} file, which the model reads, nor DICOM. Convert it to "
            f"CASE_0000{ending}."
        )
    stem = first.name.removesuffix(ending)
    name = stem[:-5] if stem[-5:-4] == "_" and stem[-4:].isdigit() else stem
    numbers = [path.name.removesuffix(ending)[-5:] for path in paths]
    wanted = [f"_{number:04d}" for number in range(len(facts.channels))]
    if len(paths) > 1 and numbers != wanted:
        raise DataError(
            f"The case {shown(name)} has the channels {', '.join(numbers)}; the model takes "
            f"{', '.join(wanted)} ({', '.join(facts.channels)}). Drop these files and no others."
        )
    if problem := case_problem(name):
        raise DataError(f"The name {shown(name)} {problem}. Rename the file.")
    return Source(name, tuple(paths))


def read_source(source: Source, facts: Facts) -> Image:
    """The image of a source, (channels, z, y, x).

    Raises:
        DataError: if it cannot be read, or has other channels than the model.
    """
    if source.stack is not None:
        return read_series(source.stack, facts.channels[0])
    raw = finite(read_images(source.files, facts.reader), source.files)
    if len(raw.array) != len(facts.channels):
        raise DataError(
            f"{source.files[0].name} has {len(raw.array)} channels; the model takes {len(facts.channels)} "
            f"({', '.join(facts.channels)}). Give CASE_0000{facts.ending} and so on, one file for each."
        )
    return raw


def unpack(path: Path, folder: Path, largest: int) -> Path:
    """Unpack a zip into a folder that is made anew.

    Raises:
        DataError: for links, paths that lead out, and more than there may be.
    """
    note(path)
    try:
        sizes = listed_files(path, _MOST_FILES)
    except AutosegError as problem:
        raise DataError(f"{path.name} is not taken: {problem}") from None
    if (total := sum(sizes.values())) > largest:
        raise DataError(
            f"{path.name} unpacks to {total / 2**20:.0f} MiB; at most {largest / 2**20:.0f} are taken. Send "
            f"fewer files, or let the server take more (--largest)."
        )
    shutil.rmtree(folder, ignore_errors=True)
    with_reasons = (*UNREADABLE, OSError, ValueError)
    try:
        with zipfile.ZipFile(path) as archive:
            for name, size in sizes.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as packed, target.open("wb") as plain:
                    shutil.copyfileobj(packed, plain)
                if target.stat().st_size != size:
                    raise DataError(f"{path.name} is damaged: {name} is cut off. Send it again.")
    except with_reasons as problem:
        raise DataError(f"{path.name} is damaged ({problem}). Send it again.") from None
    return folder
