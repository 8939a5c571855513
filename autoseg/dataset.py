"""A raw data set in nnU-Net's layout, read once: its labels, its channels and its cases. Never written."""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from autoseg.errors import DataError
from autoseg.files import read_json
from autoseg.image import reader_for

logger = logging.getLogger(__name__)

Region = int | tuple[int, ...]


@dataclass(frozen=True)
class Labels:
    """The labels or regions of a data set, with the meaning that nnU-Net's LabelManager gives them.

    Attributes:
        names: name to label, or to the labels that make up a region, in the order of dataset.json.
        region_order: ``regions_class_order``: the label that each region's head writes, in head order.
        ignore: the label of voxels without annotation.
    """

    names: Mapping[str, Region]
    region_order: tuple[int, ...] | None = None
    ignore: int | None = None

    @property
    def has_regions(self) -> bool:
        """Whether training is on overlapping regions, which needs a sigmoid per head."""
        return any(isinstance(value, tuple) and len(value) > 1 for value in self.names.values())

    @property
    def all_values(self) -> tuple[int, ...]:
        """Every value that a label file may hold, background included, the ignore label left out."""
        return tuple(sorted({v for name, value in self._annotated() for v in _values(value)}))

    @property
    def foreground(self) -> tuple[Region, ...]:
        """Labels or regions without the background; the order of the heads."""
        if self.has_regions:
            return tuple(value for _, value in self._annotated() if set(_values(value)) != {0})
        return tuple(value for value in self.all_values if value != 0)

    @property
    def num_heads(self) -> int:
        """Output channels of a network: one per region, or one per label with the background."""
        return len(self.foreground) if self.has_regions else len(self.all_values)

    @property
    def structures(self) -> dict[str, tuple[int, ...]]:
        """What is evaluated: each foreground label or region by name, as the label values in it."""
        return {name: _values(value) for name, value in self._annotated() if set(_values(value)) != {0}}

    def _annotated(self) -> Iterable[tuple[str, Region]]:
        return ((name, value) for name, value in self.names.items() if name != "ignore")


def _values(value: Region) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


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
        file_ending: with the dot.
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


@dataclass(frozen=True)
class Problem:
    """Something wrong with dataset.json: where, what, and what to do."""

    where: str
    message: str
    remedy: str


class DatasetJsonError(DataError):
    """dataset.json is wrong; `problems` lists everything that is."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        lines = [f"{p.where}: {p.message} {p.remedy}".strip() for p in problems]
        super().__init__(f"{path} is not valid:\n" + "\n".join(f"  {line}" for line in lines))
        self.problems = tuple(problems)


class GroupsError(DataError):
    """The table of groups cannot be read, or leaves out a case."""


class _Listed(BaseModel):
    images: list[str] = Field(min_length=1)
    label: str


class _DatasetJson(BaseModel):
    """What is read of dataset.json; everything else in it is kept and passed on."""

    model_config = ConfigDict(extra="ignore")

    channel_names: dict[str, str | int | float] | None = None
    modality: dict[str, str | int | float] | None = None
    labels: dict[str, StrictInt | list[StrictInt]]
    regions_class_order: list[StrictInt] | None = None
    file_ending: str
    overwrite_image_reader_writer: str | None = None
    dataset: dict[str, _Listed] | None = None


def load_dataset(root: Path, groups: Path | Literal[False] | None = None) -> Dataset:
    """Read a raw data set: dataset.json and the names of the files; of the images at most one header.

    Args:
        root: the raw folder.
        groups: a table with a column ``case`` and a column ``group`` (or ending in ``_group``). By default
            groups.csv or cases.csv in the raw folder, if it has these columns; False: no groups at all.

    Raises:
        DatasetJsonError: if dataset.json is wrong; it lists all that is.
        GroupsError: if the groups cannot be read or leave out a case.
        DataError: if dataset.json is missing or no JSON, if no reader knows its files, or there are no cases.
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
    reader = reader_for(parsed.file_ending, parsed.overwrite_image_reader_writer, example)
    return Dataset(
        name=root.name,
        root=root,
        channels=_channel_names(parsed),
        labels=_labels(parsed),
        cases=tuple(cases) if groups is False else _with_groups(cases, root, groups),
        file_ending=parsed.file_ending,
        reader=reader.name,
        dataset_json=content,
    )


def labels_from_json(content: Mapping[str, Any]) -> Labels:
    """The labels of a dataset.json that has already been read.

    Raises:
        DatasetJsonError: if they are wrong.
    """
    parsed, problems = parse_dataset_json(content)
    if problems or parsed is None:
        raise DatasetJsonError(Path("dataset.json"), problems)
    return _labels(parsed)


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


def _listed_cases(root: Path, parsed: _DatasetJson) -> list[Case]:
    def place(name: str) -> Path:
        return Path(os.path.abspath(root / os.path.expandvars(name)))

    return [
        Case(identifier, tuple(place(image) for image in listed.images), place(listed.label))
        for identifier, listed in (parsed.dataset or {}).items()
    ]


def _channel_names(parsed: _DatasetJson) -> tuple[str, ...]:
    return tuple(str(name) for name in (parsed.channel_names or parsed.modality or {}).values())


def _labels(parsed: _DatasetJson) -> Labels:
    names: dict[str, Region] = {k: tuple(v) if isinstance(v, list) else v for k, v in parsed.labels.items()}
    ignore = names.get("ignore")
    order = parsed.regions_class_order
    return Labels(names, tuple(order) if order else None, ignore if isinstance(ignore, int) else None)


def parse_dataset_json(content: Any) -> tuple[_DatasetJson | None, list[Problem]]:
    """Check a dataset.json and list everything that is wrong with it."""
    if isinstance(content, dict) and _names_by_number(content.get("labels")):
        remedy = f"Turn each entry round: {_EXPECTED['labels']}"
        return None, [Problem("labels", "maps numbers to names, as the Decathlon and nnU-Net v1 do.", remedy)]
    try:
        parsed = _DatasetJson.model_validate(content)
    except ValidationError as error:
        return None, _structural_problems(error)
    return parsed, [*_channel_problems(parsed), *_label_problems(parsed)]


def _names_by_number(labels: Any) -> bool:
    if not isinstance(labels, dict) or not labels:
        return False
    return all(key.isdigit() and isinstance(name, str) for key, name in labels.items())


def _structural_problems(error: ValidationError) -> list[Problem]:
    seen: dict[str, Problem] = {}
    for item in error.errors():
        if item["type"] == "int_type" and isinstance(item["input"], list):
            continue  # The other member of the union says which entry of the list is wrong.
        parts = [str(part) for part in item["loc"] if part not in _MEMBERS]
        where = ".".join(parts) or "the document"
        if item["type"] == "missing":
            message, remedy = "is missing.", _EXPECTED.get(where, "Add it.")
        else:
            message = f"{item['input']!r} is not what is expected."
            remedy = _EXPECTED.get(parts[0] if parts else "", "Write a JSON object.")
        seen.setdefault(where, Problem(where, message, remedy))
    return list(seen.values())


# How pydantic names the members of the unions above in the place of an error.
_MEMBERS = ("int", "list[int]", "str", "float")
_EXPECTED = {
    "labels": 'Write names and integers, "labels": {"background": 0, "tumour": 1}; a region is a list.',
    "channel_names": 'Write numbers and names, "channel_names": {"0": "T1", "1": "FLAIR"}.',
    "modality": 'Write numbers and names, "channel_names": {"0": "T1", "1": "FLAIR"}.',
    "file_ending": 'Write the ending of all files with its dot, "file_ending": ".nii.gz".',
    "regions_class_order": "Write a list of integers, one per region.",
    "dataset": 'Write per case {"images": [PATH, ...], "label": PATH}.',
    "overwrite_image_reader_writer": "Write the name of a reader, for instance SimpleITKIO, or leave it out.",
}


def _channel_problems(parsed: _DatasetJson) -> list[Problem]:
    problems = []
    channels = parsed.channel_names or parsed.modality
    if not channels:
        problems.append(Problem("channel_names", "is missing or empty.", _EXPECTED["channel_names"]))
    elif list(channels) != [str(index) for index in range(len(channels))]:
        remedy = "Number the channels from 0 in order, as the files are (CASE_0000 is channel 0)."
        problems.append(Problem("channel_names", f"has the keys {', '.join(channels)}.", remedy))
    if not re.fullmatch(r"(\.[A-Za-z0-9]+)+", parsed.file_ending):
        problems.append(Problem("file_ending", f"is {parsed.file_ending!r}.", _EXPECTED["file_ending"]))
    return problems


def _label_problems(parsed: _DatasetJson) -> list[Problem]:
    labels = _labels(parsed)
    if labels.names.get("background") != 0:
        found = repr(parsed.labels["background"]) if "background" in parsed.labels else "not declared"
        return [Problem("labels.background", f"is {found}.", 'Declare "background": 0.')]
    problems = []
    if "ignore" in labels.names and labels.ignore is None:
        problems.append(Problem("labels.ignore", "is a region.", "Give the ignore label one integer."))
    values = [*labels.all_values, *([labels.ignore] if labels.ignore is not None else [])]
    if values != list(range(len(values))):
        remedy = (
            "Number the labels 0, 1, 2, ... without gaps; the ignore label, if any, has the highest number."
        )
        problems.append(Problem("labels", f"has the values {values}.", remedy))
    if not labels.foreground:
        problems.append(Problem("labels", "declares nothing but background.", "Add at least one label."))
    return problems + _region_problems(labels)


def _region_problems(labels: Labels) -> list[Problem]:
    where, wanted = "regions_class_order", len(labels.foreground)
    if not labels.has_regions:
        return []
    remedy = (
        f"Give {wanted} integers, one for each of {', '.join(labels.structures)}: the label that is written "
        f"where that region is predicted; later ones overwrite earlier ones."
    )
    if labels.region_order is None:
        return [Problem(where, "is missing, but labels declares regions.", remedy)]
    if len(labels.region_order) != wanted:
        return [Problem(where, f"has {len(labels.region_order)} entries for {wanted} regions.", remedy)]
    unknown = sorted(set(labels.region_order) - set(labels.all_values))
    return [Problem(where, f"names the undeclared labels {unknown}.", remedy)] if unknown else []


def _with_groups(cases: list[Case], root: Path, table: Path | None) -> tuple[Case, ...]:
    groups = read_groups(table) if table else _groups_in(root)
    if groups is None:
        return tuple(cases)
    missing = [case.identifier for case in cases if case.identifier not in groups]
    if missing:
        raise GroupsError(
            f"{len(missing)} of {len(cases)} cases have no group in the table of groups, the first is "
            f"{missing[0]!r}. Give every case a group, or the folds could separate what belongs together."
        )
    return tuple(Case(case.identifier, case.images, case.label, groups[case.identifier]) for case in cases)


def _groups_in(root: Path) -> dict[str, str] | None:
    for name in ("groups.csv", "cases.csv"):
        path = root / name
        if path.is_file() and _group_column(_header(path)) and _case_column(_header(path)):
            logger.info("Groups are taken from %s", path)
            return read_groups(path)
    return None


def read_groups(path: Path) -> dict[str, str]:
    """Read a table of groups: case to group.

    Raises:
        GroupsError: if the file is missing, lacks a column, leaves a group empty or contradicts itself.
    """
    if not path.is_file():
        raise GroupsError(f"There is no table of groups {path}. Check the path.")
    header = _header(path)
    case_column, group_column = _case_column(header), _group_column(header)
    if case_column is None or group_column is None:
        raise GroupsError(
            f"{path} has the columns {', '.join(header)}. A table of groups has a column 'case' and a column "
            f"'group' (or one that ends in '_group')."
        )
    groups: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        for line, row in enumerate(csv.DictReader(file, delimiter=_delimiter(path)), start=2):
            case, group = (row[case_column] or "").strip(), (row[group_column] or "").strip()
            if not case or not group:
                raise GroupsError(
                    f"{path}, line {line}: case {case!r} has the group {group!r}. Fill in both."
                )
            if groups.setdefault(case, group) != group:
                raise GroupsError(
                    f"{path}, line {line}: case {case!r} is in the groups {groups[case]!r} and {group!r}."
                )
    return groups


def _header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return next(csv.reader(file, delimiter=_delimiter(path)), [])


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
    return max(",;\t", key=first.count)


def _case_column(header: list[str]) -> str | None:
    return next((name for name in header if name.strip().lower().startswith("case")), None)


def _group_column(header: list[str]) -> str | None:
    exact = [name for name in header if name.strip().lower() == "group"]
    return next(iter(exact or [name for name in header if name.strip().lower().endswith("_group")]), None)
