"""Predictions of other tools: stored along other axes, shifted, or in other numbers. Right, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.dataset import Labels
from autoseg.errors import DataError, UsageError
from autoseg.evaluation.scoring import evaluate
from autoseg.evaluation.values import parse_mapping

LABELS = Labels({"background": 0, "left": 1, "right": 2})


def truth() -> np.ndarray:
    array = np.zeros((9, 11, 13), np.uint8)
    array[2:6, 3:8, 1:5], array[4:8, 2:5, 7:12] = 1, 2
    return array


def save(path: Path, array: np.ndarray, origin: tuple[float, ...] = (-4, 7, 2)) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 0.8, 2.0))
    image.SetOrigin(origin)
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))
    return image


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        save(tmp_path / "truth" / f"{name}.nii.gz", truth())
        save(tmp_path / "pred" / f"{name}.nii.gz", truth())
    return tmp_path / "pred", tmp_path / "truth"


def dice(folders: tuple[Path, Path], **options: object) -> float:
    found = evaluate(folders[0], references=folders[1], labels=LABELS, workers=1, **options)  # type: ignore[arg-type]
    return found.mean("dice")


@pytest.mark.parametrize("axes", ["RAS", "LPI", "PIR", "SAL", "IRA"])
@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_axes_stored_otherwise_score_as_what_they_show(
    folders: tuple[Path, Path], axes: str, ending: str
) -> None:
    image = sitk.DICOMOrient(sitk.ReadImage(str(folders[0] / "a.nii.gz")), axes)
    (folders[0] / "a.nii.gz").unlink()
    sitk.WriteImage(image, str(folders[0] / f"a{ending}"))
    found = evaluate(folders[0], references=folders[1], labels=LABELS, workers=1)
    assert found.mean("dice") == 1
    assert found.mean("hd") == 0
    assert found.settings["turned_predictions"] == 1
    assert found.settings["displaced_predictions"] == 0


def test_a_header_that_turns_only_itself_is_refused(folders: tuple[Path, Path]) -> None:
    image = sitk.ReadImage(str(folders[0] / "b.nii.gz"))
    image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(folders[0] / "b.nii.gz"))
    with pytest.raises(DataError, match=r"pred/b\.nii\.gz.*other directions.*--by-voxels"):
        dice(folders)
    assert dice(folders, by_voxels=True) == 1


def test_a_shift_is_refused_and_half_a_voxel_is_not(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "a.nii.gz", truth(), (-4 + 3 * 0.8, 7, 2))
    with pytest.raises(DataError, match=r"pred/a\.nii\.gz.*up to 3 voxels apart"):
        dice(folders)
    assert dice(folders, by_voxels=True) == 1
    save(folders[0] / "a.nii.gz", truth(), (-4 + 0.4, 7, 2))
    found = evaluate(folders[0], references=folders[1], labels=LABELS, workers=1)
    assert found.mean("dice") == 1
    assert found.settings["displaced_predictions"] == 1


@pytest.mark.parametrize(
    ("values", "offer"), [((0, 85, 170), "85=1,170=2"), ((0, 1, 4), "4=2"), ((0, 255, 2), "255=1")]
)
def test_other_numbers_are_refused_with_the_mapping_that_helps(
    folders: tuple[Path, Path], values: tuple[int, ...], offer: str
) -> None:
    for name in ("a", "b"):
        save(folders[0] / f"{name}.nii.gz", np.array(values, np.uint8)[truth()])
    with pytest.raises(DataError, match=rf"2 of 2 predictions hold .*pred/a\.nii\.gz.*--map {offer}$"):
        dice(folders)
    assert dice(folders, mapping=parse_mapping(offer)) == 1


def test_more_numbers_than_labels_are_refused_without_a_guess(folders: tuple[Path, Path]) -> None:
    extra = truth()
    extra[0, 0, :3] = 7
    save(folders[0] / "a.nii.gz", extra)
    with pytest.raises(DataError, match=r"1 of 2 predictions hold .*: 7; .*--map VALUE=LABEL"):
        dice(folders)


def test_references_in_other_numbers_are_refused(folders: tuple[Path, Path]) -> None:
    save(folders[1] / "b.nii.gz", (truth() > 0) * np.uint8(255))
    with pytest.raises(DataError, match=r"1 of 2 references hold .*255.*truth/b\.nii\.gz"):
        dice(folders)


def test_the_ignore_label_is_no_prediction_unless_the_reference_has_it_there(
    folders: tuple[Path, Path],
) -> None:
    labels = Labels({"background": 0, "left": 1, "ignore": 2}, ignore=2)
    assert evaluate(folders[0], references=folders[1], labels=labels, workers=1).mean("dice") == 1
    save(folders[1] / "a.nii.gz", (truth() == 1).astype(np.uint8))
    with pytest.raises(DataError, match=r"1 of 2 predictions.*ignore label is not a prediction"):
        evaluate(folders[0], references=folders[1], labels=labels, workers=1)


def test_labels_that_are_not_scored_may_be_there(folders: tuple[Path, Path]) -> None:
    assert evaluate(folders[0], references=folders[1], labels={"left": 1}, workers=1).mean("dice") == 1


@pytest.mark.parametrize("text", ["255", "255=1,255=2", "a=1", "1=-1"])
def test_mappings_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="255=1"):
        parse_mapping(text)
