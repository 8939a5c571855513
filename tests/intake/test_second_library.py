"""Files that two libraries read differently are named; sound ones are not."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from sound_data import SharedData, declare, image, write
from typer.testing import CliRunner

from autoseg.cli.app import app
from autoseg.data.dataset import Dataset, load_dataset
from autoseg.intake.verification.second_library import check_with_second_library


def found(root: Path) -> list[tuple[str | None, str]]:
    return [(finding.case, finding.message) for finding in check_with_second_library(load_dataset(root))]


def test_sound_volumes_are_read_alike(raw: Path) -> None:
    assert found(raw) == []


def test_an_intercept_without_a_slope_is_read_differently(raw: Path) -> None:
    """nibabel takes a slope of 0 as no scaling; SimpleITK adds the intercept all the same."""
    stored = sitk.ReadImage(str(image(raw)))
    sitk.WriteImage(sitk.Cast(stored, sitk.sitkInt16), str(image(raw)))
    content = bytearray(gzip.decompress(image(raw).read_bytes()))
    content[112:120] = np.array([0, 10], np.float32).tobytes()
    image(raw).write_bytes(gzip.compress(bytes(content)))
    assert found(raw) == [
        ("c1", "nibabel reads another value of voxels from this file than what training reads.")
    ]


def test_a_place_that_two_headers_state_differently_is_found(raw: Path) -> None:
    """With codes 1 and 2 SimpleITK takes the qform, nibabel the sform."""
    stored = nibabel.load(image(raw))
    twice = nibabel.Nifti1Image(np.asarray(stored.dataobj), stored.affine)
    turned = stored.affine @ np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    twice.set_qform(turned, 1)
    twice.set_sform(stored.affine, 2)
    nibabel.save(twice, image(raw))
    assert found(raw) == [("c1", "nibabel reads another place from this file than what training reads.")]


def test_pictures_are_compared_with_simpleitk(tmp_path: Path) -> None:
    root = tmp_path / "Dataset051_Pictures"
    for number in range(2):
        array = np.random.default_rng(number).integers(0, 255, (12, 16, 3)).astype(np.uint8)
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(root / "imagesTr" / f"c{number}_0000.png")
        Image.fromarray((array[..., 0] > 99).astype(np.uint8)).save(root / "labelsTr" / f"c{number}.png")
    declare(
        root, channel_names={"0": "R", "1": "G", "2": "B"}, labels={"background": 0, "x": 1},
        numTraining=2, file_ending=".png",
    )  # fmt: skip
    assert found(root) == []


def test_a_format_without_a_second_library_is_said(raw: Path) -> None:
    for path in raw.glob("*Tr/*.nii.gz"):
        write(
            path.with_name(path.name.replace(".nii.gz", ".mha")),
            sitk.GetArrayFromImage(sitk.ReadImage(str(path))),
        )
        path.unlink()
    declare(raw, file_ending=".mha")
    (only,) = check_with_second_library(load_dataset(raw))
    assert only.code == "no_second_library"


@pytest.mark.parametrize("name", ["Dataset030_MSLesion", "Dataset040_CTOrgans", "Dataset021_NucleiColor"])
def test_healthy_data_are_read_alike(name: str, shared_data: SharedData) -> None:
    whole = load_dataset(shared_data(name))
    few = Dataset(**{**vars(whole), "cases": whole.cases[:3]})
    assert list(check_with_second_library(few)) == []


def test_the_option_adds_to_the_report(raw: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["verify", str(raw), "--second-library", "--workspace", str(tmp_path / "ws")]
    )
    assert done.exit_code == 0, done.output
    assert "4 cases, 0 errors, 0 warnings." in done.output
