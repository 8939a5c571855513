"""Which prediction belongs to which reference: files of two folders, paired by case identifier."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.readers import READERS
from autoseg.errors import DataError

logger = logging.getLogger(__name__)

ENDINGS = sorted(
    {ending for reader in READERS.values() for ending in reader.file_endings}, key=len, reverse=True
)


@dataclass(frozen=True)
class Pair:
    """The files of one case; the prediction is None if it is missing."""

    case: str
    reference: Path
    prediction: Path | None


@dataclass(frozen=True)
class Pairs:
    """All cases of an evaluation, and the predictions that no reference belongs to."""

    matched: tuple[Pair, ...]
    unmatched: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Cases without a prediction."""
        return tuple(pair.case for pair in self.matched if pair.prediction is None)


def case_files(folder: Path) -> dict[str, list[Path]]:
    """The images of a folder by case identifier: the file name without a known image ending.

    Raises:
        DataError: if there is no such folder, or a file in it is a link to nothing.
    """
    if folder.is_file():
        raise DataError(
            f"{folder} is a file. Give the folders that predictions and references lie in, one file a case, "
            f"named alike."
        )
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Give the folder that the segmentations lie in.")
    found: dict[str, list[Path]] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        ending = ending_of(entry.name)
        if not ending or entry.name.startswith("."):
            continue
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise DataError(
                f"{entry.path} is a link to {os.readlink(entry.path)}, where nothing is. Restore what it "
                f"points to, or take the link away."
            )
        if entry.is_file():
            found.setdefault(entry.name[: -len(ending)], []).append(folder / entry.name)
    return found


def ending_of(name: str) -> str:
    """The known image ending of a file name, lower case; empty if there is none."""
    return next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")


def pair_files(
    predictions: Path, references: Mapping[str, Path], cases: Sequence[str] | None = None
) -> Pairs:
    """Find the prediction of each reference.

    Args:
        predictions: a folder of segmentations.
        references: case identifier to file.
        cases: those to evaluate; all for None.

    Raises:
        DataError: if a case has no reference, if two predictions could be meant, or if nothing matches.
    """
    wanted = list(references) if cases is None else list(cases)
    if unknown := [case for case in wanted if case not in references]:
        raise DataError(f"There is no reference for {_some(unknown)}. Give cases that have one.")
    found = case_files(predictions)
    pairs = tuple(
        Pair(case, references[case], _one(found.get(case, []), references[case])) for case in wanted
    )
    if not any(pair.prediction for pair in pairs):
        raise DataError(
            f"No file in {predictions} is named like a reference. References: {_some(wanted)}; predictions: "
            f"{_some(list(found))}. Name each prediction CASE.ending, as its reference."
            f"{'' if found else _folders_with_images(predictions)}"
        )
    if several := [pair for pair in pairs if pair.prediction and len(found[pair.case]) > 1]:
        logger.warning(
            "%d predictions lie there in several formats; the one in its reference's format is scored: %s",
            len(several),
            _some([pair.prediction.name for pair in several if pair.prediction]),
        )
    unmatched = () if cases is not None else tuple(case for case in found if case not in references)
    return Pairs(pairs, unmatched)


def reference_files(folder: Path) -> dict[str, Path]:
    """The references of a folder by case identifier.

    Raises:
        DataError: if there are none, or a case has two.
    """
    found = case_files(folder)
    if not found:
        raise DataError(
            f"{folder} holds no segmentation ({', '.join(ENDINGS)}). Give the references' folder."
        )
    for case, files in found.items():
        if len(files) > 1:
            raise DataError(f"{_some([f.name for f in files])} in {folder} are one case, {case}. Leave one.")
    return {case: files[0] for case, files in found.items()}


def _one(files: Sequence[Path], reference: Path) -> Path | None:
    same = [path for path in files if path.name.lower() == reference.name.lower()]
    if len(files) > 1 and len(same) != 1:
        raise DataError(f"{_some([path.name for path in files])} could each be the prediction. Leave one.")
    return next(iter(same or files), None)


def _folders_with_images(folder: Path) -> str:
    """Where images lie in a folder that has none itself, as a sentence; empty if nowhere."""
    inner = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and any(ending_of(each.name) for each in os.scandir(entry.path))
    )
    return f" There are images in its folders {_some(inner)}: give one of these." if inner else ""


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"
