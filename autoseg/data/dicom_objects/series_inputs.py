"""DICOM to be segmented: which series of a folder or file a model takes, and what is said of the others."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dicom.headers import is_dicom
from autoseg.data.dicom.series import Found, find_volumes
from autoseg.data.dicom.stack import Stack
from autoseg.errors import DataError
from autoseg.names import name_problem

# Channels that say what scanner their images come from; of any other name nothing is known.
_SCANNERS = {
    **dict.fromkeys(("ct", "cta", "cect", "ncct"), "CT"),
    **dict.fromkeys(
        ("mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "flair", "dwi", "adc"), "MR"
    ),
    **dict.fromkeys(("pet", "pt", "suv"), "PT"),
    **dict.fromkeys(("us", "ultrasound"), "US"),
}
_NUMBERED = re.compile(r"._\d{4}$")
# Readers whose images have no place in a patient.
_PICTURES = ("NaturalImage2DIO", "Tiff3DIO")
# Beside DICOM these are usual and are none of it.
_BESIDE = (".json", ".csv", ".tsv", ".txt", ".md", ".xml", ".pdf", ".html", ".jpg", ".png", ".zip", ".py")


@dataclass(frozen=True)
class SeriesCase:
    """A volume to segment, and the name of its result."""

    name: str
    stack: Stack


@dataclass(frozen=True)
class SeriesInputs:
    """What DICOM files hold for a model.

    Attributes:
        cases: the volumes that it takes.
        left_out: files and series that should be segmented and cannot be, each with the reason.
        passed_over: what no result is expected of, as reports and series of another scanner.
    """

    cases: tuple[SeriesCase, ...]
    left_out: tuple[tuple[Path, str], ...] = ()
    passed_over: tuple[tuple[Path, str], ...] = ()


def is_series(source: Path, ending: str) -> bool:
    """Whether a source is DICOM: a file, or a folder that holds some and no image named ``CASE_0000``.

    Args:
        source: what is to be segmented.
        ending: of the images that the model takes otherwise, with the dot.
    """
    if source.is_file():
        return is_dicom(source)
    if not source.is_dir() or any(
        _NUMBERED.search(path.name[: -len(ending)]) for path in _of(source, ending)
    ):
        return False
    return any(map(is_dicom, _files(source)))


def _of(folder: Path, ending: str) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(ending)]


def series_in(source: Path, channels: Sequence[str], reader: str, mend: bool = False) -> SeriesInputs:
    """The series of a folder, at any depth, or of one file, that a model takes.

    Args:
        source: the folder or file.
        channels: the model's.
        reader: nnU-Net's name of the model's reader.
        mend: whether series with uneven distances are interpolated.

    Raises:
        DataError: if the model takes no DICOM, or nothing here can be segmented; it says what there is.
        MissingDependency: without pydicom.
    """
    if len(channels) != 1:
        raise DataError(
            f"The model takes {len(channels)} channels ({', '.join(channels)}), and a DICOM series is one. "
            f"Import the series (autoseg import), and name them CASE_0000, CASE_0001 in this order."
        )
    if reader in _PICTURES:
        raise DataError(
            "The model learnt from pictures, which have no place in a patient; a DICOM series has one. "
            "Convert the series to the model's format."
        )
    files = [source] if source.is_file() else list(_files(source))
    found = find_volumes(files, mend)
    fitting = [stack for stack in found.stacks if not _misfit(stack, channels[0])]
    left_out, passed_over = _left_out(found, source), _passed_over(found, channels[0])
    if not fitting:
        listed = "".join(f"\n  {path}: {reason}" for path, reason in (*left_out, *passed_over)[:8])
        raise DataError(f"{source} holds no series that this model takes ({channels[0]}).{listed}")
    return SeriesInputs(tuple(_named(fitting)), tuple(left_out), tuple(passed_over))


def _files(source: Path) -> Iterator[Path]:
    """The regular files below a folder, links to folders not followed, in a fixed order."""
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() not in _BESIDE and path.is_file():
                yield path


def _misfit(stack: Stack, channel: str) -> str:
    """Why a series is not of a model's channel, as the rest of a sentence; empty if it may be."""
    wanted, own = _scanner(channel), stack.header.modality
    if wanted is None or not own or own == wanted:
        return ""
    return f"is {own}, and the model learnt from {channel}"


def _scanner(channel: str) -> str | None:
    """The modality that a channel's name stands for, by any of its words; None where none says so."""
    words = re.split(r"[^a-z0-9]+", channel.lower())
    return next((_SCANNERS[word] for word in words if word in _SCANNERS), None)


def _left_out(found: Found, source: Path) -> list[tuple[Path, str]]:
    damaged = [(each.path, f"is {each.reason}. Restore it.") for each in found.left_out if each.broken]
    return damaged + [(source, str(problem)) for problem in found.problems]


def _passed_over(found: Found, channel: str) -> list[tuple[Path, str]]:
    others: list[tuple[Path, str]] = [
        (each.path, f"is {each.reason}") for each in found.left_out if not each.broken
    ]
    others += [(each.header.path, "is a segmentation or structure set") for each in found.segmentations]
    others += [(each.header.path, why) for each in found.stacks if (why := _misfit(each, channel))]
    counts = Counter(reason for _, reason in others)
    first = {reason: path for path, reason in reversed(others)}
    return [
        (first[reason], reason if count == 1 else f"{reason}, as {count - 1} more")
        for reason, count in counts.items()
    ]


def _named(stacks: Sequence[Stack]) -> Iterator[SeriesCase]:
    """Volumes by the identifier of their series, numbered where one series holds several."""
    several = Counter(stack.header.series for stack in stacks)
    seen: Counter[str] = Counter()
    for stack in stacks:
        uid = stack.header.series
        seen[uid] += 1
        name = uid if not name_problem(uid) else f"series_{hashlib.sha256(uid.encode()).hexdigest()[:16]}"
        yield SeriesCase(f"{name}_{seen[uid]}" if several[uid] > 1 else name, stack)
