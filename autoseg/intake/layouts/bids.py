"""BIDS: one folder a subject (and session), what a file is in its name, labels among the derivatives.

``sub-01/ses-02/anat/sub-01_ses-02_FLAIR.nii.gz`` is the channel FLAIR of the case sub-01_ses-02; its label is
a file of the same subject and session whose name ends in ``_dseg``, ``_mask`` or another suffix, anywhere in
the data set, as a rule below ``derivatives``. Folds keep the sessions of a subject together.
See https://bids-specification.readthedocs.io (entities, and "Segmentations" among the derivatives).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoseg.errors import DataError
from autoseg.intake.incoming import (
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
from autoseg.intake.nifti_bytes import read_header
from autoseg.names import whole_number
from autoseg.system.files import read_json
from autoseg.system.tables import read_table

# Of label files, the first that is there is taken; the first two are the standard's.
LABEL_SUFFIXES = ("dseg", "mask", "seg", "msk", "lesion", "label", "roi")
_WHOSE = ("sub", "ses")
# Of these several of one kind are usual; the first is taken.
_REPEATS = ("run", "echo", "part")
_NAME = re.compile(r"((?:[A-Za-z]+-[^_]+_)+)([^_]+)")


@dataclass(frozen=True)
class BidsFile:
    """A file's name taken apart.

    Attributes:
        path: where it lies.
        entities: such as sub, ses, acq, run.
        suffix: the last part.
        derived: whether it lies among the derivatives.
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str
    derived: bool

    @property
    def case(self) -> tuple[str, str]:
        """Subject and session."""
        return self.entities["sub"], self.entities.get("ses", "")

    @property
    def channel(self) -> str:
        """What tells it from the other images of its case: ``FLAIR``, ``ce-gad_T1w``."""
        kept = [f"{key}-{value}" for key, value in self.entities.items() if key not in (*_WHOSE, *_REPEATS)]
        return "_".join((*kept, self.suffix))

    @property
    def repeat(self) -> tuple[str, ...]:
        """Its run and the like."""
        return tuple(self.entities.get(key, "") for key in _REPEATS)


class Bids(Layout):
    """BIDS, with the labels among the derivatives."""

    looks_like = "sub-01/anat/... and labels in derivatives"
    order = 30

    def recognise(self, source: Path) -> str:
        """By its description, or by folders of subjects."""
        if (source / "dataset_description.json").is_file():
            return "it has a dataset_description.json."
        subjects = [path.name for path in sorted(source.glob("sub-*")) if path.is_dir()]
        if subjects and any(source.glob("sub-*/**/sub-*.nii*")):
            return f"it has folders of subjects ({some(subjects)}) with files named after them."
        return ""

    def read(self, source: Path, request: Request) -> Incoming:
        """See `read_bids`."""
        return read_bids(source, request)


def read_bids(source: Path, request: Request) -> Incoming:
    """Describe a BIDS data set as it will be written.

    Raises:
        DataError: if there are no labels, no channel that all labelled cases have, or several labels a case.
    """
    files = [file for path in files_below(source) if (file := _parsed(path, source))]
    suffix = _label_suffix(files, request, source)
    labels = _labels([file for file in files if file.suffix == suffix])
    images = [file for file in files if not file.derived and file.suffix not in (*LABEL_SUFFIXES, suffix)]
    by_case = _by_case(images)
    channels, notes = _channels(by_case, labels, request)
    keys = [key for key in by_case if all(channel in by_case[key] for channel in channels)]
    missing = sorted(set(labels) - set(keys))
    names = identifiers(
        [_case_name(key) for key in keys], [by_case[key][channels[0]][0].path for key in keys]
    )
    cases = [
        IncomingCase(
            name,
            tuple(_content(by_case[key][channel], labels.get(key)) for channel in channels),
            Content(labels[key].path) if key in labels else None,
            key[0],
        )
        for key, name in zip(keys, names, strict=True)
    ]
    notes = [
        *notes,
        f"Labels are the files that end in _{suffix}; folds keep each subject's sessions together.",
    ]
    if missing:
        notes.append(f"{len(missing)} labelled cases lack a channel and are left out: {some(missing)}.")
    incoming = Incoming(
        channels=tuple(channels),
        labels={},
        file_ending=_ending(cases),
        cases=tuple(case for case in cases if case.label),
        unlabelled=tuple(case for case in cases if not case.label),
        about=_about(source),
        extras={
            f"source_{name}": source / name
            for name in ("participants.tsv", "README")
            if (source / name).is_file()
        },
        notes=tuple(notes),
    )
    incoming = with_labels(incoming, request, _table_of_names(source, suffix))
    taken = {content.source for content in incoming.contents}
    left = tuple(file.path for file in files if file.path not in taken)
    return replace(incoming, left_out=left)


def _parsed(path: Path, source: Path) -> BidsFile | None:
    match = _NAME.fullmatch(stem_of(path)) if ending_of(path) in (".nii", ".nii.gz") else None
    if match is None or not match[1].startswith("sub-"):
        return None
    pairs = [part.partition("-") for part in match[1].strip("_").split("_")]
    derived = "derivatives" in path.relative_to(source).parts
    return BidsFile(path, {key: value for key, _, value in pairs}, match[2], derived)


def _label_suffix(files: Sequence[BidsFile], request: Request, source: Path) -> str:
    if request.label_suffix:
        wanted = request.label_suffix.lstrip("_")
        if not any(file.suffix == wanted for file in files):
            there = sorted({file.suffix for file in files})
            raise DataError(f"{source} has no file that ends in _{wanted}. There are: {', '.join(there)}.")
        return wanted
    for suffix in LABEL_SUFFIXES:
        if any(file.suffix == suffix for file in files):
            return suffix
    found = ", ".join(sorted({file.suffix for file in files})) or "no images"
    raise DataError(
        f"{source} has no labels: no file that ends in _{', _'.join(LABEL_SUFFIXES)}. Name the ending of "
        f"theirs with --label-suffix; there are: {found}."
    )


def _labels(files: Sequence[BidsFile]) -> dict[tuple[str, str], BidsFile]:
    found: dict[tuple[str, str], BidsFile] = {}
    for file in files:
        first = found.setdefault(file.case, file)
        if first is not file:
            raise DataError(
                f"{first.path} and {file.path} are both labels of {_case_name(file.case)}. Keep one of them "
                f"in a copy of the data set, or unite them into one file with a value for each label."
            )
    return found


def _by_case(images: Sequence[BidsFile]) -> dict[tuple[str, str], dict[str, list[BidsFile]]]:
    found: dict[tuple[str, str], dict[str, list[BidsFile]]] = {}
    for file in sorted(images, key=lambda file: (file.case, file.repeat)):
        found.setdefault(file.case, {}).setdefault(file.channel, []).append(file)
    return found


def _channels(
    by_case: Mapping[tuple[str, str], Mapping[str, Sequence[BidsFile]]],
    labels: Mapping[tuple[str, str], BidsFile],
    request: Request,
) -> tuple[list[str], list[str]]:
    counts = Counter(channel for case in labels for channel in by_case.get(case, {}))
    listed = ", ".join(f"{channel} ({count})" for channel, count in counts.most_common())
    if request.channels:
        if unknown := [channel for channel in request.channels if channel not in counts]:
            raise DataError(f"No labelled case has the channel {unknown[0]}. There are: {listed or 'none'}.")
        return list(request.channels), []
    flat = {channel for channel in counts if _is_volume(channel, by_case)}
    everywhere = sorted((c for c in flat if counts[c] == len(labels)), key=lambda name: (name.lower(), name))
    if not everywhere:
        raise DataError(
            f"None of the images is there for all {len(labels)} labelled cases: {listed or 'none'}. "
            f"Choose with --channels; cases that lack one are left out."
        )
    rest = [channel for channel in counts if channel not in everywhere]
    notes = [f"Every labelled case has the channels {', '.join(everywhere)}."]
    if rest:
        notes.append(f"Left out are {some(rest, 8)}: not there for all cases, or 4D. Choose with --channels.")
    repeated = [c for c in everywhere if any(len(case.get(c, ())) > 1 for case in by_case.values())]
    if repeated:
        notes.append(f"Of several runs of {', '.join(repeated)} the label's own or the first is taken.")
    return everywhere, notes


def _is_volume(channel: str, by_case: Mapping[tuple[str, str], Mapping[str, Sequence[BidsFile]]]) -> bool:
    files = next(case[channel] for case in by_case.values() if channel in case)
    header = read_header(files[0].path)
    return header is None or header.volumes == 1


def _content(files: Sequence[BidsFile], label: BidsFile | None) -> Content:
    own = [file for file in files if label is not None and file.repeat == label.repeat]
    return Content((own or list(files))[0].path)


def _ending(cases: Sequence[IncomingCase]) -> str:
    endings = {
        ending_of(c.source) for case in cases for c in (*case.images, *([case.label] if case.label else []))
    }
    return ".nii" if endings == {".nii"} else ".nii.gz"


def _case_name(key: tuple[str, str]) -> str:
    return f"sub-{key[0]}" + (f"_ses-{key[1]}" if key[1] else "")


def _table_of_names(source: Path, suffix: str) -> dict[int, str]:
    """What the data set itself calls the values: a table of index and name beside the segmentations."""
    found: defaultdict[int, dict[str, None]] = defaultdict(dict)
    for path in files_below(source):
        if path.name.endswith(f"{suffix}.tsv"):
            for _, row in read_table(path)[1]:
                value = whole_number(row.get("index"))
                if value is not None and row.get("name"):
                    found[value][row["name"]] = None
    # A table for each case may call one number differently: then none of them holds for all.
    if any(len(names) > 1 for names in found.values()):
        return {}
    return {value: next(iter(names)) for value, names in found.items() if value}


def _about(source: Path) -> dict[str, Any]:
    path = source / "dataset_description.json"
    content = read_json(path, finite=False) if path.is_file() else {}
    kept = {
        "name": content.get("Name"),
        "licence": content.get("License"),
        "reference": content.get("DatasetDOI"),
    }
    return {key: value for key, value in kept.items() if value}
