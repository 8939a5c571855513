"""What names of folders and files say of pictures: which are images, which masks, what belongs together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.errors import UsageError
from autoseg.intake.incoming import ending_of, files_below, stem_of

IMAGES = ("images", "image", "imgs", "img", "imagestr", "imagests", "scans", "inputs", "input", "data")
MASKS = (
    *("masks", "mask", "labels", "label", "labelstr", "labelsts", "segmentations", "segmentation"),
    *("segs", "seg", "annotations", "annotation", "groundtruth", "ground_truth", "gt", "targets"),
)
TESTS = ("test", "testing", "imagests", "labelsts")
# What a camera sees of an eye; a mask of it is no label of anything.
_FIELDS = ("fov", "fovs", "fov_mask", "fov_masks", "field_of_view")
# Folders of what one reader drew.
_DRAWN = ("manual", "manuals", "manual_segmentation", "manual_segmentations")
_MARK = r"mask|masks|seg|segmentation|label|labels|gt|annotation|groundtruth|ground_truth|manual|msk"
_SUFFIX = re.compile(rf"(.+?)[_. -]+(?:{_MARK})(?:[_. -]?(\d+))?", re.IGNORECASE)
_PREFIX = re.compile(rf"(?:{_MARK})[_. -]+(.+)", re.IGNORECASE)
_FIELD_NAME = re.compile(r"(.+?)[_. -]+fov(?:[_. -]?masks?)?", re.IGNORECASE)
# 21_training.tif belongs to 21_manual1.gif: what an image is called beside its number.
_IMAGE_NAME = re.compile(
    r"(.+?)[_. -]+(?:training|train|testing|test|image|img|original|orig|photo|scan)", re.IGNORECASE
)
_IMAGE_WORDS = ("volume", "image", "img", "scan", "ct", "mr", "case")
# 1st_manual, manual1, 2ndHO (human observer): who drew.
_WHO = r"manuals?|observer|reader|rater|annotator|expert"
_READER = re.compile(
    rf"(?:(.*?)[_. -]+)?(?:(?:{_WHO})[_. -]?([1-9])|([1-9])(?:st|nd|rd|th)[_. -]?(?:{_WHO}|ho))",
    re.IGNORECASE,
)

Key = tuple[tuple[str, ...], str]


@dataclass(frozen=True)
class PairFile:
    """One picture or volume.

    Attributes:
        path: the file.
        role: ``image``, ``mask``, or ``field``, a mask of what the camera sees.
        part: the folders that it lies in, without those that say its role.
        name: its name without marks of its role.
        reader: who drew a mask, where several did: 1, 2, ...; 0 where nothing is said of it.
    """

    path: Path
    role: str
    part: tuple[str, ...]
    name: str
    reader: int = 0


def described(source: Path) -> list[PairFile]:
    """All images and masks below a folder, sorted."""
    found = [_file(path, source) for path in files_below(source) if ending_of(path)]
    if not any(file.reader for file in found):
        return found
    # Beside what a reader drew, what is called a mask is the field of view.
    return [replace(file, role="field") if _called_a_mask(file) else file for file in found]


def chosen_reader(files: Sequence[PairFile], wanted: int | None) -> tuple[list[PairFile], int]:
    """The masks of one reader, where several drew, and those that nothing is said of; and which reader.

    Raises:
        UsageError: if the reader who is wanted drew nothing.
    """
    masks = [file for file in files if file.role == "mask"]
    readers = sorted({file.reader for file in masks if file.reader})
    if wanted is not None and wanted not in readers:
        there = ", ".join(map(str, readers)) or "masks that name no reader"
        raise UsageError(f"No mask is drawn by the reader {wanted}. There are: {there}.")
    who = wanted or (readers[0] if readers else 0)
    return [file for file in masks if file.reader in (0, who)], who


def _called_a_mask(file: PairFile) -> bool:
    words = (file.path.parent.name.lower(), re.split(r"[_. -]+", stem_of(file.path).lower())[-1])
    return file.role == "mask" and not file.reader and any(word in ("mask", "masks") for word in words)


def _file(path: Path, source: Path) -> PairFile:
    folders = [part.lower() for part in path.relative_to(source).parts[:-1]]
    readers = {folder: match for folder in folders if (match := _READER.fullmatch(folder)) and not match[1]}
    known = {
        **dict.fromkeys(IMAGES, "image"),
        **dict.fromkeys(MASKS, "mask"),
        **dict.fromkeys(readers, "mask"),
    }
    known |= {**dict.fromkeys(_DRAWN, "mask"), **dict.fromkeys(_FIELDS, "field")}
    role = next((known[folder] for folder in reversed(folders) if folder in known), "")
    part = tuple(folder for folder in folders if folder not in known or folder in TESTS)
    part = tuple("test" if folder in TESTS else folder for folder in part)
    name = stem_of(path)
    if field := _FIELD_NAME.fullmatch(name) if role != "image" else None:
        return PairFile(path, "field", part, field[1])
    drawn = _READER.fullmatch(name) if role != "image" else None
    drawn = drawn if drawn and drawn[1] else None
    bare = next((match[1] for match in (_SUFFIX.fullmatch(name), _PREFIX.fullmatch(name)) if match), name)
    bare = drawn[1] if drawn else bare
    # Without such folders the marks in the name decide.
    role = role or ("mask" if bare != name else "image")
    who = drawn or next(iter(readers.values()), None)
    reader = int(who[2] or who[3]) if who and role == "mask" else 0
    if role == "mask" and not reader and any(folder in _DRAWN for folder in folders):
        reader = 1
    return PairFile(path, role, part, bare if role == "mask" else name, reader)


def named_alike(masks: Sequence[PairFile], pictures: Sequence[PairFile]) -> list[PairFile]:
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


def places_of(pictures: Sequence[PairFile]) -> dict[Key, Key]:
    """Under which keys masks find an image: its own and, where one image alone has it, the short one."""
    exact = {(file.part, file.name) for file in pictures}
    short: dict[Key, set[Key]] = {}
    for part, name in exact:
        if match := _IMAGE_NAME.fullmatch(name):
            short.setdefault((part, match[1]), set()).add((part, name))
    lone = {key: next(iter(several)) for key, several in short.items() if len(several) == 1}
    return {**lone, **{key: key for key in exact}}


def image_of(mask: PairFile, places: Mapping[Key, Key]) -> Key:
    """The key of the image that a mask belongs to; its own where there is none."""
    return next((places[key] for key in _keys(mask) if key in places), (mask.part, mask.name))


def _keys(file: PairFile) -> Iterator[Key]:
    """The images that a mask may belong to, the closest name first."""
    stem = stem_of(file.path)
    yield file.part, stem
    if file.reader:
        yield file.part, file.name
    if match := _SUFFIX.fullmatch(stem):
        if match[2]:
            yield from ((file.part, f"{match[1]}{mark}{match[2]}") for mark in "_- .")
        yield file.part, match[1]
    # volume-0.nii and segmentation-0.nii: each is named after what it is.
    if file.name != stem:
        yield from ((file.part, f"{word}{mark}{file.name}") for word in _IMAGE_WORDS for mark in "-_")
