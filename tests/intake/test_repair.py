"""`verify --fix`: what leaves no choice is mended in a copy, listed, and the data set stays as it is."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from typer.testing import CliRunner

from autoseg.cli.app import app
from autoseg.errors import UsageError
from autoseg.intake.repair import write_repaired
from autoseg.intake.verification.dataset_check import verify
from autoseg.system.files import write_json

SHAPE = (6, 8, 10)


def volume(number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    label = np.zeros(SHAPE, np.uint8)
    label[1:4, 2:5, 1:4], label[2:5, 4:7, 6:9], label[0, 0, number] = 1, 2, 1
    return label * 100.0 + number + np.arange(SHAPE[2], dtype=np.float32), label


def save(path: Path, array: np.ndarray, axes: str = "LPS") -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.9, 1.1, 2.5))
    image.SetOrigin((-3, 8, 20))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image, axes), str(path))


def dataset(root: Path, cases: int = 3, ending: str = ".nii.gz", **content: Any) -> Path:
    for number in range(cases):
        image, label = volume(number)
        save(root / "imagesTr" / f"c{number}_0000{ending}", image.astype(np.float32))
        save(root / "labelsTr" / f"c{number}{ending}", label)
    document = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "head": 1, "tail": 2},
        "numTraining": cases,
        "file_ending": ending,
    }
    write_json(root / "dataset.json", {**document, **content})
    return root


def state(root: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


def rounded(root: Path) -> None:
    array = volume(0)[1].astype(np.float32) * np.float32(1.0000153)
    save(root / "labelsTr" / "c0.nii.gz", array)


def turned(root: Path) -> None:
    save(root / "labelsTr" / "c0.nii.gz", volume(0)[1], "LAS")


def otherwise(root: Path) -> None:
    save(root / "imagesTr" / "c0_0000.nii.gz", volume(0)[0].astype(np.float32), "RPS")
    save(root / "labelsTr" / "c0.nii.gz", volume(0)[1], "RPS")


def nowhere(root: Path) -> None:
    array = volume(0)[0].astype(np.float32)
    array[0, 0, 0], array[1, 0, 0] = np.nan, np.inf
    save(root / "imagesTr" / "c0_0000.nii.gz", array)


def miscounted(root: Path) -> None:
    document = json.loads((root / "dataset.json").read_text())
    write_json(root / "dataset.json", {**document, "numTraining": 7})


def four(root: Path) -> None:
    for number in range(3):
        path = root / "imagesTr" / f"c{number}_0000.nii.gz"
        sitk.WriteImage(
            sitk.JoinSeries(
                [sitk.ReadImage(str(path))] * 2
                if number
                else [sitk.ReadImage(str(path)), sitk.ReadImage(str(path)) + 1]
            ),
            str(path),
        )
    document = json.loads((root / "dataset.json").read_text())
    write_json(root / "dataset.json", {**document, "channel_names": {"0": "T1", "1": "T2"}})


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (rounded, "label_rounded", "labelsTr/c0.nii.gz: values rounded to whole numbers"),
        (turned, "label_direction_mismatch", "labelsTr/c0.nii.gz: turned onto its image, without loss"),
        (otherwise, "mixed_orientation", "imagesTr/c0_0000.nii.gz: stored along LPS, as the others"),
        (nowhere, "not_finite", "imagesTr/c0_0000.nii.gz: NaN and infinity written as 0"),
        (miscounted, "num_training", "dataset.json: numTraining 7 to 3"),
        (four, "four_dimensions", "imagesTr/c0_0000.nii.gz: divided into 2 files, one for each channel"),
    ],
)
def test_each_kind_is_mended_in_the_copy(
    spoil: Callable[[Path], None], code: str, words: str, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "Dataset001_Broken")
    spoil(root)
    before = state(root)
    assert code in {finding.code for finding in verify(root, 1).findings}
    done = write_repaired(root, tmp_path / "Dataset002_Mended", 1)
    assert words in [str(each) for each in done.repairs]
    assert code not in {finding.code for finding in done.report.findings}
    assert not done.report.errors
    assert state(root) == before
    # The first case is what it was before it was spoilt, voxel by voxel and in its place.
    label = sitk.ReadImage(str(done.root / "labelsTr" / "c0.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(label), volume(0)[1])
    assert label.GetOrigin() == pytest.approx((-3, 8, 20)) and label.GetSpacing() == pytest.approx(
        (0.9, 1.1, 2.5)
    )
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(done.root / "imagesTr" / "c0_0000.nii.gz")))
    different = 2 if spoil is nowhere else 0
    assert (image != volume(0)[0].astype(np.float32)).sum() <= different
    assert json.loads((done.root / "repairs.json").read_text())[0].keys() == {"file", "what"}


def test_micrometres_become_millimetres(tmp_path: Path) -> None:
    root = dataset(tmp_path / "Dataset001_Broken", ending=".nii")
    for path in root.glob("*Tr/*.nii"):
        found = nibabel.load(path)
        image = nibabel.Nifti1Image(np.asarray(found.dataobj), np.diag([1000.0] * 3 + [1]) @ found.affine)
        image.header.set_xyzt_units("micron")
        nibabel.save(image, path)
    assert "other_unit" in {finding.code for finding in verify(root, 1).findings}
    done = write_repaired(root, tmp_path / "Dataset002_Mended", 1)
    assert "other_unit" not in {finding.code for finding in done.report.findings}
    header = nibabel.load(done.root / "imagesTr" / "c0_0000.nii").header
    assert header.get_zooms() == pytest.approx((0.9, 1.1, 2.5))
    assert header.get_xyzt_units()[0] == "mm"


def test_black_and_white_masks_count_from_one(tmp_path: Path) -> None:
    root = tmp_path / "Dataset001_Pictures"
    for number in range(2):
        label = np.zeros((16, 20), np.uint8)
        label[4:9, 5 + number : 12] = 255
        for folder, name, array in (("imagesTr", "_0000", label // 2 + number), ("labelsTr", "", label)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(root / folder / f"c{number}{name}.png")
    document = {"channel_names": {"0": "grey"}, "labels": {"background": 0, "cell": 1}}
    write_json(root / "dataset.json", {**document, "numTraining": 2, "file_ending": ".png"})
    done = write_repaired(root, tmp_path / "out", 1)
    assert [str(each) for each in done.repairs] == [f"labelsTr/c{n}.png: 255 written as 1" for n in (0, 1)]
    assert not done.report.findings


def test_a_choice_that_is_a_person_s_is_left(tmp_path: Path) -> None:
    """A label that lies elsewhere, and values that are not declared, have no one right answer."""
    root = dataset(tmp_path / "Dataset001_Broken")
    image = sitk.GetImageFromArray(volume(0)[1] + 5)
    sitk.WriteImage(image, str(root / "labelsTr" / "c0.nii.gz"))
    done = write_repaired(root, tmp_path / "out", 1)
    assert done.repairs == () and done.report.errors
    assert state(root / "labelsTr").values().__iter__().__next__() in state(done.root / "labelsTr").values()


def test_the_copy_must_be_new_and_elsewhere(tmp_path: Path) -> None:
    root = dataset(tmp_path / "Dataset001_Broken")
    with pytest.raises(UsageError, match="lies in the data set"):
        write_repaired(root, root / "copy", 1)
    with pytest.raises(UsageError, match="is there already"):
        write_repaired(root, root, 1)


def test_the_command_lists_what_it_did(tmp_path: Path) -> None:
    root = dataset(tmp_path / "Dataset001_Broken")
    miscounted(root)
    out = tmp_path / "mended"
    done = CliRunner().invoke(
        app, ["verify", str(root), "--fix", str(out), "--workspace", str(tmp_path / "ws")]
    )
    assert done.exit_code == 0, done.output
    assert "mended: dataset.json: numTraining 7 to 3" in done.output
    assert "3 cases, 0 errors, 0 warnings." in done.output
    assert not list(tmp_path.glob(".*partial"))


def test_another_command_s_unfinished_copy_is_left_alone(tmp_path: Path) -> None:
    source, output = dataset(tmp_path / "Dataset001_A"), tmp_path / "Dataset002_B"
    other = tmp_path / f".{os.getppid()}-{platform.node() or 'host'}.{output.name}"
    older = tmp_path / f".{output.name}.partial"
    for folder in (other, older):
        folder.mkdir()
        (folder / "file").write_text("work")
    write_repaired(source, output, workers=1)
    assert (other / "file").is_file() and (older / "file").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        (source.name, output.name, other.name, older.name)
    )
