"""What a folder of images to segment holds: cases that a model takes, and files that it does not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dataset import Case, find_cases
from autoseg.data.readers import READERS
from autoseg.data.results_place import known_results
from autoseg.errors import DataError

_ENDINGS = sorted(
    {ending for reader in READERS.values() for ending in reader.file_endings}
    | {".jpg", ".jpeg", ".mhd", ".dcm"},
    key=len,
    reverse=True,
)
# Beside images these are usual and mean nothing to a prediction.
_TEXTS = (".json", ".csv", ".tsv", ".txt", ".md", ".html", ".yaml", ".yml", ".pdf", ".bval", ".bvec")


@dataclass(frozen=True)
class LeftOut:
    """A file or case that is not predicted, and why, with what to do."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Inputs:
    """The cases of a folder, and what of it is left out."""

    cases: tuple[Case, ...]
    left_out: tuple[LeftOut, ...]


def inputs_of(source: Path, ending: str, channels: Sequence[str]) -> Inputs:
    """Look through a folder, or for the files of the case that one file belongs to.

    Args:
        source: the folder; folders in it are not looked into, and segmentations that were predicted into it
            are no images. Or a file, CASE_0000 with further channels beside it, or of any name.
        ending: the ending of the model's files.
        channels: the model's channels.

    Raises:
        DataError: if there is no such folder or file, or nothing in it can be predicted; it says what there
            is.
    """
    if source.is_file():
        return Inputs((_case_of(source, ending, channels),), ())
    if not source.is_dir():
        raise DataError(f"There is no file or folder {source}. Give the images' folder, or one image.")
    found = find_cases(source, ending)
    wrong = {case.identifier: why for case in found if (why := _wrong_files(case, ending, channels))}
    cases = tuple(case for case in found if case.identifier not in wrong)
    named = {path for case in found for path in case.images}
    left_out = [LeftOut(source / f"{name}_*{ending}", why) for name, why in wrong.items()]
    left_out += _others(source, ending, named)
    if not cases:
        listed = "".join(f"\n  {each}" for each in left_out[:8])
        raise DataError(
            f"{source} has no images named CASE_0000{ending} that this model takes. Name each file CASE_0000"
            f"{ending}, the channel in four digits.{listed}"
        )
    return Inputs(cases, tuple(left_out))


def case_name(path: Path) -> str:
    """What the case of an image file is called: its name without ending and channel."""
    return re.sub(r"(?<=.)_\d{4}$", "", path.name[: len(path.name) - len(ending_of(path.name))])


def _case_of(file: Path, ending: str, channels: Sequence[str]) -> Case:
    if not file.name.endswith(ending):
        raise DataError(f"{file} {_why(file, ending)}")
    if not re.search(r"._\d{4}$", file.name.removesuffix(ending)):
        return Case(case_name(file), (file,), None)
    case = next(each for each in find_cases(file.parent, ending) if file in each.images)
    if why := _wrong_files(case, ending, channels):
        raise DataError(f"The case {case.identifier} of {file} {why}")
    return case


def _wrong_files(case: Case, ending: str, channels: Sequence[str]) -> str:
    """Why the files of a case are not those of a model's channels; empty if they are."""
    numbers = [path.name.removesuffix(ending)[-4:] for path in case.images]
    # One file may hold several channels; which there are is seen when it is read.
    if len(numbers) == 1 and numbers[0] == "0000":
        return ""
    if numbers == [f"{number:04d}" for number in range(len(channels))]:
        return ""
    return (
        f"has the channels {', '.join(numbers)}, but the model takes {len(channels)} "
        f"({', '.join(channels)}), numbered from 0000. Give it these files and no others."
    )


def _others(source: Path, ending: str, named: set[Path]) -> Iterator[LeftOut]:
    results = known_results(source)
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        path = source / entry.name
        if entry.name.startswith(".") or path in named or path.suffix.lower() in _TEXTS:
            continue
        if entry.name in results:
            continue
        if entry.is_dir():
            if known_results(path):
                continue
            inside = [found.name for found in sorted(path.iterdir()) if ending_of(found.name)]
            if inside:
                yield LeftOut(path, f"is a folder with images ({inside[0]}, ...). Predict it by itself.")
        else:
            yield LeftOut(path, _why(path, ending))


def _why(path: Path, ending: str) -> str:
    own = ending_of(path.name)
    stem = path.name[: len(path.name) - len(own)]
    numbered = re.fullmatch(r".+_\d{4}", stem) is not None
    right = f"{stem if numbered else f'{stem}_0000'}{ending}"
    if own == ending and path.name.endswith(ending):
        return f"has no channel in its name. Rename it to {right}."
    if own == ending:
        return f"ends in {path.name[-len(own) :]}, not {ending}. Rename it to {right}."
    return (
        f"is not a {ending} file, which the model reads. Convert it to {right}, or take it out of the folder."
    )


def ending_of(name: str) -> str:
    """The ending of an image file, in lower case and with the dot; empty if it is none."""
    return next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")
