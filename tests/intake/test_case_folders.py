"""A folder a case, and volumes beside segmentations, as public data sets have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.errors import DataError
from autoseg.intake.conversion import Imported, import_dataset
from autoseg.intake.incoming import Request
from autoseg.workspace import Workspace


def bring(source: Path) -> Imported:
    workspace = Workspace.locate(source.parent / "workspace")
    return import_dataset(source, workspace, "Made", request=Request(workers=1))


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def read(path: Path) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    label = np.zeros((5, 8, 9), np.uint8)
    label[1:3, 2:5, 1 : 4 + seed % 2], label[3:5, 4:7, 5:8] = 1, 2
    return np.random.default_rng(seed).normal(0, 1, label.shape).astype(np.float32) + 50 * label, label


def test_channels_and_a_label_named_after_their_folder(tmp_path: Path) -> None:
    for seed in range(3):
        image, label = case(seed)
        folder = tmp_path / "s" / f"Subj{seed}"
        for name, array in (("t1", image), ("flair", 2 * image), ("seg", label)):
            save(folder / f"Subj{seed}_{name}.nii.gz", array)
    done = bring(tmp_path / "s")
    assert (done.layout, done.cases) == ("case_folders", 3)
    assert list(done.document["channel_names"].values()) == ["flair", "t1"]
    np.testing.assert_array_equal(read(done.root / "imagesTr" / "Subj1_0001.nii.gz"), case(1)[0])
    np.testing.assert_array_equal(read(done.root / "labelsTr" / "Subj1.nii.gz"), case(1)[1])


def test_one_name_for_all_images_and_one_for_all_labels(tmp_path: Path) -> None:
    for seed in range(3):
        image, label = case(seed)
        save(tmp_path / "s" / f"case_{seed:05d}" / "imaging.nii.gz", image)
        save(tmp_path / "s" / f"case_{seed:05d}" / "segmentation.nii.gz", label)
    done = bring(tmp_path / "s")
    np.testing.assert_array_equal(read(done.root / "labelsTr" / "case_00002.nii.gz"), case(2)[1])


def structures(root: Path, seed: int) -> Path:
    image, label = case(seed)
    save(root / f"s{seed}" / "ct.nii.gz", image)
    for value, name in ((1, "liver"), (2, "spleen")):
        save(root / f"s{seed}" / "segmentations" / f"{name}.nii.gz", (label == value).astype(np.uint8))
    return root / f"s{seed}" / "segmentations"


def test_a_file_for_each_structure(tmp_path: Path) -> None:
    for seed in range(3):
        structures(tmp_path / "s", seed)
    (tmp_path / "s" / "s2" / "segmentations" / "spleen.nii.gz").unlink()
    done = bring(tmp_path / "s")
    assert done.document["labels"] == {"background": 0, "liver": 1, "spleen": 2}
    np.testing.assert_array_equal(read(done.root / "labelsTr" / "s1.nii.gz"), case(1)[1])
    np.testing.assert_array_equal(read(done.root / "labelsTr" / "s2.nii.gz"), case(2)[1] == 1)


def test_structures_that_overlap_are_refused(tmp_path: Path) -> None:
    for seed in range(2):
        folder = structures(tmp_path / "s", seed)
    save(folder / "spleen.nii.gz", (case(1)[1] > 0).astype(np.uint8))
    with pytest.raises(DataError, match=r"spleen\.nii\.gz and liver\.nii\.gz overlap in \d+ voxels"):
        bring(tmp_path / "s")


def test_volumes_and_segmentations_by_number(tmp_path: Path) -> None:
    for seed in range(3):
        image, label = case(seed)
        save(tmp_path / "s" / f"volume-{seed}.nii", image)
        save(tmp_path / "s" / f"segmentation-{seed}.nii", label)
    done = bring(tmp_path / "s")
    assert (done.layout, done.cases) == ("folders", 3)
    np.testing.assert_array_equal(read(done.root / "labelsTr" / "volume-2.nii"), case(2)[1])
