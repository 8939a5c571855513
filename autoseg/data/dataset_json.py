"""dataset.json: what it may hold, what its labels mean, and everything that is wrong with one at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from autoseg.data.codes import codes_of
from autoseg.data.labels import Labels, Region
from autoseg.errors import DataError

MOST_CHANNELS = 4096


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


class _Listed(BaseModel):
    images: list[str] = Field(min_length=1)
    label: str


class DatasetJson(BaseModel):
    """What is read of dataset.json; everything else in it is passed on unchanged."""

    model_config = ConfigDict(extra="ignore")

    channel_names: dict[str, str | int | float] | None = None
    modality: dict[str, str | int | float] | None = None
    labels: dict[str, StrictInt | list[StrictInt]]
    regions_class_order: list[StrictInt] | None = None
    file_ending: str
    overwrite_image_reader_writer: str | None = None
    dataset: dict[str, _Listed] | None = None
    codes: dict[str, str | list[str]] | None = None


def channel_names_of(parsed: DatasetJson) -> tuple[str, ...]:
    return tuple(str(name) for name in (parsed.channel_names or parsed.modality or {}).values())


def labels_of(parsed: DatasetJson) -> Labels:
    names: dict[str, Region] = {k: tuple(v) if isinstance(v, list) else v for k, v in parsed.labels.items()}
    ignore = names.get("ignore")
    order = parsed.regions_class_order
    return Labels(names, tuple(order) if order else None, ignore if isinstance(ignore, int) else None)


def parse_dataset_json(content: Any) -> tuple[DatasetJson | None, list[Problem]]:
    """Check a dataset.json and list everything that is wrong with it."""
    if isinstance(content, dict) and _names_by_number(content.get("labels")):
        remedy = f"Turn each entry round: {_EXPECTED['labels']}"
        return None, [Problem("labels", "maps numbers to names, as the Decathlon and nnU-Net v1 do.", remedy)]
    try:
        parsed = DatasetJson.model_validate(content)
    except ValidationError as error:
        return None, _structural_problems(error)
    return parsed, [*_channel_problems(parsed), *_label_problems(parsed), *_code_problems(parsed)]


def _names_by_number(labels: Any) -> bool:
    if not isinstance(labels, dict) or not labels:
        return False
    return all(key.isdigit() and isinstance(name, str) for key, name in labels.items())


def _structural_problems(error: ValidationError) -> list[Problem]:
    seen: dict[str, Problem] = {}
    for item in error.errors():
        if item["type"] == "int_type" and isinstance(item["input"], list) and item["loc"][-1] == "int":
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
_MEMBERS = ("int", "list[int]", "str", "float", "list[str]")
_EXPECTED = {
    "labels": 'Write names and integers, "labels": {"background": 0, "tumour": 1}; a region is a list.',
    "channel_names": 'Write numbers and names, "channel_names": {"0": "T1", "1": "FLAIR"}.',
    "modality": 'Write numbers and names, "channel_names": {"0": "T1", "1": "FLAIR"}.',
    "file_ending": 'Write the ending of all files with its dot, "file_ending": ".nii.gz".',
    "regions_class_order": "Write a list of integers, one per region.",
    "codes": 'Write names and codes, "codes": {"liver": "SCT 10200004 Liver"}.',
    "dataset": 'Write per case {"images": [PATH, ...], "label": PATH}.',
    "overwrite_image_reader_writer": "Write the name of a reader, for instance SimpleITKIO, or leave it out.",
}


def _channel_problems(parsed: DatasetJson) -> list[Problem]:
    problems = []
    channels = parsed.channel_names or parsed.modality
    if not channels:
        problems.append(Problem("channel_names", "is missing or empty.", _EXPECTED["channel_names"]))
    elif len(channels) > MOST_CHANNELS:
        remedy = f"Give at most {MOST_CHANNELS}, or combine them."
        problems.append(Problem("channel_names", f"names {len(channels)} channels.", remedy))
    elif list(channels) != [str(index) for index in range(len(channels))]:
        remedy = "Number the channels from 0 in order, as the files are (CASE_0000 is channel 0)."
        problems.append(Problem("channel_names", f"has the keys {', '.join(channels)}.", remedy))
    if not re.fullmatch(r"(\.[A-Za-z0-9]+)+", parsed.file_ending):
        problems.append(Problem("file_ending", f"is {parsed.file_ending!r}.", _EXPECTED["file_ending"]))
    return problems


def _label_problems(parsed: DatasetJson) -> list[Problem]:
    labels = labels_of(parsed)
    if labels.names.get("background") != 0:
        found = repr(parsed.labels["background"]) if "background" in parsed.labels else "not declared"
        return [Problem("labels.background", f"is {found}.", 'Declare "background": 0.')]
    problems = []
    if "ignore" in labels.names and labels.ignore is None:
        problems.append(Problem("labels.ignore", "is a region.", "Give the ignore label one integer."))
    values = [*labels.all_values, *([labels.ignore] if labels.ignore is not None else [])]
    if values != list(range(len(values))):
        remedy = (
            "Number the labels 0, 1, 2, ... without gaps; the ignore label, if any, has the highest number. "
            "autoseg verify DATASET --fix OUT does so in a copy."
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


def _code_problems(parsed: DatasetJson) -> list[Problem]:
    try:
        codes_of({"labels": parsed.labels, "codes": parsed.codes})
    except DataError as problem:
        return [Problem("codes", str(problem), "")]
    return []


def labels_from_json(content: Mapping[str, Any]) -> Labels:
    """The labels of a dataset.json that has already been read.

    Raises:
        DatasetJsonError: if they are wrong.
    """
    parsed, problems = parse_dataset_json(content)
    if problems or parsed is None:
        raise DatasetJsonError(Path("dataset.json"), problems)
    return labels_of(parsed)
