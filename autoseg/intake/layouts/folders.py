"""Images and masks in pairs: ``images/A.png`` and ``masks/A.png``, or ``A.png`` and ``A_mask.png``.

The names of the folders say which is which, at any depth (``train/images/...``, ``images/train/...``); pairs
below a folder ``test`` are kept apart.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from autoseg.data.formats import TIFF_ENDINGS
from autoseg.data.groups import GroupsError, groups_in
from autoseg.data.readers import READERS
from autoseg.data.tiff_spacing import stated_spacing
from autoseg.errors import DataError, UsageError
from autoseg.intake.incoming import (
    MEDICAL,
    PICTURES,
    Content,
    Incoming,
    IncomingCase,
    Request,
    ending_of,
    identifiers,
    some,
)
from autoseg.intake.label_values import with_labels
from autoseg.intake.layout import Layout
from autoseg.intake.layouts._pair_names import (
    TESTS,
    Key,
    PairFile,
    chosen_reader,
    described,
    image_of,
    named_alike,
    places_of,
)
from autoseg.intake.layouts.nnunet import TEXTS
from autoseg.intake.nifti_bytes import read_header
from autoseg.intake.picture_modes import are_volumes, one_mode

# More volumes than these are a time series or directions of diffusion, no channels.
_MOST_CHANNELS = 8
# Folders of few images each, and no fewer folders than these, are patients or exams.
_FEWEST_FOLDERS, _MOST_IN_FOLDER = 3, 8
_CHANNEL = re.compile(r"(.+)_(\d{4})")


class Folders(Layout):
    """Images and masks in pairs, by the names of folders or files."""

    looks_like = "images/ and masks/ with the same names"
    options: ClassVar[Mapping[str, str]] = {
        "reader": "whose masks are the labels where several readers drew: 1, 2, ...",
    }
    # After all others: pairs are found in folders of other layouts too.
    order = 90

    def recognise(self, source: Path) -> str:
        """By pairs."""
        pairs = has_pairs(source)
        return f"it has images and masks: {pairs}." if pairs else ""

    def read(self, source: Path, request: Request) -> Incoming:
        """See `read_folders`."""
        return read_folders(source, request)


def read_folders(source: Path, request: Request) -> Incoming:
    """Describe folders of images and masks as they will be written.

    Raises:
        DataError: if there are no pairs, or it is not clear what belongs together.
    """
    files = described(source)
    pictures = [file for file in files if file.role == "image"]
    drawn, who = chosen_reader(files, _wanted_reader(request))
    masks = _masks(named_alike(drawn, pictures), places_of(pictures))
    images = _images(pictures, masks)
    if not any(key in masks for key in images):
        raise DataError(
            f"{source} has no image that a mask belongs to. Put images into images/ and masks of the same "
            f"names into masks/ (found: {some([file.path for file in files]) or 'no image files'})."
        )
    volumetric = are_volumes([path for paths in images.values() for path in paths])
    cases, ending, notes, channels = _cases(images, masks, volumetric)
    parts: dict[str, list[IncomingCase]] = {"Tr": [], "Ts": [], "Un": []}
    for key, case in zip(images, cases, strict=True):
        tested = any(part in TESTS for part in key[0])
        parts["Ts" if tested else "Tr" if case.label else "Un"].append(case)
    texts, more = _spacings(parts) if volumetric else ({}, ())
    lone = [mask for key, several in masks.items() if key not in images for mask in several]
    taken = {content.source for case in cases for content in case.images} | {file.path for file in drawn}
    rest = [file for file in files if file.path not in taken]
    incoming = Incoming(
        channels=channels,
        labels={},
        file_ending=ending,
        cases=tuple(parts["Tr"]),
        tests=tuple(parts["Ts"]),
        unlabelled=tuple(parts["Un"]),
        about={"overwrite_image_reader_writer": "Tiff3DIO"} if volumetric else {},
        extras=_texts(source, parts["Tr"]),
        texts=texts,
        notes=(*notes, *more, *_rest_in_words(rest, who)),
        left_out=(*lone, *(file.path for file in rest)),
    )
    return with_labels(incoming, request)


def _wanted_reader(request: Request) -> int | None:
    text = request.own.get("reader")
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]", text):
        raise UsageError(f"The reader {text!r} is no number of a reader. Write --option reader=1.")
    return int(text)


def _rest_in_words(rest: Sequence[PairFile], who: int) -> tuple[str, ...]:
    """What is said of masks that are no labels here."""
    fields = [file.path for file in rest if file.role == "field"]
    others = [file.path for file in rest if file.role == "mask"]
    notes = []
    if fields:
        notes.append(f"{len(fields)} masks of the field of view are no labels and are left out.")
    if others:
        notes.append(
            f"{len(others)} masks of other readers are left out; the labels are those of reader {who}. "
            f"Choose another with --option reader={2 if who == 1 else 1}."
        )
    return tuple(notes)


def _spacings(parts: Mapping[str, Sequence[IncomingCase]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The spacing of 3D TIFFs as nnU-Net reads it: a JSON file for each case, by the file or one beside."""
    found, from_file, without = {}, [], []
    for part, cases in parts.items():
        for case in cases:
            path = case.images[0].source
            beside = path.with_suffix(".json")
            stated = stated_spacing(path)
            if beside.is_file():
                text = beside.read_text(encoding="utf-8")
            elif stated is not None:
                text = json.dumps({"spacing": list(stated.spacing)})
                from_file.append(f"{path.name}: {stated}")
            else:
                without.append(path.name)
                continue
            found[f"images{part}/{case.identifier}.json"] = text
            if case.label:
                found[f"labels{part}/{case.identifier}.json"] = text
    notes: tuple[str, ...] = ()
    if from_file:
        notes = (f"Spacings stand in the files of {len(from_file)} cases and count: {some(from_file, 2)}.",)
    if without:
        notes = (*notes, f"{len(without)} volumes state no spacing; 1 x 1 x 1 is taken: {some(without)}.")
    return found, notes


def has_pairs(source: Path) -> str:
    """By what a folder shows that it is of this layout, in words; empty if it does not."""
    roles: dict[str, Path] = {}
    for file in described(source):
        roles.setdefault(file.role, file.path)
    if {"image", "mask"} <= roles.keys():
        return f"{roles['image'].relative_to(source)} and {roles['mask'].relative_to(source)}"
    return ""


def _masks(files: Sequence[PairFile], places: Mapping[Key, Key]) -> dict[Key, list[Path]]:
    """The masks of each case; several pictures of one, such as A_mask.png and A_mask_1.png, are united."""
    found = defaultdict[Key, list[Path]](list)
    for file in files:
        found[image_of(file, places)].append(file.path)
    for (_, name), paths in found.items():
        if len(paths) > 1 and not all(ending_of(path) in PICTURES for path in paths):
            raise DataError(
                f"{paths[0]} and {paths[1]} are both masks of {name}. Unite them into one file with a "
                f"value for each label."
            )
    return dict(found)


def _images(files: Sequence[PairFile], masks: Container[Key]) -> dict[Key, list[Path]]:
    """The files of each case: one, or one a channel where the names end in _0000, _0001, ... as nnU-Net's."""
    matches = [_CHANNEL.fullmatch(file.name) for file in files]
    numbered = all(matches) and any(
        (file.part, match[1]) in masks for file, match in zip(files, matches, strict=True) if match
    )
    found = defaultdict[Key, list[Path]](list)
    for file, match in zip(files, matches, strict=True):
        found[file.part, match[1] if match and numbered else file.name].append(file.path)
    counts = {len(paths) for paths in found.values()}
    if numbered and len(counts) > 1:
        odd = min(found.values(), key=len)
        raise DataError(
            f"Cases have {sorted(counts)} channels; {odd[0]} has {len(odd)}. Give each case all of them."
        )
    if not numbered and (twice := [paths for paths in found.values() if len(paths) > 1]):
        raise DataError(f"{some(twice[0])} have one name. Keep one of them.")
    return dict(found)


def _cases(
    images: Mapping[Key, Sequence[Path]], masks: Mapping[Key, Sequence[Path]], volumetric: bool
) -> tuple[list[IncomingCase], str, tuple[str, ...], tuple[str, ...]]:
    paths = [path for files in images.values() for path in files]
    files = len(next(iter(images.values())))
    ending, notes = _ending(paths, volumetric)
    mode, channels, more = ({}, _named(files), ()) if volumetric else _mode(paths, files)
    bare = [name for _, name in images]
    names = bare if len(set(bare)) == len(bare) else ["_".join((*part, name)) for part, name in images]
    volumes = _volumes(paths)
    if volumes > 1:
        channels = _named(volumes)
        more = (*more, f"Images have 4 dimensions; their {volumes} volumes are written as channels.")
    if united := sum(len(several) > 1 for several in masks.values()):
        more = (*more, f"{united} pictures have several masks, which are united.")
    grouped = _by_folder(images)
    if grouped:
        more = (*more, "Images of one folder are one group: folds keep them together.")
    cases = []
    for key, name in zip(images, identifiers(names, [files[0] for files in images.values()]), strict=True):
        contents = tuple(
            Content(path, mode=mode.get(path, ""), volume=volume)
            for path in images[key]
            for volume in (range(volumes) if volumes > 1 else (None,))
        )
        several = masks.get(key, ())
        label = Content(several[0], united=tuple(several[1:])) if several else None
        cases.append(IncomingCase(name, contents, label, "/".join(key[0]) if grouped else None))
    return cases, ending, (*notes, *more), channels


def _volumes(paths: Sequence[Path]) -> int:
    """How many volumes each image has along a fourth axis.

    Raises:
        DataError: if they have different numbers, or more than channels are.
    """
    found: dict[int, Path] = {}
    for path in paths:
        header = read_header(path) if ending_of(path) in (".nii", ".nii.gz") else None
        found.setdefault(1 if header is None else header.volumes, path)
    if len(found) == 1 and next(iter(found)) <= _MOST_CHANNELS:
        return next(iter(found))
    listed = ", ".join(f"{path} has {count}" for count, path in sorted(found.items())[-2:])
    raise DataError(
        f"Images have 4 dimensions, and their volumes cannot be channels: {listed}. Write the volumes to "
        f"learn from as 3D files, the same for each case."
    )


def _by_folder(images: Mapping[Key, Sequence[Path]]) -> bool:
    """Whether the folders that images lie in are patients or exams: many, with a few images each."""
    counts = Counter(part for part, _ in images)
    many = len(counts) >= _FEWEST_FOLDERS and max(counts.values()) <= _MOST_IN_FOLDER
    return many and len(images) > len(counts) and () not in counts


def _ending(paths: Sequence[Path], volumetric: bool) -> tuple[str, tuple[str, ...]]:
    endings = sorted({ending_of(path) for path in paths})
    known = {ending for reader in READERS.values() for ending in reader.file_endings}
    if not (set(endings) <= set(MEDICAL) or set(endings) <= set(PICTURES)):
        raise DataError(
            f"The images end in {', '.join(endings)}: volumes and pictures. Import them one by one."
        )
    if set(endings) <= set(TIFF_ENDINGS):
        # nnU-Net's reader of pictures knows .tif alone; what ends in .tiff is copied under that name.
        return endings[0] if volumetric and len(endings) == 1 else ".tif", ()
    if len(endings) == 1 and endings[0] in known:
        return endings[0], ()
    ending = ".nii.gz" if set(endings) <= set(MEDICAL) else ".png"
    return ending, (f"Images ending in {', '.join(endings)} are all written as {ending}.",)


def _mode(paths: Sequence[Path], files: int) -> tuple[dict[Path, str], tuple[str, ...], tuple[str, ...]]:
    """What pictures have to become so that all have the same channels, and what these are called."""
    if ending_of(paths[0]) not in PICTURES:
        return {}, _named(files), ()
    wanted, changed = one_mode(paths)
    notes = (f"{len(changed)} pictures are converted to {wanted}, as the others are.",) if changed else ()
    coloured = wanted.startswith("RGB") and files == 1
    names = ("R", "G", "B", "A")[: 4 if wanted.startswith("RGBA") else 3]
    return changed, names if coloured else _named(files), notes


def _named(files: int) -> tuple[str, ...]:
    return ("image",) if files == 1 else tuple(f"channel_{number}" for number in range(files))


def _texts(source: Path, cases: Sequence[IncomingCase]) -> dict[str, Path]:
    """Small texts beside the folders; a table of groups only if it has a group for every case."""
    found = {
        path.name: path
        for path in sorted(source.iterdir())
        if path.is_file()
        and path.suffix.lower() in TEXTS
        and path.name != "dataset.json"
        and not path.name.startswith(".")
    }
    try:
        groups = groups_in(source)
    except GroupsError:
        groups = {}
    if groups is not None and not {case.identifier for case in cases} <= set(groups):
        for name in ("groups.csv", "cases.csv"):
            if name in found:
                found[f"source_{name}"] = found.pop(name)
    return found
