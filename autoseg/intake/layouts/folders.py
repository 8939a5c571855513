"""Images and masks in pairs: ``images/A.png`` and ``masks/A.png``, or ``A.png`` and ``A_mask.png``.

The names of the folders say which is which, at any depth (``train/images/...``, ``images/train/...``); pairs
below a folder ``test`` are kept apart.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.data.formats import TIFF_ENDINGS
from autoseg.data.groups import GroupsError, groups_in
from autoseg.data.readers import READERS
from autoseg.data.tiff_spacing import is_volume, stated_spacing
from autoseg.errors import DataError
from autoseg.intake.incoming import (
    MEDICAL,
    PICTURES,
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
from autoseg.intake.layouts.nnunet import TEXTS
from autoseg.intake.nifti_bytes import read_header
from autoseg.system.guard import note

IMAGES = ("images", "image", "imgs", "img", "imagestr", "imagests", "scans", "inputs", "input", "data")
MASKS = (
    *(
        "masks",
        "mask",
        "labels",
        "label",
        "labelstr",
        "labelsts",
        "segmentations",
        "segmentation",
        "segs",
        "seg",
    ),
    *("annotations", "annotation", "groundtruth", "ground_truth", "gt", "targets", "manual"),
)
TESTS = ("test", "testing", "imagests", "labelsts")
_MARK = r"mask|masks|seg|segmentation|label|labels|gt|annotation|groundtruth|ground_truth|manual|msk"
_SUFFIX = re.compile(rf"(.+?)[_. -]+(?:{_MARK})(?:[_. -]?(\d+))?", re.IGNORECASE)
_IMAGE_WORDS = ("volume", "image", "img", "scan", "ct", "mr", "case")
# More volumes than these are a time series or directions of diffusion, no channels.
_MOST_CHANNELS = 8
# Folders of few images each, and no fewer folders than these, are patients or exams.
_FEWEST_FOLDERS, _MOST_IN_FOLDER = 3, 8
_PREFIX = re.compile(rf"(?:{_MARK})[_. -]+(.+)", re.IGNORECASE)
_CHANNEL = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class _File:
    """One image file: what it is, where among the parts of the data set, and its name without marks."""

    path: Path
    role: str
    part: tuple[str, ...]
    name: str


class Folders(Layout):
    """Images and masks in pairs, by the names of folders or files."""

    looks_like = "images/ and masks/ with the same names"
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
    files = [_file(path, source) for path in files_below(source) if ending_of(path)]
    pictures = [file for file in files if file.role == "image"]
    masks = _masks(
        _named_alike([file for file in files if file.role == "mask"], pictures),
        {(file.part, file.name) for file in pictures},
    )
    images = _images(pictures, masks)
    if not any(key in masks for key in images):
        raise DataError(
            f"{source} has no image that a mask belongs to. Put images into images/ and masks of the same "
            f"names into masks/ (found: {some([file.path for file in files]) or 'no image files'})."
        )
    cases, ending, notes, channels = _cases(images, masks)
    parts: dict[str, list[IncomingCase]] = {"Tr": [], "Ts": [], "Un": []}
    for key, case in zip(images, cases, strict=True):
        tested = any(part in TESTS for part in key[0])
        parts["Ts" if tested else "Tr" if case.label else "Un"].append(case)
    volumes = ending in TIFF_ENDINGS and all(
        is_volume(content.source) for case in cases for content in case.images
    )
    texts, more = _spacings(parts) if volumes else ({}, ())
    lone = [mask for key, several in masks.items() if key not in images for mask in several]
    taken = {content.source for case in cases for content in case.images}
    incoming = Incoming(
        channels=channels,
        labels={},
        file_ending=ending,
        cases=tuple(parts["Tr"]),
        tests=tuple(parts["Ts"]),
        unlabelled=tuple(parts["Un"]),
        about={"overwrite_image_reader_writer": "Tiff3DIO"} if volumes else {},
        extras=_texts(source, parts["Tr"]),
        texts=texts,
        notes=(*notes, *more),
        left_out=(*lone, *(file.path for file in files if file.role == "image" and file.path not in taken)),
    )
    return with_labels(incoming, request)


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


def _named_alike(masks: Sequence[_File], pictures: Sequence[_File]) -> list[_File]:
    """Masks under the names of their pictures where these differ in upper and lower case only."""
    exact = {file.name for file in pictures}
    lower = {file.name.lower(): file.name for file in pictures}
    if len(lower) < len(exact):
        return list(masks)
    found = []
    for mask in masks:
        stem = stem_of(mask.path)
        close = (
            stem not in exact
            and mask.name not in exact
            and lower.get(stem.lower(), lower.get(mask.name.lower()))
        )
        found.append(replace(mask, name=close) if close else mask)
    return found


def has_pairs(source: Path) -> str:
    """By what a folder shows that it is of this layout, in words; empty if it does not."""
    roles: dict[str, Path] = {}
    for path in files_below(source):
        if ending_of(path):
            roles.setdefault(_file(path, source).role, path)
        if {"image", "mask"} <= roles.keys():
            return f"{roles['image'].relative_to(source)} and {roles['mask'].relative_to(source)}"
    return ""


def _file(path: Path, source: Path) -> _File:
    folders = [part.lower() for part in path.relative_to(source).parts[:-1]]
    role = next(
        (("image", "mask")[part in MASKS] for part in reversed(folders) if part in IMAGES + MASKS), ""
    )
    name = stem_of(path)
    bare = next((match[1] for match in (_SUFFIX.fullmatch(name), _PREFIX.fullmatch(name)) if match), name)
    part = tuple(folder for folder in folders if folder not in IMAGES + MASKS or folder in TESTS)
    part = tuple("test" if folder in TESTS else folder for folder in part)
    # Without such folders the marks in the name decide.
    role = role or ("mask" if bare != name else "image")
    return _File(path, role, part, bare if role == "mask" else name)


_Key = tuple[tuple[str, ...], str]


def _masks(files: Sequence[_File], images: Container[_Key]) -> dict[_Key, list[Path]]:
    """The masks of each case; several pictures of one, such as A_mask.png and A_mask_1.png, are united."""
    found = defaultdict[_Key, list[Path]](list)
    for file in files:
        found[next((key for key in _keys(file) if key in images), (file.part, file.name))].append(file.path)
    for (_, name), paths in found.items():
        if len(paths) > 1 and not all(ending_of(path) in PICTURES for path in paths):
            raise DataError(
                f"{paths[0]} and {paths[1]} are both masks of {name}. Unite them into one file with a "
                f"value for each label."
            )
    return dict(found)


def _keys(file: _File) -> Iterator[_Key]:
    """The images that a mask may belong to, the closest name first."""
    stem = stem_of(file.path)
    yield file.part, stem
    if match := _SUFFIX.fullmatch(stem):
        if match[2]:
            yield from ((file.part, f"{match[1]}{mark}{match[2]}") for mark in "_- .")
        yield file.part, match[1]
    # volume-0.nii and segmentation-0.nii: each is named after what it is.
    if file.name != stem:
        yield from ((file.part, f"{word}{mark}{file.name}") for word in _IMAGE_WORDS for mark in "-_")


def _images(files: Sequence[_File], masks: Container[_Key]) -> dict[_Key, list[Path]]:
    """The files of each case: one, or one a channel where the names end in _0000, _0001, ... as nnU-Net's."""
    matches = [_CHANNEL.fullmatch(file.name) for file in files]
    numbered = all(matches) and any(
        (file.part, match[1]) in masks for file, match in zip(files, matches, strict=True) if match
    )
    found = defaultdict[_Key, list[Path]](list)
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
    images: Mapping[_Key, Sequence[Path]], masks: Mapping[_Key, Sequence[Path]]
) -> tuple[list[IncomingCase], str, tuple[str, ...], tuple[str, ...]]:
    paths = [path for files in images.values() for path in files]
    ending, notes = _ending(paths)
    mode, channels, more = _mode(paths, ending, len(next(iter(images.values()))))
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


def _by_folder(images: Mapping[_Key, Sequence[Path]]) -> bool:
    """Whether the folders that images lie in are patients or exams: many, with a few images each."""
    counts = Counter(part for part, _ in images)
    many = len(counts) >= _FEWEST_FOLDERS and max(counts.values()) <= _MOST_IN_FOLDER
    return many and len(images) > len(counts) and () not in counts


def _ending(paths: Sequence[Path]) -> tuple[str, tuple[str, ...]]:
    endings = sorted({ending_of(path) for path in paths})
    known = {ending for reader in READERS.values() for ending in reader.file_endings}
    if not (set(endings) <= set(MEDICAL) or set(endings) <= set(PICTURES)):
        raise DataError(
            f"The images end in {', '.join(endings)}: volumes and pictures. Import them one by one."
        )
    if len(endings) == 1 and endings[0] in known:
        return endings[0], ()
    ending = ".nii.gz" if set(endings) <= set(MEDICAL) else ".png"
    return ending, (f"Images ending in {', '.join(endings)} are all written as {ending}.",)


def _mode(
    paths: Sequence[Path], ending: str, files: int
) -> tuple[dict[Path, str], tuple[str, ...], tuple[str, ...]]:
    """What pictures have to become so that all have the same channels, and what these are called."""
    if ending not in PICTURES or ending in (".tif", ".tiff"):
        return {}, _named(files), ()
    from PIL import Image

    modes = {}
    for path in paths:
        note(path)
        with Image.open(path) as picture:
            modes[path] = picture.mode
    found = set(modes.values())
    deep = {mode for mode in found if mode[0] in "IF"}
    if deep and len(found) > 1:
        example = next(path for path, mode in modes.items() if mode in deep)
        raise DataError(f"{example} has 16 bits or more, others have 8. Write all of them alike.")
    wanted = "L" if found <= {"L", "1", "LA"} else found.pop() if deep else "RGB"
    changed = {path: wanted for path, mode in modes.items() if mode != wanted}
    notes = (f"{len(changed)} pictures are converted to {wanted}, as the others are.",) if changed else ()
    return changed, ("R", "G", "B") if wanted == "RGB" and files == 1 else _named(files), notes


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
