"""Files to volumes: series are told apart by their UIDs, whatever folders and names the files have.

found = find_volumes(folder.rglob("*"))
for stack in found.stacks:
    volume = read_volume(stack)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.bounds import PACKED, check_announced
from autoseg.data.dicom.copies import without_copies
from autoseg.data.dicom.file_frames import frames_of
from autoseg.data.dicom.frames import Frame
from autoseg.data.dicom.headers import TAGS, Header, LeftOut, header_of, is_dicom, read_dataset
from autoseg.data.dicom.kinds import is_contours, is_secondary, is_segmentation, lost_its_image, no_image
from autoseg.data.dicom.label_objects import LABEL_TAGS, LabelObject, label_object
from autoseg.data.dicom.placing import Placing, UnevenSlices, place
from autoseg.data.dicom.splitting import by_plane, in_one_place, volumes_of
from autoseg.data.dicom.stack import Stack
from autoseg.data.image import ImageError
from autoseg.errors import DataError

# Kinds of images that come as volumes; one slice alone, or one without a place, is none of theirs.
_VOLUMES = ("CT", "MR", "PT", "NM")
_FEW, _MANY = 2, 4
_SCOUT_SLICES = 10
_ENDINGS = ("", ".dcm", ".dicom", ".ima", ".img")


@dataclass(frozen=True)
class Found:
    """What a set of files holds.

    Attributes:
        stacks: the volumes, in the order of their series' first files.
        segmentations: SEG and RTSTRUCT objects.
        left_out: files that no volume is made of, each with its reason.
        problems: series that make no sound volume, each with what is wrong.
        unsound: the files of these.
        copies: how many files were copies of an object that is there already.
    """

    stacks: tuple[Stack, ...] = ()
    segmentations: tuple[LabelObject, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    problems: tuple[DataError, ...] = ()
    unsound: tuple[Path, ...] = ()
    copies: int = 0


def find_volumes(paths: Iterable[Path], mend: bool = False) -> Found:
    """Sort DICOM files into volumes.

    Args:
        paths: files; those that are no DICOM are listed as left out.
        mend: whether volumes with uneven distances between slices are interpolated, instead of a problem.

    Returns:
        What was found; nothing is raised for bad files, they are listed.

    Raises:
        MissingDependency: without pydicom.
    """
    series = defaultdict[str, list[Frame]](list)
    segmentations: list[LabelObject] = []
    left_out: list[LeftOut] = []
    for path in paths:
        if (bad := _unusable(path)) is not None:
            left_out.append(bad)
            continue
        try:
            found, end = read_dataset(path, TAGS)
            header = header_of(path, found, end)
            if is_segmentation(header) or is_contours(header):
                label = label_object(header, read_dataset(path, LABEL_TAGS)[0])
                if label.structures:
                    segmentations.append(label)
                else:
                    left_out.append(LeftOut(path, "a SEG or RTSTRUCT without a structure"))
            elif lost_its_image(header):
                raise ValueError("cut off before its image")
            elif reason := no_image(header):
                left_out.append(LeftOut(path, reason, series=header.series))
            else:
                series[header.series] += _images(header, found)
        except ImageError as problem:
            left_out.append(LeftOut(path, problem.reason, broken=True))
        except ValueError as problem:
            left_out.append(LeftOut(path, f"damaged: {problem}", broken=True))
    retained = {uid: without_copies(frames) for uid, frames in series.items()}
    copies = sum(len(frames) - len(retained[uid]) for uid, frames in series.items())
    stacks, problems = _stacks(retained, left_out, mend)
    screens = [frames for _, frames in problems if stacks and is_secondary(frames[0].header)]
    left_out += [LeftOut(path, "a secondary capture") for frames in screens for path in _by_file(frames)]
    problems = [(problem, frames) for problem, frames in problems if frames not in screens]
    stacks = _without_scouts(stacks, left_out)
    unsound = dict.fromkeys(frame.header.path for _, frames in problems for frame in frames)
    return Found(
        stacks=tuple(stacks),
        segmentations=tuple(segmentations),
        left_out=tuple(left_out),
        problems=tuple(problem for problem, _ in problems),
        unsound=tuple(unsound),
        copies=copies,
    )


def _unusable(path: Path) -> LeftOut | None:
    try:
        size = path.stat().st_size
    except OSError as problem:
        return LeftOut(path, f"unreadable ({problem.strerror})", broken=True)
    if size == 0:
        return LeftOut(path, "empty", broken=True)
    if is_dicom(path):
        return None
    # A name with another ending is of something else, not of a slice.
    ending = path.suffix.lower()
    if ending in _ENDINGS or ending[1:].isdigit():
        return LeftOut(path, f"no DICOM, or cut off ({size} bytes)", broken=True)
    return LeftOut(path, "no DICOM")


def _images(header: Header, found: Any) -> list[Frame]:
    """The frames of an image file.

    Raises:
        ValueError: if it is too short for its voxels, or contradicts itself.
    """
    if header.lacking:
        raise ValueError(f"cut off, {header.lacking} bytes are missing")
    shape = (header.count or 1, header.rows, header.columns)
    check_announced(header.path, shape, header.bits / 8, PACKED)
    return frames_of(header, found)


def _stacks(
    series: Mapping[str, Sequence[Frame]], left_out: list[LeftOut], mend: bool
) -> tuple[list[Stack], list[tuple[DataError, Sequence[Frame]]]]:
    stacks: list[Stack] = []
    problems: list[tuple[DataError, Sequence[Frame]]] = []
    for uid, frames in series.items():
        placed = [frame for frame in frames if frame.placed]
        flat, unplaced = _flat([frame for frame in frames if not frame.placed], bool(placed))
        stacks += flat
        left_out += unplaced
        planes = _without_films(_without_other_planes(by_plane(placed), left_out), left_out)
        parts = [part for plane in planes for part in volumes_of(plane)]
        broken = [each for each in left_out if each.broken and each.series in ("", uid)]
        for number, (part, words) in enumerate(parts, 1):
            words = words or (f"plane {number}" if len(parts) > 1 else "")
            try:
                _refuse_unsized(part)
                stacks.append(Stack(tuple(part), place(part, mend), words))
            except DataError as problem:
                problems.append((_with_broken(problem, part, broken), part))
    return stacks, problems


def _refuse_unsized(frames: Sequence[Frame]) -> None:
    if unsized := next((frame for frame in frames if not frame.sized), None):
        raise DataError(
            f"{unsized} does not state how large its pixels are (PixelSpacing is missing or not positive). "
            f"Export the series again."
        )


def _with_broken(problem: DataError, frames: Sequence[Frame], broken: Sequence[LeftOut]) -> DataError:
    """A problem with the files that may be what is missing: unreadable ones in the same folders."""
    folders = {frame.header.path.parent for frame in frames}
    near = [f"{each.path.name} ({each.reason})" for each in broken if each.path.parent in folders]
    if not near or not isinstance(problem, UnevenSlices):
        return problem
    more = f" and {len(near) - 3} more" if len(near) > 3 else ""
    return UnevenSlices(f"{problem} Not readable beside them: {', '.join(near[:3])}{more}.")


def _flat(frames: Sequence[Frame], beside_placed: bool) -> tuple[list[Stack], list[LeftOut]]:
    """Frames that do not state where they lie: pictures of their own, or left out."""
    stacks, left_out = [], []
    for path, parts in _by_file(frames).items():
        header = parts[0].header
        if header.count or beside_placed or header.modality in _VOLUMES:
            left_out.append(LeftOut(path, "an image that does not state where it lies", series=header.series))
            continue
        y, x = parts[0].spacing
        identity = tuple(float(value) for value in np.eye(3).ravel())
        grid = Placing((1, header.rows, header.columns), (1.0, y, x), (0.0, 0.0, 0.0), identity, (0.0,))
        stacks.append(Stack(tuple(parts), grid))
    return stacks, left_out


def _by_file(frames: Sequence[Frame]) -> dict[Path, list[Frame]]:
    found: dict[Path, list[Frame]] = {}
    for frame in frames:
        found.setdefault(frame.header.path, []).append(frame)
    return found


def _without_other_planes(planes: list[list[Frame]], left_out: list[LeftOut]) -> list[list[Frame]]:
    """The planes of a series without a slice or two across a whole stack, as scouts are."""
    most = max(map(len, planes), default=0)
    scouts = [plane for plane in planes if most >= _MANY and len(plane) <= _FEW]
    left_out += [
        LeftOut(
            path,
            f"a slice in another plane or size than the other {most} of its series",
            series=plane[0].header.series,
        )
        for plane in scouts
        for path in _by_file(plane)
    ]
    return [plane for plane in planes if plane not in scouts]


def _without_films(planes: list[list[Frame]], left_out: list[LeftOut]) -> list[list[Frame]]:
    """Planes without those whose slices all lie in one place: no volume."""
    films = [plane for plane in planes if in_one_place(plane)]
    reason = "slices in one place, as of bolus tracking or a film"
    left_out += [
        LeftOut(path, reason, series=plane[0].header.series) for plane in films for path in _by_file(plane)
    ]
    return [plane for plane in planes if plane not in films]


def _without_scouts(stacks: list[Stack], left_out: list[LeftOut]) -> list[Stack]:
    """Volumes without what is no volume among volumes: single slices, screens, scouts in several planes."""
    most = max((len(stack.frames) for stack in stacks), default=0)
    images = {stack.header.study for stack in stacks if not is_secondary(stack.header)}
    retained = []
    for stack in stacks:
        if is_secondary(stack.header) and (len(stack.frames) < _MANY or stack.header.study in images):
            reason = "a secondary capture"
        elif stack.header.modality in _VOLUMES and len(stack.frames) == 1 and most >= _MANY:
            reason = "a single slice among volumes"
        elif _crossing(stack, stacks) and most > _SCOUT_SLICES:
            reason = "a few slices in several planes, as a localizer has them"
        else:
            retained.append(stack)
            continue
        left_out += [LeftOut(path, reason, series=stack.header.series) for path in stack.files]
    return retained


def _crossing(stack: Stack, stacks: Sequence[Stack]) -> bool:
    """Whether its series is a few slices in each of several planes."""
    own = [each for each in stacks if each.header.series == stack.header.series]
    if len(own) < 2 or max(len(each.frames) for each in own) > _SCOUT_SLICES:
        return False
    normals = np.array([np.reshape(each.placing.direction, (3, 3))[:, 2] for each in own])
    return bool(np.abs(normals @ normals.T).min() < 0.9)
