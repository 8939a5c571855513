"""Spacings of 3D TIFFs: nnU-Net's file beside, then what ImageJ or OME wrote, then none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from autoseg.data.readers import read_file
from autoseg.data.tiff_spacing import is_volume, stated_spacing
from autoseg.intake.conversion import import_dataset
from autoseg.intake.incoming import Request
from autoseg.workspace import Workspace

STACK = np.random.default_rng(0).integers(0, 900, (7, 12, 10)).astype(np.uint16)


def imagej(path: Path, array: np.ndarray = STACK) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"spacing": 1.5, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(path, array, imagej=True, resolution=(5.0, 4.0), metadata=about)


def ome(path: Path, array: np.ndarray = STACK) -> None:
    sizes = {"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 1.5}
    units = {f"{key}Unit": "µm" for key in sizes}
    tifffile.imwrite(path, array, ome=True, metadata={"axes": "ZYX", **sizes, **units})


@pytest.mark.parametrize("write", [imagej, ome])
def test_what_the_file_states_counts_unless_a_file_beside_says_otherwise(
    tmp_path: Path, write: object
) -> None:
    path = tmp_path / "case_0000.tif"
    write(path)  # type: ignore[operator]
    assert read_file(path, "Tiff3DIO").spacing == pytest.approx((1.5, 0.25, 0.2))
    assert read_file(path, "Tiff3DIO").array.shape == (1, *STACK.shape)
    (tmp_path / "case.json").write_text(json.dumps({"spacing": [3, 1, 1]}))
    assert read_file(path, "Tiff3DIO").spacing == (3, 1, 1)


def test_a_plain_stack_states_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a_0000.tif", STACK)
    assert stated_spacing(tmp_path / "a_0000.tif") is None
    assert read_file(tmp_path / "a_0000.tif", "Tiff3DIO").spacing == (1, 1, 1)
    tifffile.imwrite(tmp_path / "b.tif", STACK[:3].transpose(1, 2, 0).astype(np.uint8), photometric="rgb")
    assert is_volume(tmp_path / "a_0000.tif")
    assert not is_volume(tmp_path / "b.tif")


@pytest.mark.parametrize("slices", [3, 4, 7])
def test_an_import_takes_it_over_and_says_so(tmp_path: Path, slices: int) -> None:
    for number in range(3):
        mask = np.zeros(STACK[:slices].shape, np.uint16)
        mask[1:3, 2:6, 2:6] = 1
        imagej(tmp_path / "s" / "images" / f"s{number}.tif", STACK[:slices] + number)
        imagej(tmp_path / "s" / "masks" / f"s{number}.tif", mask)
    workspace = Workspace.locate(tmp_path / "w")
    done = import_dataset(tmp_path / "s", workspace, "Stacks", request=Request(workers=1))
    image = read_file(done.root / "imagesTr" / "s1_0000.tif", "Tiff3DIO")
    label = read_file(done.root / "labelsTr" / "s1.tif", "Tiff3DIO", segmentation=True)
    assert image.spacing == label.spacing == pytest.approx((1.5, 0.25, 0.2))
    assert json.loads((done.root / "imagesTr" / "s1.json").read_text())["spacing"] == pytest.approx(
        [1.5, 0.25, 0.2]
    )
    assert done.document["overwrite_image_reader_writer"] == "Tiff3DIO"
    assert any("1.5 x 0.25 x 0.2 um (z, y, x; ImageJ)" in note for note in done.notes)


def test_listed_files_keep_their_spacing(tmp_path: Path) -> None:
    for number in range(2):
        for part, array in (("scan", STACK), ("truth", (STACK > 450).astype(np.uint8))):
            (tmp_path / "s" / part).mkdir(parents=True, exist_ok=True)
            name = f"x{number}_0000" if part == "scan" else f"x{number}"
            tifffile.imwrite(tmp_path / "s" / part / f"{name}.tif", array)
            (tmp_path / "s" / part / f"x{number}.json").write_text(json.dumps({"spacing": [1.5, 0.2, 0.2]}))
    about = {
        "channel_names": {"0": "EM"},
        "labels": {"background": 0, "cell": 1},
        "numTraining": 2,
        "file_ending": ".tif",
        "dataset": {
            f"c{n}": {"images": [f"scan/x{n}_0000.tif"], "label": f"truth/x{n}.tif"} for n in range(2)
        },
    }
    (tmp_path / "s" / "dataset.json").write_text(json.dumps(about))
    done = import_dataset(
        tmp_path / "s", Workspace.locate(tmp_path / "w"), "Listed", request=Request(workers=1)
    )
    assert read_file(done.root / "imagesTr" / "c1_0000.tif", "Tiff3DIO").spacing == (1.5, 0.2, 0.2)
    assert read_file(done.root / "labelsTr" / "c1.tif", "Tiff3DIO", segmentation=True).spacing == (
        1.5,
        0.2,
        0.2,
    )
