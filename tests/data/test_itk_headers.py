"""What ITK said of one NIfTI header serves for the next: never for one of which it says something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data import itk_headers
from autoseg.data.itk_headers import NiftiSaid, asked, nifti_header

WAYS = ("GetSize", "GetSpacing", "GetOrigin", "GetDirection", "GetPixelID", "GetNumberOfComponents")


def facts(header: Any) -> list[Any]:
    return [getattr(header, way)() for way in WAYS]


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    itk_headers._known.clear()


def write(path: Path, size: tuple[int, ...], kind: type = np.uint8, **place: Any) -> Path:
    image = sitk.GetImageFromArray(np.zeros(size[::-1], kind), isVector=False)
    for name, value in place.items():
        getattr(image, f"Set{name}")(value)
    sitk.WriteImage(image, str(path))
    return path


def test_headers_that_differ_in_size_alone_are_asked_once_and_any_other_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    told = 0
    for n in range(60):
        turn = sitk.Euler3DTransform((0, 0, 0), *rng.uniform(-3, 3, 3)).GetMatrix()
        place = {
            "Spacing": tuple(rng.uniform(0.1, 5, 3)),
            "Origin": tuple(rng.uniform(-200, 200, 3)),
            "Direction": turn if n % 3 else (-1, 0, 0, 0, 0, 1, 0, -1, 0),
        }
        if n % 2:  # one number of the same place differs
            place = {**place, "Spacing": (1.0, 2.0, 3.0), "Origin": (float(n), 0.0, 0.0)}
        kind = (np.uint8, np.int16, np.float32, np.float64)[n % 4]
        for which in range(3):
            ending = (".nii", ".nii.gz")[which % 2]
            path = write(
                tmp_path / f"{n}_{which}{ending}", tuple(rng.integers(2, 9, 3).tolist()), kind, **place
            )
            found = nifti_header(path)
            told += isinstance(found, NiftiSaid)
            assert facts(found) == facts(asked(path))
    assert len(itk_headers._known) == 60 and told == 180


def test_headers_of_other_kinds_are_asked_each_time(tmp_path: Path) -> None:
    for name, size in {"flat": (5, 6), "slice": (5, 6, 1), "row": (1, 6, 5), "four": (4, 5, 6, 2)}.items():
        for again in range(2):
            path = write(tmp_path / f"{name}{again}.nii.gz", size)
            found = nifti_header(path)
            assert not isinstance(found, NiftiSaid) and found.GetSize() == size
    vectors = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.float32), isVector=True)
    sitk.WriteImage(vectors, str(tmp_path / "vectors.nii"))
    assert nifti_header(tmp_path / "vectors.nii").GetNumberOfComponents() == 3
    assert not itk_headers._known


def test_a_file_that_is_none_is_refused_as_ever_beside_one_that_is(tmp_path: Path) -> None:
    sound = write(tmp_path / "sound.nii.gz", (5, 6, 7))
    nifti_header(sound)
    for name, content in {"cut": sound.read_bytes()[:30], "empty": b"", "text": b"x" * 400}.items():
        path = tmp_path / f"{name}.nii.gz"
        path.write_bytes(content)
        with pytest.raises(RuntimeError):
            nifti_header(path)


def test_the_voxels_come_from_the_file_itself(tmp_path: Path) -> None:
    write(tmp_path / "first.nii.gz", (5, 6, 7))
    nifti_header(tmp_path / "first.nii.gz")
    ramp = np.arange(4 * 3 * 2, dtype=np.uint8).reshape(2, 3, 4)
    sitk.WriteImage(sitk.GetImageFromArray(ramp), str(tmp_path / "second.nii.gz"))
    found = nifti_header(tmp_path / "second.nii.gz")
    assert isinstance(found, NiftiSaid)
    assert np.array_equal(sitk.GetArrayFromImage(found.Execute()), ramp)
