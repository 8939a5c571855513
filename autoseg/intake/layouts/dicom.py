"""DICOM: each series becomes a volume; labels are images of another format, named like the case or beside it.

By default every series is a case of one channel. With ``--channels T1,T2`` the cases are the folders that
hold series of these names (the folder's, or the series description).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from autoseg.errors import DataError
from autoseg.intake.dicom_series import (
    DESCRIPTION,
    MODALITY,
    PATIENT,
    Series,
    describe,
    find_series,
    is_dicom,
)
from autoseg.intake.incoming import (
    MEDICAL,
    Content,
    Incoming,
    IncomingCase,
    Request,
    ending_of,
    files_below,
    identifiers,
    some,
    stem_of,
)
from autoseg.intake.label_values import with_labels
from autoseg.intake.layout import Layout

# What the planner knows by another name than DICOM does.
_CHANNELS = {"MR": "MRI", "PT": "PET", "US": "ultrasound"}
# Files that are searched for DICOM, which no name gives away.
_SEARCHED = 200


class Dicom(Layout):
    """Series of DICOM slices, each a volume."""

    looks_like = "series in folders"
    order = 40

    def recognise(self, source: Path) -> str:
        """By the first DICOM file."""
        found = next((path for path in islice(files_below(source), _SEARCHED) if is_dicom(path)), None)
        return "" if found is None else f"{found.relative_to(source)} is a DICOM file."

    def read(self, source: Path, request: Request) -> Incoming:
        """See `read_dicom`."""
        return read_dicom(source, request)


def read_dicom(source: Path, request: Request) -> Incoming:
    """Describe a folder of DICOM series as it will be written.

    Raises:
        DataError: if a series is not whole, a case lacks a channel, or there is neither a label nor a name
            for those that are to be drawn.
    """
    files = list(files_below(source))
    series, others = find_series([path for path in files if not ending_of(path) and is_dicom(path)])
    if not series:
        raise DataError(f"{source} has no DICOM image. Give the folder that the series lie in or below.")
    masks = [path for path in files if ending_of(path) in MEDICAL]
    cases, channels = _by_channel(series, request, source) if request.channels else _each(series, source)
    labels = _labels(cases, masks, source)
    patients = _patients(cases)
    incoming_cases = tuple(
        IncomingCase(
            name,
            tuple(Content(part.files[0], slices=part.files) for part in parts),
            Content(labels[name]) if name in labels else None,
            patients.get(name),
        )
        for name, parts in cases.items()
    )
    notes = []
    if others:
        notes.append(
            f"{len(others)} DICOM objects hold no image and are left out ({describe(others)}). Segmentations "
            f"and contours (SEG, RTSTRUCT) have to be converted to NIfTI, named like their case."
        )
    if patients:
        notes.append("Series of one patient are one group; the groups' names say nothing about who it is.")
    incoming = Incoming(
        channels=channels,
        labels={},
        file_ending=".nii.gz",
        cases=tuple(case for case in incoming_cases if case.label),
        unlabelled=tuple(case for case in incoming_cases if not case.label),
        notes=tuple(notes),
        left_out=(*others, *(path for path in masks if path not in labels.values())),
    )
    return with_labels(incoming, request) if labels else _to_be_drawn(incoming, request, source)


def _to_be_drawn(incoming: Incoming, request: Request, source: Path) -> Incoming:
    if not request.labels:
        raise DataError(
            f"{source} has no labels. Put them beside the series, or into labels/, as CASE.nii.gz (here "
            f"{incoming.unlabelled[0].identifier}.nii.gz). To import images that are still to be annotated, "
            f"say what will be drawn: --labels NAME=1. To segment them with a model: autoseg predict."
        )
    labels = {name: number for number, name in enumerate(request.labels, 1)}
    drawn = ", ".join(f"{name} ({value})" for name, value in labels.items())
    note = f"There are no labels yet: draw {drawn} and save them in labelsTr."
    return Incoming(
        layout=incoming.layout,
        channels=incoming.channels,
        labels={"background": 0, **labels},
        file_ending=incoming.file_ending,
        cases=incoming.unlabelled,
        notes=(*incoming.notes, note),
        left_out=incoming.left_out,
    )


def _each(series: Sequence[Series], source: Path) -> tuple[dict[str, tuple[Series, ...]], tuple[str, ...]]:
    """Every series is a case, named by its folder, and by its number there if it is not alone."""
    kinds = Counter(each.tag(MODALITY) for each in series)
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} ({count})" for kind, count in kinds.items())
        names = sorted({_called(each) for each in series})
        raise DataError(
            f"{source} has series of several kinds: {listed}. Say which make up a case: --channels NAME,NAME "
            f"with names of folders or series; there are {some(names, 12)}."
        )
    in_folder = Counter(each.folder for each in series)
    numbers = Counter[Path]()
    names = []
    for each in series:
        parts = each.folder.relative_to(source).parts or (source.name,)
        numbers[each.folder] += 1
        number = f"_{numbers[each.folder]}" if in_folder[each.folder] > 1 else ""
        names.append("_".join(parts) + number)
    names = identifiers(names, [each.folder for each in series])
    (kind,) = kinds
    channel = _CHANNELS.get(kind, kind or "image")
    return {name: (each,) for name, each in zip(names, series, strict=True)}, (channel,)


def _by_channel(
    series: Sequence[Series], request: Request, source: Path
) -> tuple[dict[str, tuple[Series, ...]], tuple[str, ...]]:
    found: dict[Path, dict[str, Series]] = {}
    for each in series:
        for channel in request.channels:
            if channel in (each.folder.name, each.tag(DESCRIPTION)):
                place = each.folder.parent if channel == each.folder.name else each.folder
                first = found.setdefault(place, {}).setdefault(channel, each)
                if first is not each:
                    raise DataError(f"{place} has two series {channel}. Put one of them elsewhere.")
    for place, parts in found.items():
        if lacking := [channel for channel in request.channels if channel not in parts]:
            raise DataError(f"{place} has no series {lacking[0]}. Add it, or import without this case.")
    if not found:
        names = sorted({_called(each) for each in series})
        raise DataError(f"No series is called {request.channels[0]}. There are {some(names, 12)}.")
    wanted = ["_".join(place.relative_to(source).parts) or source.name for place in found]
    names = identifiers(wanted, list(found))
    cases = {
        name: tuple(parts[channel] for channel in request.channels)
        for name, parts in zip(names, found.values(), strict=True)
    }
    return cases, request.channels


def _called(series: Series) -> str:
    return series.tag(DESCRIPTION) or series.folder.name


def _labels(cases: Mapping[str, tuple[Series, ...]], masks: Sequence[Path], source: Path) -> dict[str, Path]:
    """The label of each case: a file of its name anywhere, or the only one in its folder."""
    by_name: dict[str, list[Path]] = {}
    for path in masks:
        bare = re.sub(
            r"[_. -]+(mask|seg|segmentation|label|labels|gt)$", "", stem_of(path), flags=re.IGNORECASE
        )
        for name in {stem_of(path), bare}:
            by_name.setdefault(name, []).append(path)
    found = {}
    for name, parts in cases.items():
        place = parts[0].folder if len(parts) == 1 else parts[0].folder.parent
        beside = (
            [path for path in masks if path.parent == place] if place != source or len(cases) == 1 else []
        )
        wanted = by_name.get(name) or by_name.get(place.name) or beside
        if len(wanted) > 1:
            raise DataError(f"{some(wanted)} could each be the label of {name}. Leave one.")
        if wanted:
            found[name] = wanted[0]
    return found


def _patients(cases: Mapping[str, tuple[Series, ...]]) -> dict[str, str]:
    """Case to a number for its patient, where some patient has several cases and all are known."""
    known = {name: parts[0].tag(PATIENT) for name, parts in cases.items()}
    counts = Counter(known.values())
    if "" in counts or counts.most_common(1)[0][1] == 1:
        return {}
    numbers = {patient: f"patient_{number:04d}" for number, patient in enumerate(counts, 1)}
    return {name: numbers[patient] for name, patient in known.items()}
