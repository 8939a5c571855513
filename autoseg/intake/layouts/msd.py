"""The Medical Segmentation Decathlon's layout, and that of nnU-Net v1, which is built on it.

dataset.json lists the files and names the labels by number: ``{"0": "background", "1": "Anterior"}``. A case
of several channels is one 4D file, or in nnU-Net v1 one file a channel (``CASE_0000.nii.gz``) though the list
names ``CASE.nii.gz``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoseg.errors import DataError
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
from autoseg.intake.nifti_bytes import read_header
from autoseg.system.files import read_json, read_object

_KEPT = ("name", "description", "reference", "licence", "license", "release", "tensorImageSize")


class Msd(Layout):
    """The Medical Segmentation Decathlon's, and nnU-Net v1's."""

    looks_like = "the Decathlon's: dataset.json with 'training'"
    order = 10

    def recognise(self, source: Path) -> str:
        """By its dataset.json."""
        about = read_object(source / "dataset.json")
        found = "training" in about and "file_ending" not in about
        return (
            "dataset.json lists its cases under 'training', as the Decathlon and nnU-Net v1 do."
            if found
            else ""
        )

    def read(self, source: Path, request: Request) -> Incoming:
        """See `read_msd`."""
        return read_msd(source, request)


def read_msd(source: Path, request: Request) -> Incoming:
    """Describe a data set of the Decathlon as it will be written.

    Raises:
        DataError: if dataset.json lacks what it should have, or lists files that are not there.
    """
    about = read_json(source / "dataset.json")
    names, channels = _label_names(source, about, request), _channel_names(about)
    trained = _listed(source, about, "training")
    tested = _listed(source, about, "test")
    if not trained:
        raise DataError(
            f"{source}/dataset.json lists no training case. The Decathlon's has "
            f'"training": [{{"image": "./imagesTr/A.nii.gz", "label": "./labelsTr/A.nii.gz"}}, ...].'
        )
    cases = _cases(trained, len(channels))
    incoming = Incoming(
        channels=channels,
        labels={},
        file_ending=_ending(cases),
        cases=cases,
        tests=_cases(tested, len(channels)),
        about={key: about[key] for key in _KEPT if key in about},
    )
    incoming = _labelled(incoming, request, names)
    taken = {content.source for content in incoming.contents}
    left = [path for path in files_below(source) if path not in taken and ending_of(path) in MEDICAL]
    return replace(incoming, left_out=tuple(left))


def _labelled(incoming: Incoming, request: Request, names: Mapping[int, str]) -> Incoming:
    """Labels that are numbered without gaps need no look at the voxels; verification takes that."""
    if sorted(names) == list(range(len(names))):
        labels = {"background" if value == 0 else names[value]: value for value in sorted(names)}
        return replace(incoming, labels=labels)
    return with_labels(incoming, request, {value: name for value, name in names.items() if value})


def _label_names(source: Path, about: Mapping[str, Any], request: Request) -> dict[int, str]:
    if request.labels:
        return {0: "background", **{value: name for name, value in request.labels.items()}}
    labels = about.get("labels")
    if not isinstance(labels, Mapping) or not labels:
        raise DataError(
            f'{source}/dataset.json names no labels. Add "labels": {{"0": "background", "1": ...}}.'
        )
    try:
        # Of both kinds of maps, number to name and name to number.
        pairs = {int(key): str(name) for key, name in labels.items()}
    except (TypeError, ValueError):
        pairs = {int(value): str(name) for name, value in labels.items()}
    twice = {name for name in pairs.values() if list(pairs.values()).count(name) > 1}
    return {**{v: f"{n}_{v}" if n in twice else n for v, n in pairs.items()}, 0: "background"}


def _channel_names(about: Mapping[str, Any]) -> tuple[str, ...]:
    names = about.get("modality") or about.get("channel_names") or {"0": "image"}
    listed = list(names.values()) if isinstance(names, Mapping) else list(names)
    return tuple(str(name) for name in listed)


def _listed(source: Path, about: Mapping[str, Any], part: str) -> list[tuple[Path, Path | None]]:
    found, missing = [], []
    for entry in about.get(part) or []:
        image, label = (entry, None) if isinstance(entry, str) else (entry["image"], entry.get("label"))
        paths = [(source / text) if text else None for text in (image, label)]
        # A list made with a glob on a Mac's disk names these too.
        if paths[0] is None or paths[0].name.startswith("._"):
            continue
        missing += [str(p) for p in paths[1:] if p is not None and not p.is_file()]
        missing += [str(paths[0])] if not paths[0].is_file() and not _channel_files(paths[0]) else []
        found.append((paths[0], paths[1]))
    if missing:
        raise DataError(
            f"{source}/dataset.json lists {len(missing)} files that are not there: {some(missing)}. Restore "
            f"them, or take their cases out of the list."
        )
    return found


def _channel_files(image: Path) -> list[Path]:
    """nnU-Net v1: the channels of a case that the list names as one file."""
    pattern = re.compile(re.escape(stem_of(image)) + r"_\d{4}" + re.escape(ending_of(image)))
    if not image.parent.is_dir():
        return []
    return [path for path in sorted(image.parent.glob(f"{stem_of(image)}_*")) if pattern.fullmatch(path.name)]


def _cases(listed: list[tuple[Path, Path | None]], channels: int) -> tuple[IncomingCase, ...]:
    names = identifiers([stem_of(image) for image, _ in listed], [image for image, _ in listed])
    return tuple(
        IncomingCase(name, _images(image, channels), Content(label) if label else None)
        for name, (image, label) in zip(names, listed, strict=True)
    )


def _images(image: Path, channels: int) -> tuple[Content, ...]:
    if not image.is_file():
        found = tuple(Content(path) for path in _channel_files(image))
    else:
        header = read_header(image) if ending_of(image) in (".nii", ".nii.gz") else None
        flat = header is None or len(header.shape) <= 3
        found = (
            (Content(image),)
            if flat
            else tuple(Content(image, i) for i in range(header.volumes if header else 0))
        )
    if len(found) != channels:
        raise DataError(
            f"{image} has {len(found)} channels, but dataset.json names {channels} in modality. "
            f"Correct either."
        )
    return found


def _ending(cases: tuple[IncomingCase, ...]) -> str:
    endings = {ending_of(content.source) for case in cases for content in case.images}
    # A volume that is cut out of a file is written anew in any case.
    return endings.pop() if len(endings) == 1 else ".nii.gz"
