"""A raw data set in nnU-Net's layout, read once: its labels, its channels and its cases. Never written."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autoseg.data.dataset_json import (
    DatasetJson,
    DatasetJsonError,
    Problem,
    channel_names_of,
    labels_from_json,
    labels_of,
    parse_dataset_json,
)
from autoseg.data.groups import GroupsError, groups_in, read_groups
from autoseg.data.labels import Labels, Region
from autoseg.data.readers import reader_for
from autoseg.errors import DataError
from autoseg.names import RULE, SEGMENTATION_SUFFIX, case_problem, path_problem, shown
from autoseg.system.files import read_json

logger = logging.getLogger(__name__)

__all__ = [
    "Case",
    "Dataset",
    "DatasetJsonError",
    "GroupsError",
    "Labels",
    "Problem",
    "Region",
    "find_cases",
    "labels_from_json",
    "load_dataset",
    "parse_dataset_json",
    "read_groups",
]


@dataclass(frozen=True)
class Case:
    """One case: its image files, its label file if it is annotated, and the group that it belongs to.

    The paths are where the files belong; whether they are there and readable is what `verify` finds out.
    """

    identifier: str
    images: tuple[Path, ...]
    label: Path | None
    group: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A raw data set.

    Attributes:
        name: the folder's name.
        root: the raw folder; read in place.
        channels: the channels' names in order.
        labels: labels or regions.
        cases: the annotated cases (imagesTr and labelsTr, or the lists in dataset.json).
        file_ending: the ending of its images and labels, with the dot.
        reader: nnU-Net's name of the reader.
        dataset_json: dataset.json as it is on disk.
    """

    name: str
    root: Path
    channels: tuple[str, ...]
    labels: Labels
    cases: tuple[Case, ...]
    file_ending: str
    reader: str
    dataset_json: Mapping[str, Any]

    @property
    def groups(self) -> dict[str, str]:
        """The group of each case that has one."""
        return {case.identifier: case.group for case in self.cases if case.group is not None}

    def case(self, identifier: str) -> Case:
        """The case of that name.

        Raises:
            DataError: if there is none.
        """
        for case in self.cases:
            if case.identifier == identifier:
                return case
        raise DataError(f"{self.name} has no case {identifier!r}. Give one of its {len(self.cases)} cases.")

    @property
    def test_cases(self) -> tuple[Case, ...]:
        """The cases of imagesTs, with labels where labelsTs has them."""
        labels = self.root / "labelsTs"
        return tuple(
            Case(case.identifier, case.images, path if path.is_file() else None)
            for case in find_cases(self.root / "imagesTs", self.file_ending)
            for path in [labels / f"{case.identifier}{self.file_ending}"]
        )

    @property
    def unlabelled_cases(self) -> tuple[Case, ...]:
        """The cases of imagesUn: images that were never annotated."""
        return find_cases(self.root / "imagesUn", self.file_ending)


def load_dataset(root: Path, groups: Path | Literal[False] | None = None) -> Dataset:
    """Read a raw data set: dataset.json and the names of the files; of the images at most one header.

    Args:
        root: the raw folder.
        groups: a table with a column ``case`` and a column ``group`` (or ending in ``_group``). By default
            groups.csv or cases.csv in the raw folder, if it has these columns; False: no groups at all.

    Raises:
        DatasetJsonError: if dataset.json is wrong; it lists all that is.
        GroupsError: if the groups cannot be read or leave out a case.
        DataError: if dataset.json is missing or no JSON, if no reader knows its files, if there are no cases,
            or the name of a case is not a name of a file.
    """
    root = Path(root).absolute()
    path = root / "dataset.json"
    content = read_json(path)
    parsed, problems = parse_dataset_json(content)
    if problems or parsed is None:
        raise DatasetJsonError(path, problems)
    cases = _listed_cases(root, parsed) if parsed.dataset else _folder_cases(root, parsed.file_ending)
    if not cases:
        raise DataError(
            f"{root} has no cases: no file in imagesTr is named CASE_0000{parsed.file_ending}. Name the "
            f"files like that, one per channel, or correct file_ending in dataset.json."
        )
    example = next((image for case in cases for image in case.images if image.is_file()), None)
    _check_names(root, cases)
    reader = reader_for(parsed.file_ending, parsed.overwrite_image_reader_writer, example)
    return Dataset(
        name=root.name,
        root=root,
        channels=channel_names_of(parsed),
        labels=labels_of(parsed),
        cases=tuple(cases) if groups is False else _with_groups(cases, root, groups),
        file_ending=parsed.file_ending,
        reader=reader.name,
        dataset_json=content,
    )


def _check_names(root: Path, cases: Sequence[Case]) -> None:
    """Refuse names of cases that would leave their folder, hide there, or be taken for a segmentation."""
    wrong = [(case.identifier, problem) for case in cases if (problem := case_problem(case.identifier))]
    if wrong:
        name, problem = wrong[0]
        more = f" ({len(wrong)} of {len(cases)} cases have such names)" if len(wrong) > 1 else ""
        raise DataError(
            f"{root}: the name of the case {shown(name)} {problem}{more}. {RULE}, and does not end in "
            f"{SEGMENTATION_SUFFIX}. Rename the case."
        )


def find_cases(folder: Path, file_ending: str) -> tuple[Case, ...]:
    """The cases of a folder of images named ``CASE_0000.ending``, sorted; none if there is no folder."""
    if not folder.is_dir():
        return ()
    pattern = re.compile(r"(.+)_\d{4}" + re.escape(file_ending))
    images: dict[str, list[Path]] = {}
    for name in sorted(entry.name for entry in os.scandir(folder)):
        # Hidden files are what desktops and interrupted copies leave behind.
        if not name.startswith(".") and (match := pattern.fullmatch(name)):
            images.setdefault(match[1], []).append(folder / name)
    return tuple(Case(identifier, tuple(images[identifier]), None) for identifier in sorted(images))


def _folder_cases(root: Path, file_ending: str) -> list[Case]:
    return [
        Case(case.identifier, case.images, root / "labelsTr" / f"{case.identifier}{file_ending}")
        for case in find_cases(root / "imagesTr", file_ending)
    ]


def _listed_cases(root: Path, parsed: DatasetJson) -> list[Case]:
    def place(case: str, name: str) -> Path:
        path = Path(os.path.abspath(root / os.path.expandvars(name)))
        if problem := path_problem(path):
            raise DataError(
                f"{root / 'dataset.json'}: the file {shown(name)} of the case {shown(case)} {problem}. "
                f"Correct the path."
            )
        return path

    return [
        Case(case, tuple(place(case, image) for image in listed.images), place(case, listed.label))
        for case, listed in (parsed.dataset or {}).items()
    ]


def _named_like_files(case: str, groups: Mapping[str, str]) -> str:
    """A sentence where a table names files and not cases; empty else."""
    file = next((name for name in groups if re.match(rf"{re.escape(case)}(_\d{{4}})?\.", name)), None)
    return "" if file is None else f" The table has {file!r}: write the case without channel and ending."


def _with_groups(cases: list[Case], root: Path, table: Path | None) -> tuple[Case, ...]:
    groups = read_groups(table) if table else groups_in(root)
    if groups is None:
        return tuple(cases)
    missing = [case.identifier for case in cases if case.identifier not in groups]
    if missing:
        raise GroupsError(
            f"{len(missing)} of {len(cases)} cases have no group in the table of groups, the first is "
            f"{missing[0]!r}. Give every case a group, or the folds could separate what belongs together."
            f"{_named_like_files(missing[0], groups)}"
        )
    return tuple(Case(case.identifier, case.images, case.label, groups[case.identifier]) for case in cases)
