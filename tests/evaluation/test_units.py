"""Lengths are in mm whatever unit a file states, and what is written states the unit that was read."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.readers import read_images, read_segmentation, write_segmentation
from autoseg.evaluation.scoring import evaluate

# One voxel of 0.8 mm between two borders, stated in another unit.
FACTORS = {"micron": 800.0, "meter": 0.0008, "mm": 0.8}


def boxes() -> tuple[np.ndarray, np.ndarray]:
    one = np.zeros((9, 10, 11), np.uint8)
    one[2:7, 2:7, 2:7] = 1
    other = one.copy()
    other[2:7, 2:7, 7] = 1
    return one, other


def nifti(path: Path, array: np.ndarray, unit: str) -> None:
    image = nibabel.Nifti1Image(array.transpose(2, 1, 0), np.diag([*[FACTORS[unit]] * 3, 1]))
    image.header.set_xyzt_units(unit)
    path.parent.mkdir(exist_ok=True)
    nibabel.save(image, path)


def with_line(path: Path, array: np.ndarray, unit: str, line: str, before: str) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((FACTORS[unit],) * 3)
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))
    content = path.read_bytes()
    place = content.index(before.encode())
    path.write_bytes(content[:place] + line.encode() + b"\n" + content[place:])


def save(path: Path, array: np.ndarray, unit: str) -> None:
    short = {"micron": "um", "meter": "m", "mm": "mm"}[unit]
    if path.suffix == ".nrrd":
        with_line(path, array, unit, f'space units: "{short}" "{short}" "{short}"', "space directions")
    elif path.suffix == ".mha":
        with_line(path, array, unit, f"DistanceUnits = {short}", "ElementType")
    else:
        nifti(path, array, unit)


@pytest.mark.parametrize("unit", ["micron", "meter", "mm"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("other", [".nii", ".nii.gz"])
def test_distances_are_in_mm(tmp_path: Path, unit: str, ending: str, other: str) -> None:
    reference, prediction = boxes()
    save(tmp_path / "r" / f"a{ending}", reference, unit)
    # One and the same place: nibabel's files point to the right and the front, the others not.
    if other == ending or {ending, other} == {".nii", ".nii.gz"}:
        save(tmp_path / "p" / f"a{other}", prediction, "mm")
    else:
        save(tmp_path / "p" / f"a{ending}", prediction, unit)
    found = evaluate(tmp_path / "p", references=tmp_path / "r", labels={"a": 1}, workers=1)
    assert found.values("hd", "a")["a"] == pytest.approx(0.8, rel=1e-4)


@pytest.mark.parametrize(
    ("ending", "reader"), [(".nii", "NibabelIO"), (".nrrd", "SimpleITKIO"), (".mha", "SimpleITKIO")]
)
def test_what_is_written_has_the_unit_of_the_image(tmp_path: Path, ending: str, reader: str) -> None:
    save(tmp_path / f"a_0000{ending}", boxes()[0], "micron")
    image = read_images([tmp_path / f"a_0000{ending}"], reader)
    assert (image.spacing[0], image.unit_mm) == (pytest.approx(800), 1e-3)
    write_segmentation(boxes()[1], tmp_path / f"b{ending}", image.properties, reader)
    again = read_segmentation(tmp_path / f"b{ending}", reader)
    assert (again.spacing[0], again.unit_mm) == (pytest.approx(800), 1e-3)
    np.testing.assert_array_equal(again.array[0], boxes()[1])
