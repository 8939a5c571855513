"""Voxels of a MetaImage or NRRD lie in the file or beside it, nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.detached import check_detached
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
