"""What labels say of the anatomy: each planted fault is found, by name, and sound data have no finding."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from sound_data import SharedData, declare

from autoseg.data.labels import Labels
from autoseg.intake.verification.anatomy_checks import pairs_of_sides
from autoseg.intake.verification.dataset_check import verify
from autoseg.intake.verification.findings import Finding

SHAPE = (8, 16, 24)


def save(path: Path, array: np.ndarray, flip: bool = False) -> None:
    image = sitk.GetImageFromArray(array)
    if flip:
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def bodies(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A body on a background of 0, with a kidney on either side: the left one where x is large."""
    rng = np.random.default_rng(number)
    label = np.zeros(SHAPE, np.uint8)
    label[2:6, 5:10, 15 : 19 + number % 3], label[2:6, 5:10, 4:8] = 1, 2
    image = np.zeros(SHAPE, np.float32)
    image[1:7, 3:13, 2:22] = rng.normal(100, 10, (6, 10, 20)).clip(1)
    return image, label


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    root = tmp_path / "Dataset050_Kidneys"
    for number in range(6):
        image, label = bodies(number)
        label[2, 2, number] = 1
        save(root / "imagesTr" / f"c{number}_0000.nii.gz", image)
        save(root / "labelsTr" / f"c{number}.nii.gz", label)
    labels = {"background": 0, "kidney_left": 1, "kidney_right": 2}
    declare(root, channel_names={"0": "MR"}, labels=labels, numTraining=6)
    return root


def found(raw: Path, code: str) -> list[Finding]:
    return [finding for finding in verify(raw, 1).findings if finding.code == code]


def test_sound_bodies_have_no_findings(raw: Path) -> None:
    assert verify(raw, 1).findings == ()


def test_exchanged_sides_are_found(raw: Path) -> None:
    _, label = bodies(1)
    label[2, 2, 1] = 1
    save(raw / "labelsTr" / "c1.nii.gz", np.choose(label, [0, 2, 1]).astype(np.uint8))
    (finding,) = found(raw, "sides_swapped")
    assert finding.case == "c1"
    assert "'kidney_left' lies to the patient's right of its partner in 1 of 6 cases: c1" in finding.message


def test_sides_are_those_of_the_headers(raw: Path) -> None:
    """Arrays that run the other way, with headers that say so, are sound; all are turned here."""
    for number in range(6):
        for path in (raw / "imagesTr" / f"c{number}_0000.nii.gz", raw / "labelsTr" / f"c{number}.nii.gz"):
            array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
            save(path, array[:, ::-1, ::-1].copy(), flip=True)
    assert verify(raw, 1).findings == ()


def test_a_label_beside_its_object_is_found(raw: Path) -> None:
    label = np.zeros(SHAPE, np.uint8)
    label[0, :, :10], label[0, :, :4] = 2, 0
    save(raw / "labelsTr" / "c2.nii.gz", label)
    (finding,) = found(raw, "label_on_background")
    assert finding.case == "c2" and "100% of the labelled voxels" in finding.message


def test_the_same_anatomy_twice_is_found_unless_a_group_joins_it(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (raw / "labelsTr" / "c4.nii.gz").write_bytes((raw / "labelsTr" / "c3.nii.gz").read_bytes())
    (finding,) = found(raw, "same_label")
    assert finding.case == "c4" and "that of c3" in finding.message
    (raw / "groups.csv").write_text("case,group\n" + "".join(f"c{n},{max(n, 4)}\n" for n in range(6)))
    with caplog.at_level(logging.ERROR):
        assert found(raw, "same_label") == []


def test_a_copy_of_another_data_type_is_a_copy(raw: Path) -> None:
    image = np.rint(bodies(0)[0])
    save(raw / "imagesTr" / "c0_0000.nii.gz", image.astype(np.float32))
    save(raw / "imagesTr" / "c5_0000.nii.gz", image.astype(np.int16))
    (finding,) = found(raw, "duplicate_image")
    assert finding.case == "c5"


def test_a_broken_voxel_is_found(raw: Path) -> None:
    image, _ = bodies(2)
    image[3, 5, 5] = 60000
    save(raw / "imagesTr" / "c2_0000.nii.gz", image)
    (finding,) = found(raw, "extreme_intensity")
    assert finding.case == "c2"


def test_a_picture_among_volumes_is_found(raw: Path) -> None:
    image, label = bodies(1)
    save(raw / "imagesTr" / "c1_0000.nii.gz", image[3:4])
    save(raw / "labelsTr" / "c1.nii.gz", label[3:4])
    (finding,) = found(raw, "mixed_dimensions")
    assert finding.case == "c1" and "1 of 6 cases have a single slice" in finding.message


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["left_lung", "right_lung"], {"left_lung": (1, 2)}),
        (["Lung L", "Lung R"], {"Lung L": (1, 2)}),
        (["kidney-right", "kidney-left"], {"kidney-left": (2, 1)}),
        (["LeftLung", "RightLung"], {"LeftLung": (1, 2)}),
        (["kidneyRight", "kidneyLeft"], {"kidneyLeft": (2, 1)}),
        (["rib1L", "rib1R"], {"rib1L": (1, 2)}),
        (["Hippocampus_lh", "Hippocampus_rh"], {"Hippocampus_lh": (1, 2)}),
        (["OS", "OD"], {"OS": (1, 2)}),
        (["Niere links", "Niere rechts"], {"Niere links": (1, 2)}),
        (["sinus", "dexus"], {}),
        (["LV", "RV"], {}),
        (["left_lung", "right_kidney"], {}),
        (["cleft", "cright"], {}),
        (["liver", "spleen"], {}),
    ],
)
def test_pairs_are_known_by_their_names(names: list[str], pairs: dict[str, tuple[int, int]]) -> None:
    labels = Labels({"background": 0, **{name: index + 1 for index, name in enumerate(names)}})
    assert pairs_of_sides(labels) == pairs


@pytest.mark.parametrize(
    "name",
    [
        "Dataset004_Hippocampus",
        "Dataset018_FetalHead",
        "Dataset021_NucleiColor",
        "Dataset030_MSLesion",
        "Dataset040_CTOrgans",
    ],
)
def test_healthy_data_have_no_finding(name: str, shared_data: SharedData) -> None:
    assert verify(shared_data(name)).findings == ()


def test_a_copy_that_is_stored_along_other_axes_is_found(raw: Path) -> None:
    """The same voxels at the same places, in another order and data type."""
    for kind, name in (("imagesTr", "c{}_0000.nii.gz"), ("labelsTr", "c{}.nii.gz")):
        image = sitk.ReadImage(str(raw / kind / name.format(0)))
        turned = sitk.Cast(sitk.Flip(image, (True, False, False)), sitk.sitkFloat64)
        sitk.WriteImage(turned, str(raw / kind / name.format(3)))
    (image_twice,) = found(raw, "duplicate_image")
    (label_twice,) = found(raw, "same_label")
    assert image_twice.case == label_twice.case == "c3"
