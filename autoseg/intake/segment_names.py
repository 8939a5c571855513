"""Names of the labels in segmentations of 3D Slicer (``.seg.nrrd``), whose numbers may differ by case.

Slicer numbers the segments of each segmentation in the order in which they were drawn, and writes into the
header which number is which, as ``Segment0_Name`` and ``Segment0_LabelValue``. One name is one label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoseg.errors import DataError
from autoseg.intake.incoming import Content, some
from autoseg.system.guard import note

# A header is text; that of a segmentation with a thousand segments is shorter.
_LONGEST = 1 << 20
_ENTRY = re.compile(r"Segment(\d+)_(Name|LabelValue):=(.*)")
# What dataset.json means something else by.
_TAKEN = ("background", "ignore")

Names = Mapping[int, str]


@dataclass(frozen=True)
class OneMeaning:
    """What each number stands for in all files, and what becomes of the numbers of files that differ.

    Attributes:
        names: number to name.
        codes: of each label file whose numbers are others, pairs of the number there and the one it gets.
        note: what was decided.
        why: two files that differ; empty where none do.
    """

    names: Mapping[int, str]
    codes: Mapping[Content, tuple[tuple[int, int], ...]]
    note: str
    why: str = ""


def segment_names(path: Path) -> dict[int, str]:
    """Number to name, as the header has it; empty if it names none, or two alike."""
    note(path)
    with path.open("rb") as file:
        header = file.read(_LONGEST)
    if not header.startswith(b"NRRD"):
        return {}
    header = header.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    found: dict[str, dict[str, str]] = {}
    for line in header.decode("utf-8", "replace").split("\n"):
        if match := _ENTRY.fullmatch(line):
            found.setdefault(match[1], {})[match[2]] = match[3].strip()
    named = [
        (int(one["LabelValue"]), one["Name"])
        for one in found.values()
        if one.get("Name") and re.fullmatch(r"[1-9]\d{0,8}", one.get("LabelValue", ""))
    ]
    alike = {key(name) for _, name in named} | set(_TAKEN)
    whole = len(named) == len(found) == len(dict(named)) == len(alike) - len(_TAKEN)
    return dict(named) if whole else {}


def key(name: str) -> str:
    """By what names are the same: neither capitals nor spaces around make another structure."""
    return name.strip().casefold()


def one_meaning(found: Mapping[Content, frozenset[int]], asked: Mapping[str, int]) -> OneMeaning | None:
    """See that a number means the same in all label files, by the names in their headers.

    Args:
        found: the values in each label file.
        asked: what the user calls the values in the files.

    Returns:
        None where the values hold as they are and the files do not name them all.

    Raises:
        DataError: naming two files, if they contradict each other or the user and no name can be trusted.
    """
    named = {content: names for content in found if (names := _names_in(content, found[content]))}
    if asked:
        _refuse_other_numbers(named, asked)
        return None
    without = [content for content, values in found.items() if values - {0} and content not in named]
    if (two := _contradiction(named)) and without:
        raise DataError(
            f"{two} The values have to mean the same in all files, and {without[0].source.name} does not say "
            f"what its values are. Export all segmentations with the same numbers, or all with names "
            f"(.seg.nrrd)."
        )
    if not named or without:
        return None
    numbers, called = _numbered(named)
    if not two:
        names = {value: called[key(name)] for one in named.values() for value, name in one.items()}
        return OneMeaning(names, {}, "The labels have the names that 3D Slicer wrote into the headers.")
    codes = {
        content: ((0, 0), *((value, numbers[key(name)]) for value, name in names.items()))
        for content, names in named.items()
    }
    listed = ", ".join(f"{called[one]} ({number})" for one, number in numbers.items())
    return OneMeaning(
        {number: called[one] for one, number in numbers.items()},
        {content: pairs for content, pairs in codes.items() if any(old != new for old, new in pairs)},
        f"3D Slicer numbered the labels differently from file to file. They go by the names in the headers, "
        f"and values are written anew: {listed}. If a number means the same everywhere, whatever its names, "
        f"write --labels NAME=VALUE,...",
        two,
    )


def _names_in(content: Content, values: frozenset[int]) -> dict[int, str]:
    """The names of the values that a label file holds; empty if one has none."""
    if content.drawing is not None or content.structures or content.united or content.codes:
        return {}
    if not content.source.name.lower().endswith(".nrrd"):
        return {}
    names = segment_names(content.source)
    return {value: names[value] for value in sorted(values - {0})} if values - {0} <= names.keys() else {}


def _contradiction(named: Mapping[Content, Names]) -> str:
    """A sentence on two files that call one number by two names, or one name by two numbers."""
    by_number: dict[int, tuple[Content, str]] = {}
    by_name: dict[str, tuple[Content, int]] = {}
    for content, names in named.items():
        for value, name in names.items():
            other, called = by_number.setdefault(value, (content, name))
            if key(called) != key(name):
                return (
                    f"The label {value} is {called!r} in {other.source.name} and {name!r} in "
                    f"{content.source.name}, as their headers say."
                )
            other, number = by_name.setdefault(key(name), (content, value))
            if number != value:
                return (
                    f"{name!r} is the label {number} in {other.source.name} and {value} in "
                    f"{content.source.name}, as their headers say."
                )
    return ""


def _numbered(named: Mapping[Content, Names]) -> tuple[dict[str, int], dict[str, str]]:
    """A number for each name, in the order in which they come, and how the name is first written."""
    called: dict[str, str] = {}
    for names in named.values():
        for name in names.values():
            called.setdefault(key(name), name)
    return {one: number for number, one in enumerate(called, 1)}, called


def _refuse_other_numbers(named: Mapping[Content, Names], asked: Mapping[str, int]) -> None:
    wanted = {key(name): (name, value) for name, value in asked.items()}
    wrong = [
        (content, name, value)
        for content, names in named.items()
        for value, name in names.items()
        if key(name) in wanted and wanted[key(name)][1] != value
    ]
    if wrong:
        content, name, value = wrong[0]
        files = sorted({str(content.source.name) for content, *_ in wrong})
        raise DataError(
            f"{content.source} says in its header that {name!r} is {value}, not {wanted[key(name)][1]} "
            f"({some(files)}). Leave out --labels: then labels go by the names in the files."
        )
