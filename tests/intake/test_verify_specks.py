"""Specks: planted ones are found with size and place; lesions, nuclei and ragged borders are none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from sound_data import SharedData, declare

from autoseg.data.image import Array
from autoseg.intake.verification.dataset_check import verify
from autoseg.intake.verification.findings import Finding

SHAPE = (12, 24, 30)


def write(root: Path, number: int, label: Array) -> None:
    image = np.random.default_rng(number).normal(100, 10, label.shape).astype(np.float32)
    for part, array in (("imagesTr", image), ("labelsTr", label)):
        (root / part).mkdir(parents=True, exist_ok=True)
        written = sitk.GetImageFromArray(array)
        written.SetSpacing((0.5, 0.5, 2.0))
        channel = "_0000" if part == "imagesTr" else ""
        sitk.WriteImage(written, str(root / part / f"c{number}{channel}.nii.gz"))


def dataset(tmp_path: Path, labels: list[Array], names: dict[str, int]) -> Path:
    root = tmp_path / "Dataset051_Specks"
    for number, label in enumerate(labels):
        write(root, number, label)
    declare(root, channel_names={"0": "MR"}, labels=names, numTraining=len(labels))
    return root


def organ(number: int) -> Array:
    label = np.zeros(SHAPE, np.uint8)
    label[3:8, 4 : 12 + number % 3, 5:15] = 1
    return label


def specks(root: Path) -> list[Finding]:
    return [finding for finding in verify(root, workers=1).findings if finding.code == "specks"]


@pytest.mark.parametrize("cases", [2, 6])
def test_planted_specks_are_found_with_size_and_place(tmp_path: Path, cases: int) -> None:
    labels = [organ(number) for number in range(cases)]
    labels[1][10, 20, 25] = labels[1][0, 2, 27] = labels[1][0, 2, 28] = 1
    (found,) = specks(dataset(tmp_path, labels, {"background": 0, "organ": 1}))
    assert (found.case, found.severity) == ("c1", "warning")
    assert "'organ' has 2 specks of 1 to 2 voxels (0.5 to 1 mm^3)" in found.message
    assert "(25, 20, 10)" in found.message
    assert "(27, 2, 0)" in found.message


def test_what_most_cases_have_and_what_lies_close_is_no_speck(tmp_path: Path) -> None:
    labels = [organ(number) for number in range(6)]
    for label in labels[:4]:
        label[10, 20, 25] = 1
    labels[5][3, 4, 16] = 1  # a voxel away from the organ
    assert specks(dataset(tmp_path, labels, {"background": 0, "organ": 1})) == []


def test_small_lesions_among_many_are_no_specks_and_single_voxels_among_large_ones_are(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(1)
    usual, large = [], []
    for number in range(6):
        small, big = np.zeros((2, 20, 60, 60), np.uint8)
        for row in range(3):
            for column in range(4):
                y, x, size = 4 + 18 * row, 2 + 14 * column, int(rng.integers(1, 8))
                small[6 : 6 + size, y : y + size, x : x + size] = 1
                big[6:12, y : y + 8, x : x + 6] = 1
        small[6:14, 4:12, 2:10] = 1
        small[0, 0, 59] = 1
        if number == 3:
            big[0, 0, 59] = 1
        usual.append(small)
        large.append(big)
    names = {"background": 0, "lesion": 1}
    assert specks(dataset(tmp_path / "usual", usual, names)) == []
    (found,) = specks(dataset(tmp_path / "large", large, names))
    assert found.case == "c3"


def test_specks_of_a_region_are_those_of_all_its_labels(tmp_path: Path) -> None:
    labels = [organ(number) for number in range(6)]
    for label in labels:
        label[4:7, 6:10, 7:12] = 2
    labels[2][10, 20, 25] = 2
    root = dataset(tmp_path, labels, {"background": 0, "organ": 1, "core": 2})
    declare(
        root,
        channel_names={"0": "MR"},
        labels={"background": 0, "whole": [1, 2], "core": 2},
        regions_class_order=[1, 2],
        numTraining=6,
    )
    assert {finding.message.split("'")[1] for finding in specks(root)} == {"whole", "core"}


def test_specks_planted_in_pictures_are_found(tmp_path: Path, shared_data: SharedData) -> None:
    source, root = shared_data("Dataset021_NucleiColor"), tmp_path / "Dataset021_NucleiColor"
    shutil.copytree(source, root)
    path = sorted((root / "labelsTr").glob("*.png"))[4]
    path.chmod(0o644)
    label = np.array(Image.open(path))
    free = [
        (y, x)
        for y in range(8, label.shape[0] - 8, 8)
        for x in range(8, label.shape[1] - 8, 8)
        if not label[y - 4 : y + 5, x - 4 : x + 5].any()
    ]
    assert free
    label[free[0]] = 1
    Image.fromarray(label).save(path)
    (found,) = specks(root)
    assert found.file == str(path)
    assert f"a speck of 1 pixel away from the rest of it, which holds {label.sum()} voxels" in found.message


@pytest.mark.parametrize(
    "name", ["Dataset004_Hippocampus", "Dataset018_FetalHead", "Dataset030_MSLesion", "Dataset040_CTOrgans"]
)
def test_sound_data_have_no_specks(name: str, shared_data: SharedData) -> None:
    assert specks(shared_data(name)) == []
