"""One file of a raw data set, mended: see `autoseg.intake.repair` for what is mended."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.length_units import mm_of, stated_unit
from autoseg.data.world import affine_of, turn_of
from autoseg.intake.incoming import MEDICAL, ending_of

_WORDS = {
    "whole": "values rounded to whole numbers",
    "black_and_white": "255 written as 1",
    "turn_onto_image": "turned onto its image, without loss",
    "finite": "NaN and infinity written as 0",
    "millimetres": "lengths written in mm",
}


@dataclass(frozen=True)
class FileRepair:
    """What is done to a file.

    Attributes:
        path: the file.
        steps: names of what is done, in order.
        is_label: whether it is a label.
        image: the first image of its case, whose grid a label takes.
        axes: in letters, along which axes it is to be stored; "" as it is.
    """

    path: Path
    steps: tuple[str, ...]
    is_label: bool
    image: Path
    axes: str = ""


def repair_file(repair: FileRepair, target: Path) -> list[str]:
    """Write a mended file, or several for one of several channels; what cannot be mended is copied.

    Returns:
        What was done, in words; empty where the file was copied as it is.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    ending = ending_of(repair.path)
    if ending in MEDICAL:
        done = _volume(repair, target)
    else:
        done = _picture(repair, target) if repair.steps == ("black_and_white",) else []
    if not done:
        shutil.copy2(repair.path, target)
    return done


def _picture(repair: FileRepair, target: Path) -> list[str]:
    from PIL import Image

    with Image.open(repair.path) as picture:
        array = np.asarray(picture)
    Image.fromarray((array == 255).astype(np.uint8)).save(target)
    return [_WORDS["black_and_white"]]


def _volume(repair: FileRepair, target: Path) -> list[str]:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(repair.path))
    done: list[str] = []
    for step in repair.steps:
        if step == "split":
            return _split(image, repair, target)
        if step == "store_as_others":
            image, words = sitk.DICOMOrient(image, repair.axes), f"stored along {repair.axes}, as the others"
        else:
            image, words = _STEPS[step](image, repair), _WORDS[step]
        if image is None:
            return []
        done.append(words)
    sitk.WriteImage(image, str(target), True)
    return done


def _with_array(array: Any, like: Any) -> Any:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.CopyInformation(like)
    return image


def _whole(image: Any, repair: FileRepair) -> Any:
    import SimpleITK as sitk

    values = np.rint(sitk.GetArrayViewFromImage(image)).astype(np.int64)
    kind = np.min_scalar_type(int(values.max())) if values.min() >= 0 else np.int16
    return _with_array(values.astype(kind), image)


def _black_and_white(image: Any, repair: FileRepair) -> Any:
    import SimpleITK as sitk

    return _with_array((sitk.GetArrayViewFromImage(image) == 255).astype(np.uint8), image)


def _finite(image: Any, repair: FileRepair) -> Any:
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(image)
    return _with_array(np.where(np.isfinite(array), array, 0).astype(array.dtype), image)


def _millimetres(image: Any, repair: FileRepair) -> Any:
    """SimpleITK turns NIfTI's units into mm when it reads, and writes mm; of others it takes the numbers."""
    factor = mm_of(stated_unit(repair.path))
    image.SetSpacing([factor * each for each in image.GetSpacing()])
    image.SetOrigin([factor * each for each in image.GetOrigin()])
    for key in image.GetMetaDataKeys():
        if "unit" in key.lower():
            image.EraseMetaData(key)
    return image


def _onto_image(image: Any, repair: FileRepair) -> Any:
    """The label's voxels in the order of the image's; None where they do not lie at the same places."""
    import SimpleITK as sitk

    wanted = sitk.ReadImage(str(repair.image))
    if image.GetDimension() != 3 or wanted.GetDimension() != 3:
        return None
    turn = turn_of(_affine(image), image.GetSize()[::-1], _affine(wanted), tuple(reversed(wanted.GetSize())))
    if turn is None or not turn.exact:
        return None
    return _with_array(turn.apply(sitk.GetArrayViewFromImage(image)), wanted)


def _affine(image: Any) -> np.ndarray:
    direction = np.reshape(image.GetDirection(), (3, 3))
    return affine_of(direction, image.GetSpacing(), image.GetOrigin())


def _split(image: Any, repair: FileRepair, target: Path) -> list[str]:
    """A file for each channel, CASE_0000 and on, beside the first; only where no such file is there."""
    import SimpleITK as sitk

    ending = ending_of(repair.path)
    stem = repair.path.name.removesuffix(ending)
    single = stem.endswith("_0000") and not repair.path.with_name(f"{stem[:-4]}0001{ending}").exists()
    if repair.is_label or image.GetDimension() != 4 or not single:
        return []
    size, count = list(image.GetSize()), image.GetSize()[3]
    for channel in range(count):
        part = sitk.Extract(image, [*size[:3], 0], [0, 0, 0, channel])
        sitk.WriteImage(part, str(target.with_name(f"{stem[:-4]}{channel:04d}{ending}")), True)
    return [f"divided into {count} files, one for each channel"]


_STEPS = {
    "whole": _whole,
    "black_and_white": _black_and_white,
    "turn_onto_image": _onto_image,
    "finite": _finite,
    "millimetres": _millimetres,
}
