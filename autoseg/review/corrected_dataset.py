"""A data set for the next training, made of a review: labels corrected, rejected cases left out."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from autoseg.data.formats import TIFF_ENDINGS
from autoseg.errors import DataError, UsageError
from autoseg.review.cases import Review, ReviewCase
from autoseg.review.journal import CaseState, Journal, hash_of
from autoseg.system import progress
from autoseg.system.files import atomic_folder, write_json, write_text
from autoseg.system.tables import plain_cell, table_text

RECORD: Final = "review.json"
_TABLES: Final = ("groups.csv", "cases.csv")
_FOLDERS: Final = ("imagesTs", "labelsTs", "imagesUn")


@dataclass(frozen=True)
class Exported:
    """What became of the cases.

    Attributes:
        root: the new data set.
        corrected: cases with a corrected label.
        unchanged: cases with the label as it was.
        rejected: left out.
        undecided: of reviewed predictions those that nobody accepted; left out.
        changed_since: corrected, but what was corrected is another file now.
    """

    root: Path
    corrected: tuple[str, ...]
    unchanged: tuple[str, ...]
    rejected: tuple[str, ...]
    undecided: tuple[str, ...]
    changed_since: tuple[str, ...]


def write_corrected(review: Review, journal: Journal, output: Path, link: bool = False) -> Exported:
    """Write the data set, whole or not at all.

    Of references all cases that were not rejected go into it; of predictions those that were accepted or
    corrected.

    Args:
        review: what was reviewed; its files are only read.
        journal: what was decided.
        output: the folder; must not be there, or be empty.
        link: images become symbolic links to the originals in place of copies.

    Raises:
        UsageError: if the output is there or lies in the data set, or no case is left.
        DataError: if a corrected file is gone or is not what it was.
    """
    output = output.absolute()
    if review.root is not None and output.resolve().is_relative_to(review.root.resolve()):
        raise UsageError(f"{output} lies in the data set. Give a folder outside {review.root}.")
    sorted_out = _sorted(review, journal)
    found = Exported(output, **sorted_out)
    keep = {*found.corrected, *found.unchanged}
    if not keep:
        wanted = "accept or correct some" if review.kind == "predictions" else "not all may be rejected"
        raise UsageError(f"No case is left for {output}: {wanted}. Nothing was written.")
    with (
        atomic_folder(output) as folder,
        progress.stage("Export", total=len(keep)) as advance,
    ):
        for case in review.cases:
            if case.case in keep:
                _write_case(review, case, journal.state(case.case), folder, link)
                advance(detail=case.case)
        _write_rest(review, folder, keep, link)
        _write_record(review, journal, found, folder)
    return found


def _sorted(review: Review, journal: Journal) -> dict[str, tuple[str, ...]]:
    names = ("corrected", "unchanged", "rejected", "undecided", "changed_since")
    found: dict[str, list[str]] = {name: [] for name in names}
    for case in review.cases:
        state, judged = journal.state(case.case), review.judged(case)
        if state.decision == "rejected":
            found["rejected"].append(case.case)
        elif state.corrected is not None:
            found["corrected"].append(case.case)
            if judged is not None and judged.is_file() and state.of and hash_of(judged) != state.of:
                found["changed_since"].append(case.case)
        elif review.kind == "labels" or state.decision == "accepted":
            found["unchanged"].append(case.case)
        else:
            found["undecided"].append(case.case)
    return {name: tuple(cases) for name, cases in found.items()}


def _write_case(review: Review, case: ReviewCase, state: CaseState, folder: Path, link: bool) -> None:
    ending = review.file_ending
    for number, image in enumerate(case.images):
        _give(image, folder / "imagesTr" / f"{case.case}_{number:04d}{ending}", link)
    label = review.judged(case) if state.corrected is None else state.corrected
    if label is None or not label.is_file():
        raise DataError(f"The label of {case.case} is gone: {label}. Restore it, or reject the case.")
    _give(label, folder / "labelsTr" / f"{case.case}{ending}", False)
    if review.reader == "Tiff3DIO":
        for source, name in ((case.images[0], "imagesTr"), (label, "labelsTr")):
            stem = source.name.removesuffix(ending)
            beside = source.with_name(f"{stem[:-5] if name == 'imagesTr' else stem}.json")
            if ending.lower() in TIFF_ENDINGS and beside.is_file():
                _give(beside, folder / name / f"{case.case}.json", False)


def _give(source: Path, target: Path, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        try:
            os.symlink(source.resolve(), target)
            return
        except OSError:  # a file system, or a user of Windows, without links
            pass
    shutil.copyfile(source, target)


def _write_rest(review: Review, folder: Path, keep: Collection[str], link: bool) -> None:
    """dataset.json, the tables of groups, and the cases that are not for training."""
    document = {key: value for key, value in review.dataset_json.items() if key != "dataset"}
    write_json(folder / "dataset.json", document | {"numTraining": len(keep)})
    if review.root is None:
        return
    for name in _TABLES:
        if (review.root / name).is_file():
            text = (review.root / name).read_text(encoding="utf-8-sig")
            write_text(folder / name, _filtered(text, {case.case for case in review.cases} - set(keep)))
    for name in _FOLDERS:
        for source in sorted(path for path in (review.root / name).glob("*") if path.is_file()):
            if not source.name.startswith("."):
                _give(source, folder / name / source.name, link)


def _filtered(text: str, left_out: Iterable[str]) -> str:
    """A table without the rows of some cases; one without a column of cases as it is."""
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows, gone = [[plain_cell(cell) for cell in row] for row in reader], set(left_out)
    if not rows or "case" not in rows[0]:
        return text
    column = rows[0].index("case")
    return table_text(row for row in rows if len(row) <= column or row[column].strip() not in gone)


def _write_record(review: Review, journal: Journal, found: Exported, folder: Path) -> None:
    """What was decided of each case and by whom, for whoever gets the data set."""
    about = {key: value for key, value in asdict(found).items() if key != "root"}
    cases = {}
    for case in review.cases:
        state = journal.state(case.case)
        if state.time:
            cases[case.case] = {
                "decision": state.decision,
                "comment": state.comment,
                "corrected": state.corrected is not None,
                "reviewer": state.reviewer,
                "time": state.time,
            }
    write_json(folder / RECORD, {"of": review.title, "kind": review.kind, **about, "cases": cases})
