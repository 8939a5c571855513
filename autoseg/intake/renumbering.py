"""Labels with gaps between their numbers (0 and 255 declared): a copy of the data set with 0, 1, 2, ..."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dataset import load_dataset
from autoseg.data.readers import read_segmentation, write_segmentation
from autoseg.errors import DataError
from autoseg.system.files import read_json, write_json


def new_numbers(root: Path) -> dict[int, int]:
    """The number that each label of a data set should have; empty where they need no other.

    The order of the numbers stays, and the ignore label, if any, has the highest one.

    Raises:
        DataError: if dataset.json cannot be read; what else is wrong with it is found by `load_dataset`.
    """
    document = read_json(root / "dataset.json")
    labels = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(labels, dict):
        return {}
    given = [value for each in labels.values() for value in (each if isinstance(each, list) else [each])]
    if not given or not all(type(value) is int and value >= 0 for value in given) or 0 not in given:
        return {}
    ignored = labels.get("ignore")
    ordered = sorted(set(given), key=lambda value: (value == ignored, value))
    numbers = {value: number for number, value in enumerate(ordered)}
    return {} if all(old == new for old, new in numbers.items()) else numbers


def write_renumbered(root: Path, numbers: Mapping[int, int], target: Path) -> list[tuple[str, str]]:
    """Write a copy of a data set whose labels have other numbers; all else in it is a link.

    Args:
        root: the raw folder.
        numbers: see `new_numbers`.
        target: an empty folder.

    Returns:
        Each file that is another one, from the folder, and what was done.

    Raises:
        DataError: if a label has a value that is not declared, which could become that of a label.
        DatasetJsonError: if dataset.json has further faults.
    """
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and name != Path("dataset.json") and not any(p.startswith(".") for p in name.parts):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(path.resolve(), target / name)
    write_json(target / "dataset.json", _document(read_json(root / "dataset.json"), numbers))
    told = ", ".join(f"{old} written as {new}" for old, new in numbers.items() if old != new)
    done = [("dataset.json", f"labels: {told}")]
    dataset = load_dataset(target, groups=False)
    for case in dataset.cases:
        if case.label is None or not case.label.is_file():
            continue
        if not case.label.absolute().is_relative_to(target):
            raise DataError(f"{case.label} lies outside {root}, which is copied. Import the data set.")
        name = case.label.relative_to(target)
        found = read_segmentation(case.label, dataset.reader)
        values = np.unique(found.array)
        rounded = np.rint(values).astype(np.int64)
        if strange := sorted({int(value) for value in rounded} - set(numbers)):
            raise DataError(
                f"{root / name} holds the value {strange[0]}, which dataset.json does not declare, so that "
                f"labels cannot be numbered anew. Declare it, or write another value."
            )
        new = np.array([numbers[int(value)] for value in rounded])[np.searchsorted(values, found.array[0])]
        case.label.unlink()
        write_segmentation(new, case.label, found.properties, dataset.reader)
        done.append((str(name), told))
    return done


def _document(document: dict[str, Any], numbers: Mapping[int, int]) -> dict[str, Any]:
    def anew(value: Any) -> Any:
        return [numbers[each] for each in value] if isinstance(value, list) else numbers[value]

    changed = {**document, "labels": {name: anew(value) for name, value in document["labels"].items()}}
    order = document.get("regions_class_order")
    if isinstance(order, list) and all(value in numbers for value in order):
        changed["regions_class_order"] = anew(order)
    return changed
