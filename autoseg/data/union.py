"""Several data sets as one, for a first stage that learns from all of them. Nothing is copied.

With labels, a raw data set is generated whose dataset.json lists the images by path; that takes the same
channels and the same labels in all of them. Images alone need the same number of channels only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case, Dataset
from autoseg.errors import DataError
from autoseg.system.files import digest, read_json, write_json, write_text
from autoseg.system.tables import table_text

# Generated data sets are numbered from here, beyond those that people number.
FIRST_NUMBER, NUMBERS = 700, 300


def unite(datasets: Sequence[Dataset], raw: Path, left_out: Collection[str] = ()) -> Path:
    """Generate the raw data set of all annotated cases; the same again changes nothing.

    Args:
        datasets: data sets with the same channels and the same labels.
        raw: the workspace's raw folder.
        left_out: cases of the first data set that are not to be learnt from.

    Returns:
        The raw folder. Cases are named after their data set, groups stay whole, and two data sets' groups of
        one name stay two.

    Raises:
        DataError: naming what differs.
    """
    if twice := _repeated([str(each.root) for each in datasets]):
        raise DataError(f"{twice} is named twice. Name each data set once.")
    for other in datasets[1:]:
        _check_same(datasets[0], other)
    content = _content(datasets, set(left_out))
    folder = _folder(raw, content, datasets)
    if not _holds(folder, content):
        if groups := content["groups"]:
            write_text(folder / "groups.csv", _table(groups))
        write_json(folder / "dataset.json", content)
    return folder


def short_names(datasets: Sequence[Dataset]) -> list[str]:
    """A name for each: what follows the number (``Hippocampus``), or all of it where two would be one."""
    short = [each.name.partition("_")[2] or each.name for each in datasets]
    return [each.name for each in datasets] if _repeated(short) else short


def renamed(cases: Sequence[Case], name: str) -> list[Case]:
    """Cases of a data set under names that those of no other have."""
    return [
        dataclasses.replace(
            case,
            identifier=f"{name}_{case.identifier}",
            group=None if case.group is None else f"{name}_{case.group}",
        )
        for case in cases
    ]


def _check_same(first: Dataset, other: Dataset) -> None:
    differing = [*_differences(first, other)]
    if differing:
        raise DataError(
            f"{first.name} and {other.name} cannot be learnt together with their labels: "
            f"{'; '.join(differing)}. Pre-train without labels (leave out --with-labels), which needs the "
            f"same number of channels only, or make the data sets alike."
        )


def _differences(first: Dataset, other: Dataset) -> Iterator[str]:
    if [name.casefold() for name in first.channels] != [name.casefold() for name in other.channels]:
        yield f"channels {', '.join(first.channels)} and {', '.join(other.channels)}"
    there, here = ({str(k): v for k, v in each.labels.names.items()} for each in (first, other))
    if there != here:
        names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
        pairs = (f"{name} {there.get(name, 'absent')} and {here.get(name, 'absent')}" for name in names)
        yield f"labels {', '.join(pairs)}"
    if first.labels.region_order != other.labels.region_order:
        yield f"regions_class_order {first.labels.region_order} and {other.labels.region_order}"
    if (first.file_ending, first.reader) != (other.file_ending, other.reader):
        yield f"files {first.file_ending} ({first.reader}) and {other.file_ending} ({other.reader})"


def _content(datasets: Sequence[Dataset], left_out: set[str]) -> dict[str, Any]:
    """The dataset.json of the union, with the group of each case where there are groups."""
    cases = []
    for place, (dataset, name) in enumerate(zip(datasets, short_names(datasets), strict=True)):
        own = [case for case in dataset.cases if place or case.identifier not in left_out]
        cases += renamed(own, name)
    kept = ("channel_names", "modality", "labels", "regions_class_order", "overwrite_image_reader_writer")
    about = datasets[0].dataset_json
    grouped = any(case.group for case in cases)
    return {
        **{key: about[key] for key in kept if key in about},
        "numTraining": len(cases),
        "file_ending": datasets[0].file_ending,
        "sources": {each.name: str(each.root) for each in datasets},
        "dataset": {
            case.identifier: {"images": [str(path) for path in case.images], "label": str(case.label)}
            for case in cases
        },
        "groups": {case.identifier: case.group or case.identifier for case in cases} if grouped else {},
    }


def _table(groups: Mapping[str, str]) -> str:
    return table_text([("case", "group"), *groups.items()])


def _folder(raw: Path, content: dict[str, Any], datasets: Sequence[Dataset]) -> Path:
    """The union's folder: the one that it has, or that of the next number that is free."""
    name = "_and_".join(short_names(datasets))
    first = int(digest(content)[:8], 16) % NUMBERS
    numbers = [FIRST_NUMBER + (first + step) % NUMBERS for step in range(NUMBERS)]
    taken = {path.name[7:10]: path for path in raw.glob("Dataset[0-9][0-9][0-9]_*")}
    for number in numbers:
        folder = raw / f"Dataset{number}_{name}"
        if str(number) not in taken or _holds(folder, content):
            return folder
    raise DataError(
        f"All numbers from {numbers[0]} on are taken in {raw}. Remove data sets that are not used."
    )


def _holds(folder: Path, content: dict[str, Any]) -> bool:
    path = folder / "dataset.json"
    return path.is_file() and read_json(path) == content


def _repeated(names: Sequence[str]) -> str:
    return next((name for name in names if names.count(name) > 1), "")
