"""Files of a raw folder that end otherwise than dataset.json says: what a copy can convert."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.intake.contents import label_array
from autoseg.intake.incoming import MEDICAL, PICTURES, Content, IncomingCase, ending_of, some, stem_of
from autoseg.intake.picture_modes import mode_of

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def with_other_endings(
    root: Path, part: str, cases: Sequence[IncomingCase], about: Mapping[str, Any]
) -> tuple[tuple[IncomingCase, ...], tuple[str, ...]]:
    """The cases of a part (``Tr``, ``Ts``, ``Un``), those included whose files have another format.

    Args:
        root: the raw folder.
        part: which cases.
        cases: those that are named as dataset.json says; their files may be missing.
        about: dataset.json: ``file_ending``, ``channel_names`` (or ``modality``) and ``labels``.

    Returns:
        The cases, and what is said of them.
    """
    ending = str(about["file_ending"])
    labels = _by_stem(root / f"labels{part}", ending)
    images = _by_stem(root / f"images{part}", ending)
    found = [_filled(case, labels, images, about) for case in cases]
    # In lists of dataset.json every file is named; what else lies there is no case.
    if not about.get("dataset"):
        channels = len(about.get("channel_names") or about.get("modality") or ())
        known = {case.identifier for case in cases}
        found += [
            IncomingCase(name, images_of, _label(labels.get(name), about))
            for name, images_of in _new(images, known, channels)
        ]
    changed = [
        content.source
        for case in found
        for content in (*case.images, *([case.label] if case.label else []))
        if ending_of(content.source) != ending
    ]
    notes: tuple[str, ...] = ()
    notes += (f"{len(changed)} files are converted to {ending}: {some(changed)}.",) if changed else ()
    white = sum(
        (255, 255) not in case.label.codes and 255 in dict(case.label.codes) for case in found if case.label
    )
    notes += (f"{white} masks of 0 and 255 are written with their label's value.",) if white else ()
    return tuple(sorted(found, key=lambda case: case.identifier)), notes


def _by_stem(folder: Path, ending: str) -> dict[str, Path]:
    """Files that could be converted, by their names without ending."""
    family = MEDICAL if ending in MEDICAL else PICTURES
    return {
        stem_of(path): path
        for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if path.is_file() and not path.name.startswith(".") and ending_of(path) in family
        if ending_of(path) != ending or not path.name.endswith(ending)
    }


def _filled(
    case: IncomingCase, labels: Mapping[str, Path], images: Mapping[str, Path], about: Mapping[str, Any]
) -> IncomingCase:
    label = case.label
    if label is not None and not label.source.is_file():
        label = _label(labels.get(case.identifier), about) or label
    beside = {
        number: path for number in range(100) if (path := images.get(f"{case.identifier}_{number:04d}"))
    }
    there = {int(match[2]): c for c in case.images if (match := _CHANNEL.fullmatch(stem_of(c.source)))}
    lacking = {number: Content(path) for number, path in beside.items() if number not in there}
    if not lacking or len(there) != len(case.images):
        return replace(case, label=label)
    whole = {**there, **lacking}
    return replace(case, label=label, images=tuple(whole[number] for number in sorted(whole)))


def _label(path: Path | None, about: Mapping[str, Any]) -> Content | None:
    """A label of another format; values that are not declared are refused when it is written."""
    if path is None:
        return None
    values = sorted(_values(about["labels"]))
    codes = tuple((value, value) for value in values)
    # A mask in black and white has the one label that there is.
    if len(values) == 2 and 255 not in values and set(np.unique(label_array(Content(path)))) <= {0, 255}:
        codes = ((0, 0), (255, values[1]))
    return Content(path, codes=codes)


def _values(labels: Mapping[str, Any]) -> set[int]:
    return {
        int(value) for given in labels.values() for value in (given if isinstance(given, list) else [given])
    } | {0}


def _new(
    images: Mapping[str, Path], known: set[str], channels: int
) -> Iterator[tuple[str, tuple[Content, ...]]]:
    """Cases all of whose images have another format."""
    found = defaultdict[str, dict[int, Path]](dict)
    for stem, path in images.items():
        if (match := _CHANNEL.fullmatch(stem)) and match[1] not in known:
            found[match[1]][int(match[2])] = path
    for name, numbered in found.items():
        if sorted(numbered) == list(range(channels)) or len(numbered) == 1:
            yield name, tuple(Content(numbered[number]) for number in sorted(numbered))


def alike(cases: Sequence[IncomingCase], ending: str) -> tuple[IncomingCase, ...]:
    """The same cases, pictures of another format in the mode of those that need no change."""
    paths = [content.source for case in cases for content in case.images]
    example = next((path for path in paths if ending_of(path) == ending), None)
    if ending not in PICTURES or example is None or all(ending_of(path) == ending for path in paths):
        return tuple(cases)
    wanted = mode_of(example)

    def changed(content: Content) -> Content:
        if ending_of(content.source) == ending or mode_of(content.source) == wanted:
            return content
        return replace(content, mode=wanted)

    return tuple(replace(case, images=tuple(map(changed, case.images))) for case in cases)
