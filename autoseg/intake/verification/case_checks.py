"""What can be wrong with one case. Pure functions of arrays that have already been read.

Whoever reads a case for another reason can check it on the way: `read_case`, then `check_case`, then
`autoseg.data.readers.stack`. What nnU-Net 2.8 refuses in its integrity check is an error here, with its
tolerances.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.image import Array, Image, ImageError, describe_grid, placed_differently
from autoseg.data.orientation import Directions, directions_of, turned_to_body
from autoseg.data.readers import read_file
from autoseg.intake.verification.anatomy_checks import Anatomy, anatomy_of
from autoseg.intake.verification.findings import Finding, error, warning
from autoseg.intake.verification.header_checks import check_header
from autoseg.intake.verification.label_checks import check_label, count_labels, is_four_dimensional

RESAMPLE = "Resample all channels of the case onto one grid, that of the label, and verify again."
REDRAW = (
    "Restore the label that belongs to this image, or resample it (nearest neighbour) to the image's grid."
)
_UNITS = "One of the two headers states another unit of length than it has. Correct the one that is wrong."
OVERLAY = (
    "Voxels are laid over each other whatever the headers say. Look at both in a viewer that does so: if they"
    " match, give both the same header; if not, resample one onto the other."
)
TURN = (
    "Look at both in a viewer that lays voxels over each other: if they match, give both the same header; if"
    " not, turn or resample the label onto the image. If they are known to match, accept it: --accept"
    " direction."
)
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class CaseCheck:
    """What one case has to say.

    Attributes:
        findings: about this case alone.
        labels: the label values in it; None if they could not be read.
        stored: along which axes its first image is stored; None where that is not known.
        spacing: spacing of the case's first image.
        unit_mm: how many mm the unit of that spacing has.
        ranges: least and largest value of each channel.
        contents: a hash of the voxels of each image file, to find duplicates.
        anatomy: what label and image say together.
        ignored: how many voxels are to be ignored, and how many are not background.
    """

    findings: tuple[Finding, ...]
    labels: frozenset[int] | None
    contents: Mapping[str, str]
    stored: Directions | None = None
    spacing: tuple[float, ...] | None = None
    ranges: tuple[tuple[float, float], ...] = ()
    unit_mm: float = 1.0
    anatomy: Anatomy = field(default_factory=Anatomy)
    ignored: tuple[int, int] = (0, 0)


def read_case(dataset: Dataset, case: Case) -> tuple[dict[Path, Image], Image | None, list[Finding]]:
    """Read every file of a case once.

    Returns:
        The images by path and the label, each in its own data type and without those that cannot be read,
        and a finding for every one of these.
    """
    findings: list[Finding] = []
    images = {}
    for path in case.images:
        if (image := _read(dataset, case, path, "image", findings)) is not None:
            images[path] = image
    label = _read(dataset, case, case.label, "label", findings) if case.label else None
    return images, label, findings


def _read(dataset: Dataset, case: Case, path: Path, what: str, findings: list[Finding]) -> Image | None:
    name = case.identifier
    if path.is_symlink() and not path.exists():
        message = f"The {what} file is a link to {os.readlink(path)}, where nothing is."
        remedy = "Fetch or restore what it points to (datalad get, git annex get), or mend the link."
        findings.append(error(f"missing_{what}", message, remedy, case=name, file=path))
        return None
    if not path.is_file():
        remedy = f"Add the {what}, or take the case out of the data set."
        findings.append(
            error(f"missing_{what}", f"The {what} file is missing.", remedy, case=name, file=path)
        )
        return None
    try:
        return read_file(path, dataset.reader, segmentation=what == "label")
    except ImageError as problem:
        message = f"The {what} file {problem.reason}."
        findings.append(error("unreadable", message, problem.remedy, case=name, file=problem.path))
        return None


def check_case(dataset: Dataset, case: Case, images: Mapping[Path, Image], label: Image | None) -> CaseCheck:
    """Check one case.

    Args:
        dataset: what the case should be like.
        case: its files.
        images: the readable image files, in order, one `Image` a file.
        label: its segmentation, if there is a readable one.
    """
    counts = None if label is None else count_labels(label.array)
    files = (*case.images, *([case.label] if case.label else []))
    # NaN is the extreme of whatever holds it, so two passes say all.
    ranges = {
        path: [(float(channel.min()), float(channel.max())) for channel in image.array]
        for path, image in images.items()
    }
    along = {path: directions_of(image) for path, image in images.items()}
    first = next(iter(images.values()), None)
    findings = [
        *(finding for path in files for finding in check_header(case, path)),
        *_check_channels(dataset, case, images),
        *_check_grids(case, images, label),
        *(
            finding
            for path, image in images.items()
            for finding in _check_intensities(case, path, image, ranges[path])
        ),
        *(check_label(dataset, case, label, counts) if label is not None else ()),
    ]
    return CaseCheck(
        findings=tuple(findings),
        labels=None if counts is None else frozenset(counts),
        contents={str(path): _content(image, ranges[path], along[path]) for path, image in images.items()},
        stored=next(iter(along.values()), None),
        spacing=None if first is None else first.spacing,
        unit_mm=1.0 if first is None else first.unit_mm,
        ranges=tuple(extremes for found in ranges.values() for extremes in found),
        anatomy=anatomy_of(dataset.labels, first, label, next(iter(along.values()), None)),
        ignored=_ignored(counts or {}, dataset.labels.ignore),
    )


def _ignored(counts: Mapping[int, int], ignore: int | None) -> tuple[int, int]:
    ignored = 0 if ignore is None else counts.get(ignore, 0)
    return ignored, sum(count for value, count in counts.items() if value)


def _check_channels(dataset: Dataset, case: Case, images: Mapping[Path, Image]) -> Iterator[Finding]:
    numbers = _channel_numbers(dataset, case)
    # One grey picture where colours are declared is a wrong picture, not a case without its other files.
    several = len(case.images) > 1 or (images and dataset.reader != "NaturalImage2DIO")
    if numbers and several and all(len(image.array) == 1 for image in images.values()):
        missing = sorted(set(range(len(dataset.channels))) - set(numbers))
        for number in missing:
            path = case.images[0].with_name(f"{case.identifier}_{number:04d}{dataset.file_ending}")
            message = f"The file of channel {number} ({dataset.channels[number]}) is missing."
            remedy = "Add it, or take the case out of the data set."
            yield error("missing_channel", message, remedy, case=case.identifier, file=path)
        if missing:
            return
    found = sum(len(image.array) for image in images.values())
    if found != len(dataset.channels) and len(images) == len(case.images):
        declared = f"{len(dataset.channels)} are declared ({', '.join(dataset.channels)})"
        message = f"The case has {found} channels in {len(images)} files, but {declared}."
        remedy = "Correct channel_names in dataset.json, or the files of this case."
        yield error("channel_count", message, remedy, case=case.identifier, file=next(iter(images), None))


def _channel_numbers(dataset: Dataset, case: Case) -> list[int]:
    """The channel numbers in the names of the files; empty where dataset.json lists files of any name."""
    pattern = re.compile(rf".+_(\d{{4}}){re.escape(dataset.file_ending)}")
    found = [pattern.fullmatch(path.name) for path in case.images]
    if dataset.dataset_json.get("dataset"):
        return []
    return [int(match[1]) for match in found if match]


def _check_grids(case: Case, images: Mapping[Path, Image], label: Image | None) -> Iterator[Finding]:
    if not images:
        return
    first = next(iter(images))
    for path, image in images.items():
        if is_four_dimensional(image):
            message = f"It has 4 dimensions, {len(image.array)} volumes, and no prediction could be written."
            remedy = "Write a file for each channel, CASE_0000, CASE_0001, ..., or import the data."
            yield error("four_dimensions", message, remedy, case=case.identifier, file=path)
    if any(is_four_dimensional(image) for image in (*images.values(), *([label] if label else []))):
        return
    for path in list(images)[1:]:
        yield from _compare_grids(case, first, images[first], path, images[path], RESAMPLE)
    if label is not None and case.label is not None:
        yield from _compare_grids(case, first, images[first], case.label, label, REDRAW)


def _in_other_units(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two spacings are the same but for metres, millimetres or micrometres."""
    if min(*one, *other) <= 0:
        return False
    steps = np.log(np.divide(one, other)) / np.log(1000)
    return bool(np.ptp(steps) < 1e-3 and round(steps[0]) != 0 and abs(steps[0] - round(steps[0])) < 1e-2)


def _compare_grids(
    case: Case, first: Path, expected: Image, path: Path, found: Image, remedy: str
) -> Iterator[Finding]:
    both = f"It has {describe_grid(found)}, but {first.name} has {describe_grid(expected)}."
    if found.array.shape[1:] != expected.array.shape[1:]:
        yield error("shape_mismatch", both, remedy, case=case.identifier, file=path)
    elif found.spacing != expected.spacing and not np.allclose(found.spacing, expected.spacing):
        remedy = _UNITS if _in_other_units(found.spacing, expected.spacing) else remedy
        yield error("spacing_mismatch", both, remedy, case=case.identifier, file=path)
    else:
        for name, values in placed_differently(expected, found).items():
            message = f"Its {name} differs from that of {first.name}: {values}."
            if path == case.label and _turned(name, expected, found):
                # The model would learn from labels that lie elsewhere, and nothing later would notice.
                yield error("label_direction_mismatch", message, TURN, case=case.identifier, file=path)
                continue
            yield warning(f"{name}_mismatch", message, OVERLAY, case=case.identifier, file=path)


def _turned(name: str, expected: Image, found: Image) -> bool:
    """Whether a difference of that name is one of direction; an affine matrix holds the origin too."""
    if name != "affine":
        return name == "direction"
    one, other = (each.world[name][:-1, :-1] for each in (expected, found))
    return not np.allclose(one, other, atol=1e-3 * float(np.abs(one).max()))


def _check_intensities(
    case: Case, path: Path, image: Image, extremes: Sequence[tuple[float, float]]
) -> Iterator[Finding]:
    if image.replaced or not all(-LARGEST <= low <= high <= LARGEST for low, high in extremes):
        number = f"{image.replaced} voxels" if image.replaced else "Some voxels"
        message = f"{number} are NaN, infinite or beyond the range of float32."
        remedy = "Replace them by what they stand for, by 0 or the value of the background for instance."
        yield error("not_finite", message, remedy, case=case.identifier, file=path)
        return
    for index, (low, high) in enumerate(extremes):
        if low == high:
            where = f"Channel {index} of the file" if len(extremes) > 1 else "The image"
            message = f"{where} has the value {low:g} everywhere."
            remedy = "Check the export of this image; if it holds nothing, take the case out of the data set."
            yield warning("constant_image", message, remedy, case=case.identifier, file=path)


def _content(image: Image, extremes: Sequence[tuple[float, float]], along: Directions | None) -> str:
    """A hash of the values, whatever their data type: a copy is often stored in another one, or turned.

    Whole numbers are hashed in the smallest type that holds them, which depends on the values alone.
    """
    array = image.array if along is None else turned_to_body(image.array, along)
    described = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 there is another finding
        for channel, (low, high) in zip(array, extremes, strict=True):
            described.update(np.ascontiguousarray(channel, _kind_of(channel, low, high)).data)
    return described.hexdigest()


def _kind_of(channel: Array, low: float, high: float) -> type[np.generic]:
    """The type in which values between these extremes are hashed."""
    kind: type[np.generic] | None = None
    if 0 <= low <= high <= np.iinfo(np.uint8).max:
        kind = np.uint8
    elif np.iinfo(np.int16).min <= low <= high <= np.iinfo(np.int16).max:
        kind = np.int16
    whole = kind is not None and (channel.dtype.kind != "f" or np.array_equal(np.rint(channel), channel))
    return kind if kind is not None and whole else np.float32
