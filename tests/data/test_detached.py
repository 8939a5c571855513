"""Voxels of a MetaImage or NRRD lie in the file or beside it, nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.detached import check_detached, check_numbers
from autoseg.data.image import ImageError
from autoseg.data.readers import read_file

ELSEWHERE = ["../voxels.raw", "/etc/hostname", "..\\voxels.raw", "LIST", "slice%03d.raw 1 9 1", ".."]


@pytest.mark.parametrize("named", ELSEWHERE)
@pytest.mark.parametrize(("ending", "line"), [(".mha", "ElementDataFile = "), (".nrrd", "data file: ")])
def test_a_header_that_names_another_place_is_refused(
    tmp_path: Path, named: str, ending: str, line: str
) -> None:
    path = tmp_path / f"i{ending}"
    path.write_text(f"NRRD0004\ntype: short\n{line}{named}\n\n")
    with pytest.raises(ImageError, match="not a file beside it"):
        check_detached(path)


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd", ".nhdr", ".nii.gz"])
def test_whole_files_and_files_beside_are_read(tmp_path: Path, ending: str) -> None:
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    path = tmp_path / f"i j{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    check_detached(path)
    np.testing.assert_array_equal(read_file(path, "SimpleITKIO").array[0], array)


NRRD = "NRRD0004\ntype: uchar\ndimension: {n}\nsizes: {sizes}\nencoding: raw\n{lines}\n\n"


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ("spacings: 1 NaN 2", "spacings"),
        ("spacings: nan nan nan", "spacings"),
        ("kinds: domain domain domain\nspacings: 1 inf 2", "spacings"),
        ("space: left-posterior-superior\nspace directions: (1,0,0) (0,nan,0) (0,0,1)", "space directions"),
        (
            "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
            "space origin: (0,-inf,0)",
            "space origin",
        ),
    ],
)
def test_an_nrrd_without_a_number_for_an_axis_is_refused(tmp_path: Path, lines: str, field: str) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(NRRD.format(n=3, sizes="2 3 4", lines=lines).encode() + bytes(24))
    with pytest.raises(ImageError, match=rf"for where its voxels lie.*\({field}\)"):
        read_file(path, "SimpleITKIO")


@pytest.mark.parametrize(
    "lines",
    [
        "kinds: RGB-color domain domain\nspacings: nan 0.5 0.7",
        "kinds: vector domain domain domain\nspacings: nan 0.5 0.7 2",
        "spacings: nan 0.5 0.7 2",
        "kinds: vector domain domain domain\nspace: left-posterior-superior\n"
        "space directions: (nan,nan,nan) (1,0,0) (0,1,0) (0,0,1)",
        "content: inf nan\nspacings: 1 2 3",
        "nan:=nan\nspacings: 1 2 3",
    ],
)
def test_nan_of_an_axis_that_has_no_place_is_right(tmp_path: Path, lines: str) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(NRRD.format(n=3, sizes="3 3 4", lines=lines).encode() + bytes(36))
    check_numbers(path)
