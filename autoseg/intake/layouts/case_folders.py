"""A folder for each case, with the same files in each: case_1/imaging.nii.gz, case_1/segmentation.nii.gz.

Names may repeat that of the folder (Subj1/Subj1_t1.nii.gz, Subj1_flair, Subj1_seg). Instead of one
label there may be a folder of masks, one file for each structure (s1/segmentations/liver.nii.gz).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autoseg.errors import DataError
from autoseg.intake.incoming import (
    MEDICAL,
    Content,
    Incoming,
    IncomingCase,
    Request,
    ending_of,
    identifiers,
    some,
    stem_of,
)
from autoseg.intake.label_values import with_labels
from autoseg.intake.layout import Layout

_LABEL = re.compile(r"(.*[_. -])?(mask|seg|segmentation|label|labels|gt|annotation|dseg)", re.IGNORECASE)
_STRUCTURES = ("segmentations", "segmentation", "masks", "labels", "structures")
_FEWEST = 2


@dataclass(frozen=True)
class _Folder:
    """The files of one case by what their names say beside the folder's own."""

    path: Path
    channels: Mapping[str, Path] = field(default_factory=dict)
    label: Path | None = None
    structures: Mapping[str, Path] = field(default_factory=dict)


class CaseFolders(Layout):
    """A folder for each case, with the same files in each."""

    looks_like = "case_1/imaging.nii.gz and case_1/segmentation.nii.gz, the same names in each folder"
    # Before pairs by names, which would take the files of several folders for one another's.
    order = 85

    def recognise(self, source: Path) -> str:
        """By the same names in folder after folder."""
        found = _folders(source)
        if len(found) < _FEWEST or not _common(found):
            return ""
        if not all(folder.label or folder.structures for folder in found):
            return ""
        label = found[0].label or found[0].path / "..."
        return f"{len(found)} folders hold {', '.join(_common(found))} and a label ({label.name})."

    def read(self, source: Path, request: Request) -> Incoming:
        """See `read_case_folders`."""
        return read_case_folders(source, request)


def read_case_folders(source: Path, request: Request) -> Incoming:
    """Describe folders of cases as they will be written.

    Raises:
        DataError: if no image is there in all of them, or labels are given in two ways.
    """
    found = _folders(source)
    channels = list(request.channels) or _common(found)
    if not channels:
        raise DataError(
            f"The folders of {source} have no image of one name in all of them. Name the files alike."
        )
    complete = [folder for folder in found if set(channels) <= folder.channels.keys()]
    names = identifiers([folder.path.name for folder in complete], [folder.path for folder in complete])
    structures = sorted({name for folder in complete for name in folder.structures})
    cases = [
        IncomingCase(
            name,
            tuple(Content(folder.channels[channel]) for channel in channels),
            _label(folder, structures),
        )
        for folder, name in zip(complete, names, strict=True)
    ]
    taken = {path for folder in complete for path in (folder.channels[c] for c in channels)}
    notes = [f"Each case has the images {', '.join(channels)}."]
    if len(complete) < len(found):
        rest = [folder.path.name for folder in found if folder not in complete]
        notes.append(f"{len(rest)} folders lack one of them and are left out: {some(rest)}.")
    incoming = Incoming(
        channels=tuple(channels),
        labels={"background": 0, **{name: number for number, name in enumerate(structures, 1)}},
        file_ending=_ending(cases),
        cases=tuple(case for case in cases if case.label),
        unlabelled=tuple(case for case in cases if not case.label),
        notes=tuple(notes),
        left_out=tuple(p for folder in found for p in folder.channels.values() if p not in taken),
    )
    return incoming if structures else with_labels(incoming, request)


def _folders(source: Path) -> list[_Folder]:
    found = []
    for path in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")):
        folder = _folder(path)
        if folder.channels:
            found.append(folder)
    return found


def _folder(path: Path) -> _Folder:
    channels: dict[str, Path] = {}
    label: Path | None = None
    for file in sorted(path.iterdir()):
        if not file.is_file() or ending_of(file) not in MEDICAL or file.name.startswith("."):
            continue
        name = stem_of(file).removeprefix(path.name).strip("_. -") or "image"
        match = _LABEL.fullmatch(name)
        if match and match[1] is None and label is None:
            label = file
        elif match is None:
            channels[name] = file
        else:
            # A label of one of several images (frame01_gt): these are pairs, not one case.
            return _Folder(path)
    inside = next((path / name for name in _STRUCTURES if (path / name).is_dir()), None)
    structures = (
        {stem_of(file): file for file in sorted(inside.iterdir()) if ending_of(file) in MEDICAL}
        if inside is not None and label is None
        else {}
    )
    return _Folder(path, channels, label, structures)


def _common(found: Sequence[_Folder]) -> list[str]:
    """The images that all folders with a label have."""
    labelled = [folder for folder in found if folder.label or folder.structures]
    if not labelled:
        return []
    return [name for name in labelled[0].channels if all(name in folder.channels for folder in labelled)]


def _label(folder: _Folder, structures: Sequence[str]) -> Content | None:
    if folder.label is not None:
        return Content(folder.label)
    parts = tuple(
        (folder.structures[name], number)
        for number, name in enumerate(structures, 1)
        if name in folder.structures
    )
    return Content(parts[0][0], structures=parts) if parts else None


def _ending(cases: Sequence[IncomingCase]) -> str:
    endings = {
        ending_of(c.source) for case in cases for c in (*case.images, *([case.label] if case.label else []))
    }
    return (
        endings.pop() if len(endings) == 1 and endings <= {".nii.gz", ".nii", ".mha", ".nrrd"} else ".nii.gz"
    )
