"""Pictures and volumes whose files hold more than their size says: pages, layers, colours of print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from autoseg.errors import DataError
from autoseg.intake.conversion import Imported, import_dataset
from autoseg.intake.incoming import Request
from autoseg.workspace import Workspace

RNG = np.random.default_rng(0)
GREY = RNG.integers(10, 250, (30, 40)).astype(np.uint8)
MASK = np.zeros((30, 40), np.uint8)
MASK[5:20, 8:30] = 1


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for folder in ("images", "masks"):
        (tmp_path / "source" / folder).mkdir(parents=True)
    return tmp_path / "source"


def imported(source: Path) -> Imported:
    workspace = Workspace.locate(source.parent / "workspace")
    return import_dataset(source, workspace, "Odd", request=Request(workers=1))


@pytest.mark.parametrize("pages", [2, 4, 9])
def test_a_volume_of_pages_needs_a_mask_of_pages(source: Path, pages: int) -> None:
    volume = np.stack([GREY] * pages)
    for n in range(2):
        tifffile.imwrite(source / "images" / f"p{n}.tif", volume, photometric="minisblack")
        tifffile.imwrite(source / "masks" / f"p{n}.tif", MASK)
    with pytest.raises(DataError, match=rf"40 x 30 x {pages} pixels, but .*p0.tif 40 x 30\."):
        imported(source)
    for n in range(2):
        tifffile.imwrite(source / "masks" / f"p{n}.tif", np.stack([MASK] * pages), photometric="minisblack")
    assert imported(source).document["labels"] == {"background": 0, "foreground": 1}


@pytest.mark.parametrize("ending", [".tif", ".jpg"])
def test_colours_of_print_are_called_so(source: Path, ending: str) -> None:
    for n in range(2):
        Image.fromarray(np.dstack([GREY] * 4), "CMYK").save(source / "images" / f"p{n}{ending}")
        Image.fromarray(MASK).save(source / "masks" / f"p{n}.png")
    with pytest.raises(DataError, match="is in CMYK, the colours of print"):
        imported(source)


@pytest.mark.parametrize("layered", ["images", "masks"])
@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz"])
def test_several_values_for_each_voxel_are_refused_before_anything_is_written(
    source: Path, layered: str, ending: str
) -> None:
    """3D Slicer saves segments that overlap as layers: one component of a voxel each."""
    volume = np.stack([MASK] * 6)
    layers = sitk.GetImageFromArray(np.stack([volume, 1 - volume], -1), isVector=True)
    for n in range(2):
        for folder in ("images", "masks"):
            image = layers if folder == layered else sitk.GetImageFromArray(volume)
            sitk.WriteImage(image, str(source / folder / f"p{n}{ending}"))
    with pytest.raises(DataError, match=r"has 2 values for each voxel.*collapse the layers"):
        imported(source)
    assert not list((source.parent / "workspace").glob("raw/*"))
