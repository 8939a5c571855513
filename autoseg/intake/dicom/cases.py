"""Which series make up a case, and what it is called.

Series are told apart by their UIDs; folders only name them, and match them with label files. What is written
has pseudonyms, unless the names of folders are requested.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dicom import Stack
from autoseg.errors import DataError
from autoseg.intake.incoming import Request, identifiers, some
from autoseg.intake.pseudonyms import Pseudonyms

# What the planner knows by another name than DICOM does.
CHANNELS = {"MR": "MRI", "PT": "PET", "US": "ultrasound"}
_SHORTEST_TELLTALE = 3


@dataclass(frozen=True)
class SeriesCase:
    """A case.

    Attributes:
        identifier: what its files are called in the raw folder.
        name: by the folder that its series lie in; for messages, and for label files of this name.
        place: that folder.
        stacks: a volume for each channel.
        group: a pseudonym of the patient; empty if none is stated.
    """

    identifier: str
    name: str
    place: Path
    stacks: tuple[Stack, ...]
    group: str


def cases_of(
    stacks: Sequence[Stack], request: Request, source: Path, pseudonyms: Pseudonyms
) -> tuple[list[SeriesCase], tuple[str, ...]]:
    """Cases, and the names of their channels.

    Raises:
        DataError: if a case lacks a channel or has two, if series of several kinds come without a word on
            what makes up a case, or if names of folders tell who the patient is.
    """
    if request.channels:
        found, channels = _by_channel(stacks, request, source), request.channels
    else:
        found, channels = _each(stacks, source)
    if request.own.get("values") == "suv":
        channels = tuple(
            _with_suv(name, parts) for name, parts in zip(channels, zip(*found, strict=True), strict=True)
        )
    named = _named(found, source)
    if request.own.get("names") == "folders":
        _refuse_telltale(named, source)
        called = identifiers([name for name, _, _ in named], [place for _, place, _ in named])
    else:
        called = [_pseudonym(parts, pseudonyms) for _, _, parts in named]
    groups = _groups([parts for _, _, parts in named], pseudonyms)
    cases = [
        SeriesCase(identifier, name, place, parts, group)
        for identifier, (name, place, parts), group in zip(called, named, groups, strict=True)
    ]
    return cases, channels


def _with_suv(channel: str, stacks: Sequence[Stack]) -> str:
    """A channel's name with SUV in it, by which predictions know that PET is to be turned into it."""
    pet = any(stack.header.modality == "PT" for stack in stacks)
    return f"{channel}_SUV" if pet and "suv" not in channel.casefold() else channel


def common_folder(stacks: Iterable[Stack]) -> Path:
    """The innermost folder that holds all files of some volumes."""
    folders = {str(folder) for stack in stacks for folder in stack.folders}
    return Path(os.path.commonpath(folders))


def called(stack: Stack) -> str:
    """What a series is called: by its description, else by its folder."""
    return stack.header.description or common_folder([stack]).name


def _each(stacks: Sequence[Stack], source: Path) -> tuple[list[tuple[Stack, ...]], tuple[str, ...]]:
    kinds = Counter(stack.header.modality for stack in stacks)
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} ({count})" for kind, count in kinds.items())
        names = sorted({called(stack) for stack in stacks})
        raise DataError(
            f"{source} has series of several kinds: {listed}. Say which make up a case: --channels NAME,NAME "
            f"with names of folders, of series or of kinds; there are {some(names, 12)}."
        )
    (kind,) = kinds
    return [(stack,) for stack in stacks], (CHANNELS.get(kind, kind or "image"),)


def _by_channel(stacks: Sequence[Stack], request: Request, source: Path) -> list[tuple[Stack, ...]]:
    """The volumes of each case in the order of the channels: of one study, else of one folder."""
    channel_of = {stack: channel for stack in stacks if (channel := _channel(stack, request.channels))}
    if not channel_of:
        names = sorted({called(stack) for stack in stacks})
        raise DataError(f"No series is called {request.channels[0]}. There are {some(names, 12)}.")
    studies = _gathered({stack: stack.header.study for stack in channel_of})
    folders = _gathered({stack: str(_above(stack, channel)) for stack, channel in channel_of.items()})
    by_study = _complete(studies, channel_of, request.channels)
    if isinstance(by_study, DataError):
        by_folder = _complete(folders, channel_of, request.channels)
        if isinstance(by_folder, DataError):
            raise by_folder
        return by_folder
    return by_study


def _channel(stack: Stack, channels: Sequence[str]) -> str:
    header = stack.header
    kinds = (header.modality, CHANNELS.get(header.modality, ""))
    folders = {folder.name for folder in stack.folders}
    for names in (folders, {header.description}, {stack.part}, set(kinds)):
        if fitting := [channel for channel in channels if channel in names]:
            return fitting[0]
    return ""


def _above(stack: Stack, channel: str) -> Path:
    place = common_folder([stack])
    return place.parent if place.name == channel else place


def _gathered(keys: Mapping[Stack, str]) -> dict[str, list[Stack]]:
    found = defaultdict[str, list[Stack]](list)
    for stack, key in keys.items():
        found[key].append(stack)
    return found


def _complete(
    gathered: Mapping[str, Sequence[Stack]], channel_of: Mapping[Stack, str], channels: Sequence[str]
) -> list[tuple[Stack, ...]] | DataError:
    cases = []
    for stacks in gathered.values():
        above = {str(_above(stack, channel_of[stack])) for stack in stacks}
        place = os.path.commonpath(above)
        counts = Counter(channel_of[stack] for stack in stacks)
        if double := [channel for channel, count in counts.items() if count > 1]:
            listed = some([str(stack) for stack in stacks if channel_of[stack] == double[0]])
            return DataError(f"{place} has several series {double[0]}: {listed}. Put all but one elsewhere.")
        if lacking := [channel for channel in channels if channel not in counts]:
            return DataError(f"{place} has no series {lacking[0]}. Add it, or import without this case.")
        parts = {channel_of[stack]: stack for stack in stacks}
        cases.append(tuple(parts[channel] for channel in channels))
    return cases


def _named(found: Sequence[tuple[Stack, ...]], source: Path) -> list[tuple[str, Path, tuple[Stack, ...]]]:
    """Each case with its folder, and a name by it: with a number where the folder holds several."""
    places = [common_folder(parts) for parts in found]
    in_folder = Counter(places)
    numbers = Counter[Path]()
    named = []
    for place, parts in zip(places, found, strict=True):
        numbers[place] += 1
        number = f"_{numbers[place]}" if in_folder[place] > 1 else ""
        words = place.relative_to(source).parts or (source.name,)
        named.append(("_".join(words) + number, place, parts))
    return named


def _pseudonym(parts: Sequence[Stack], pseudonyms: Pseudonyms) -> str:
    patient = _patient(parts[0])
    what = [text for stack in parts for text in (stack.header.series, stack.part)]
    return f"p{pseudonyms.of('patient', *patient)}_s{pseudonyms.of('series', *what)}"


def _patient(stack: Stack) -> tuple[str, ...]:
    header = stack.header
    return ("patient", header.patient) if header.patient else ("study", header.study)


def _groups(found: Sequence[Sequence[Stack]], pseudonyms: Pseudonyms) -> list[str]:
    """A pseudonym for each case's patient, where some patient has several cases and all are known."""
    patients = [parts[0].header.patient for parts in found]
    counts = Counter(patients)
    if "" in counts or len(counts) < 2 or counts.most_common(1)[0][1] == 1:
        return [""] * len(found)
    return [f"p{pseudonyms.of('patient', *_patient(parts[0]))}" for parts in found]


def _refuse_telltale(named: Sequence[tuple[str, Path, tuple[Stack, ...]]], source: Path) -> None:
    """Names of folders are taken only if they hold nothing that a header says of the patient."""
    for name, place, parts in named:
        plain = _plain(name)
        for stack in parts:
            told = [text for text in stack.header.identities if len(_plain(text)) >= _SHORTEST_TELLTALE]
            if any(_plain(text) in plain for text in told):
                raise DataError(
                    f"The name of the folder {place.relative_to(source)} holds what a header there says of "
                    f"the patient. Rename the folder, or import without names=folders: cases get pseudonyms."
                )


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())
