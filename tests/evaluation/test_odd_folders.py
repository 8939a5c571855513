"""Folders of predictions that are not as they should be: what is told, and what is scored."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.errors import DataError
from autoseg.evaluation.result import Evaluation
from autoseg.evaluation.scoring import evaluate

LABEL = np.zeros((4, 6, 8), np.uint8)
LABEL[1:3, 2:4, 2:6] = 1
LABEL[3, 4, 4] = 2


def write(path: Path, array: np.ndarray = LABEL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(path))
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for n in range(3):
        write(tmp_path / "truth" / f"c{n}.nii.gz")
        write(tmp_path / "pred" / f"c{n}.nii.gz")
    return tmp_path


def scored(folders: Path, predictions: str = "pred") -> Evaluation:
    labels = {"organ": 1, "core": 2}
    return evaluate(folders / predictions, references=folders / "truth", labels=labels, workers=1)


def test_of_two_formats_the_references_own_counts_and_is_told(
    folders: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(folders / "pred" / "c0.nrrd", 0 * LABEL)
    with caplog.at_level(logging.WARNING):
        assert scored(folders).mean("dice") == 1
    assert "1 predictions lie there in several formats" in caplog.text and "c0.nii.gz" in caplog.text


def test_what_holds_the_predictions_is_named(folders: Path) -> None:
    (folders / "all").mkdir()
    (folders / "pred").rename(folders / "all" / "fold_0")
    with pytest.raises(DataError, match="There are images in its folders fold_0: give one of these"):
        scored(folders, "all")
    with pytest.raises(DataError, match=r"c0.nii.gz is a file. Give the folders"):
        scored(folders, "all/fold_0/c0.nii.gz")


def test_a_broken_link_is_no_missing_prediction(folders: Path) -> None:
    (folders / "pred" / "c1.nii.gz").unlink()
    (folders / "pred" / "c1.nii.gz").symlink_to(folders / "elsewhere")
    with pytest.raises(DataError, match=r"c1.nii.gz is a link to .*elsewhere, where nothing is"):
        scored(folders)


@pytest.mark.parametrize("which", ["pred", "truth"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_no_background(folders: Path, which: str, value: float) -> None:
    """ITK reads them as 0, so that a structure would be missing without a word."""
    write(folders / which / "c2.nii.gz", np.where(LABEL == 2, value, LABEL).astype(np.float32))
    with pytest.raises(DataError, match=r"c2.nii.gz holds 1 voxels that are NaN or infinite"):
        scored(folders)


def test_volumes_of_each_label_are_to_be_united(folders: Path) -> None:
    one_hot = np.stack([value == LABEL for value in range(3)]).astype(np.uint8)
    write(folders / "pred" / "c0.nii.gz", one_hot)
    with pytest.raises(DataError, match=r"has 3 channels.*Unite its volumes"):
        scored(folders)


def test_an_empty_file_is_called_empty(folders: Path) -> None:
    (folders / "pred" / "c0.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"c0.nii.gz is empty: it has 0 bytes. Restore it"):
        scored(folders)
