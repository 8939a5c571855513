"""Options of an import, and what it will write: every file of a raw folder and where it comes from.

A layout only looks and describes; `autoseg.intake.conversion` checks that and writes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autoseg.errors import DataError

if TYPE_CHECKING:
    from autoseg.data.dicom import Drawing, Stack
    from autoseg.intake.pseudonyms import Pseudonyms

Orientation = Literal["sform", "qform"]

# Formats that carry a position in space, and pictures; longest endings first, or .nii would take .nii.gz.
MEDICAL = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".gipl")
PICTURES = (".png", ".bmp", ".gif", ".jpg", ".jpeg", ".tiff", ".tif")
# What desktops, archives and version control leave behind.
_DEBRIS = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Request:
    """Options of an import, beside the source and the name.

    Attributes:
        groups: table of case and group.
        labels: names of the label values in the source's files; empty: found or declared there.
        label_suffix: BIDS: the last part of the label files' names.
        channels: BIDS and DICOM: which images make up a case, in order; empty: those that every case has.
        resample: whether images that lie on another grid than their label are resampled onto it.
        orientation: which of the two positions in a NIfTI header is right, where they contradict each other.
        by_voxels: whether files are laid over each other by voxels, whatever their headers say of direction.
        link: whether files that need no change become symbolic links instead of copies.
        workers: processes.
        own: values of the layout's own options, by name.
        segmentation: DICOM: which SEG or RTSTRUCT objects are the labels, by their names.
        rename: DICOM: names of structures, and what they are called instead.
        pseudonyms: names of cases that say nothing of patients; the import fills them in.
    """

    groups: Path | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    label_suffix: str | None = None
    channels: tuple[str, ...] = ()
    resample: bool = False
    orientation: Orientation | None = None
    by_voxels: bool = False
    link: bool = False
    workers: int | None = None
    own: Mapping[str, str] = field(default_factory=dict)
    segmentation: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    pseudonyms: Pseudonyms | None = field(default=None, compare=False, repr=False)

    def options(self) -> dict[str, Any]:
        """What the result depends on, for the record of the import."""
        return {
            "groups": str(self.groups.resolve()) if self.groups else None,
            "labels": dict(self.labels),
            "label_suffix": self.label_suffix,
            "channels": list(self.channels),
            "resample": self.resample,
            "orientation": self.orientation,
            **({"by_voxels": True} if self.by_voxels else {}),
            "link": self.link,
            **({"own": dict(self.own)} if self.own else {}),
            **({"segmentation": list(self.segmentation)} if self.segmentation else {}),
            **({"rename": dict(self.rename)} if self.rename else {}),
        }


@dataclass(frozen=True)
class Content:
    """What one file of the raw folder is made of; nothing but `source`: it is taken as it is.

    Attributes:
        source: a file; of a DICOM series the first slice, of DICOM labels their object.
        volume: one of a 4D file's volumes.
        stack: a volume of DICOM.
        drawing: labels of DICOM objects, on the grid of their volume.
        suv: whether a PET volume is written in standardised uptake values.
        bare: whether texts in the header, which may say who a patient is, are left behind.
        upon: the volume that a label lies upon, voxel for voxel of its slices as they are stored.
        codes: pairs of label values, in the file and in the data set; not empty: the label is rewritten.
        onto: resampled onto the grid of this file.
        turned: permuted and flipped, without loss, to be stored as this file is.
        structures: masks of single structures, each with the label that its voxels get.
        united: further masks of the same picture, which are united with this one.
        orientation: which position in the header holds.
        mode: the mode that a picture is converted to, as Pillow calls it.
    """

    source: Path
    volume: int | None = None
    stack: Stack | None = None
    drawing: Drawing | None = None
    suv: bool = False
    bare: bool = False
    upon: Stack | None = None
    codes: tuple[tuple[int, int], ...] = ()
    onto: Content | None = None
    orientation: Orientation | None = None
    mode: str = ""
    turned: Content | None = None
    united: tuple[Path, ...] = ()
    structures: tuple[tuple[Path, int], ...] = ()


@dataclass(frozen=True)
class IncomingCase:
    """One case: a content for each image file, and one for its label if it has one."""

    identifier: str
    images: tuple[Content, ...]
    label: Content | None = None
    group: str | None = None


@dataclass(frozen=True)
class Incoming:
    """A data set as it will be written.

    Attributes:
        channels: names in order; a picture in colour has three in one file.
        labels: as dataset.json has them.
        file_ending: the ending of all files that are written.
        cases: what goes to imagesTr and labelsTr.
        tests: what goes to imagesTs and labelsTs.
        unlabelled: what goes to imagesUn.
        about: further entries of dataset.json.
        extras: further files by their place in the raw folder.
        texts: contents of further small files by their place there.
        notes: what was decided, in sentences.
        left_out: files of the source that no file is made of.
        reasons: why, where that is known.
        remarks: notes that name files of the source; shown, but not recorded.
        private: whether names and paths of the source may say who a patient is: none is recorded.
        layout: which one it was read as; the import fills it in.
    """

    channels: tuple[str, ...]
    labels: Mapping[str, Any]
    file_ending: str
    cases: tuple[IncomingCase, ...]
    tests: tuple[IncomingCase, ...] = ()
    unlabelled: tuple[IncomingCase, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Path] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: tuple[Path, ...] = ()
    reasons: Mapping[Path, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    private: bool = False
    layout: str = ""

    @property
    def parts(self) -> tuple[tuple[str, tuple[IncomingCase, ...]], ...]:
        """The cases by the ending of their folders' names."""
        return ("Tr", self.cases), ("Ts", self.tests), ("Un", self.unlabelled)

    @property
    def contents(self) -> Iterator[Content]:
        """Every image and label."""
        for _, cases in self.parts:
            for case in cases:
                yield from case.images
                if case.label:
                    yield case.label

    @property
    def references(self) -> tuple[Content, ...]:
        """Every label."""
        return tuple(case.label for _, cases in self.parts for case in cases if case.label)

    def with_contents(
        self, change: Callable[[Content], Content], change_label: Callable[[Content], Content] | None = None
    ) -> Incoming:
        """The same with every image, and every label, changed."""

        def changed(case: IncomingCase) -> IncomingCase:
            label = (change_label or change)(case.label) if case.label else None
            return replace(case, images=tuple(map(change, case.images)), label=label)

        return replace(
            self,
            cases=tuple(map(changed, self.cases)),
            tests=tuple(map(changed, self.tests)),
            unlabelled=tuple(map(changed, self.unlabelled)),
        )


def ending_of(path: Path) -> str:
    """The image ending of a file, lower case; empty if it is not an image."""
    name = path.name.lower()
    return next((ending for ending in (*MEDICAL, *PICTURES) if name.endswith(ending)), "")


def stem_of(path: Path) -> str:
    """The name without its image ending."""
    return path.name[: len(path.name) - len(ending_of(path))]


def files_below(folder: Path) -> Iterator[Path]:
    """All files of a folder and those in it, sorted; without hidden ones and debris of archives.

    macOS writes a ``._name`` beside each file on foreign disks, with an image's ending and no image in it.
    Links to folders are followed once; what is not a file (a pipe, a link to nothing) is left out.
    """
    yield from (path for path in _entries_below(folder) if path.is_file())


def broken_links_below(folder: Path) -> list[Path]:
    """The links that point to nothing, such as files that DataLad or git-annex has not fetched."""
    return [path for path in _entries_below(folder) if path.is_symlink() and not path.exists()]


def oddities_below(folder: Path) -> list[tuple[Path, str]]:
    """What `files_below` passes over because it is no file, each with what it is instead."""
    return [(path, _oddity(path)) for path in _entries_below(folder) if not path.is_file()]


def _oddity(path: Path) -> str:
    if path.is_symlink():
        try:
            path.resolve(strict=True)
        except FileNotFoundError:
            return "a link to nothing"
        except (OSError, RuntimeError):
            return "a link that leads back to itself"
    kinds = {"a pipe": path.is_fifo, "a socket": path.is_socket}
    return next((name for name, holds in kinds.items() if holds()), "no regular file")


def _entries_below(folder: Path) -> Iterator[Path]:
    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        entered = []
        for name in sorted(name for name in folders if not _debris(name)):
            real = os.path.realpath(os.path.join(place, name))
            if real not in seen:
                seen.add(real)
                entered.append(name)
        folders[:] = entered
        yield from (Path(place, name) for name in sorted(names) if not _debris(name))


def _debris(name: str) -> bool:
    return name.startswith(".") or name in _DEBRIS


def identifiers(names: Sequence[str], what: Sequence[Path]) -> list[str]:
    """Names fit for files, one a case.

    Raises:
        DataError: if two would be the same.
    """
    found: dict[str, Path] = {}
    for name, path in zip(names, what, strict=True):
        plain = re.sub(r"[^\w.+-]+", "_", name).strip("_") or "case"
        if plain in found:
            raise DataError(
                f"{found[plain]} and {path} would both be the case {plain!r}. Rename one of the two."
            )
        found[plain] = path
    return list(found)


def some(items: Sequence[object], most: int = 3) -> str:
    """The first of a list, in words."""
    listed = ", ".join(str(item) for item in items[:most])
    return f"{listed} and {len(items) - most} more" if len(items) > most else listed
