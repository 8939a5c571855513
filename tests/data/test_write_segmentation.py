"""Segmentations are written as nnU-Net writes them, whole or not at all."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from stock_readers import (
    assert_equal,
    oblique,
    stock,
    write_nifti,
)

from autoseg.data.readers import (
    read_images,
    read_segmentation,
    write_segmentation,
)


def written(name: str, ending: str, source: Path, high: int, folder: Path) -> tuple[Path, Path]:
    """The same segmentation written by us and by nnU-Net, for the geometry of `source`."""
    image = read_images([source], name)
    seg = np.random.default_rng(6).integers(0, high, image.array.shape[1:]).astype(np.int64)
    mine, theirs = folder / f"mine{ending}", folder / f"theirs{ending}"
    write_segmentation(seg, mine, image.properties, name)
    stock(name).write_seg(seg, str(theirs), stock(name).read_images([str(source)])[1])
    np.testing.assert_array_equal(read_segmentation(mine, name).array[0], seg)
    return mine, theirs


# nnU-Net wraps labels above 255 with SimpleITKIOWithReorient, so only low ones are compared there.
@pytest.mark.parametrize(
    ("name", "ending", "high"),
    [
        *itertools.product(["SimpleITKIO"], [".nii.gz", ".nrrd", ".mha"], [3, 300]),
        *itertools.product(["NibabelIO", "NibabelIOWithReorient"], [".nii.gz", ".nii"], [3, 300]),
        ("SimpleITKIOWithReorient", ".nii.gz", 3),
    ],
)
def test_segmentations_of_volumes_are_written_as_in_nnunet(
    name: str, ending: str, high: int, tmp_path: Path
) -> None:
    source = oblique(np.zeros((5, 6, 7), np.int16), tmp_path / f"a_0000{ending}")
    mine, theirs = written(name, ending, source, high, tmp_path)
    for reader in ("SimpleITKIO", "NibabelIO") if ending.startswith(".nii") else ("SimpleITKIO",):
        one, other = stock(reader).read_seg(str(mine)), stock(reader).read_seg(str(theirs))
        assert_equal(one[1], other[1])
        np.testing.assert_array_equal(one[0], other[0])
    assert sitk.ReadImage(str(mine)).GetPixelID() == sitk.ReadImage(str(theirs)).GetPixelID()
    if ".gz" not in ending:
        assert mine.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("high", [3, 300])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_segmentations_of_2d_images_are_written_as_in_nnunet(ending: str, high: int, tmp_path: Path) -> None:
    source = tmp_path / f"a_0000{ending}"
    write_segmentation(np.zeros((1, 9, 11), int), source, {}, "NaturalImage2DIO")
    mine, theirs = written("NaturalImage2DIO", ending, source, high, tmp_path)
    assert mine.read_bytes() == theirs.read_bytes()


def test_segmentations_of_3d_tiff_are_written_as_in_nnunet(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a_0000.tif", np.zeros((5, 8, 9), np.uint8))
    (tmp_path / "a.json").write_text('{"spacing": [3, 0.5, 0.5]}')
    mine, theirs = written("Tiff3DIO", ".tif", tmp_path / "a_0000.tif", 300, tmp_path)
    assert mine.read_bytes() == theirs.read_bytes()
    assert json.loads((tmp_path / "mine.json").read_text()) == json.loads(
        (tmp_path / "theirs.json").read_text()
    )


def test_a_2d_nifti_comes_back_on_its_geometry(tmp_path: Path) -> None:
    source = write_nifti(tmp_path / "a_0000.nii.gz", np.zeros((7, 8), np.int16))
    mine, theirs = written("SimpleITKIO", ".nii.gz", source, 3, tmp_path)
    one, other = stock("SimpleITKIO").read_seg(str(mine)), stock("SimpleITKIO").read_seg(str(theirs))
    np.testing.assert_array_equal(one[0], other[0])
    assert_equal(one[1], other[1])


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = oblique(np.zeros((5, 6, 7), np.int16), tmp_path / "a_0000.nii.gz")
    properties = read_images([source], "SimpleITKIO").properties
    target = tmp_path / "seg.nii.gz"
    target.write_bytes(b"the earlier one")

    def fails(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(sitk, "WriteImage", fails)
    with pytest.raises(OSError, match="disk is full"):
        write_segmentation(np.zeros((5, 6, 7), int), target, properties, "SimpleITKIO")
    assert target.read_bytes() == b"the earlier one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_0000.nii.gz", "seg.nii.gz"]
