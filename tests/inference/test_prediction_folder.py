"""A folder to predict as users have them, and what lies in the output already. The model is a stand-in."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data import readers
from autoseg.data.orientation import code_of, directions_of, stored_otherwise, summary_of
from autoseg.errors import DataError, RunError
from autoseg.inference.inputs import inputs_of
from autoseg.inference.predict import Predicted, predict_cases

MAKER = {"models": ["one"], "mirroring": True}


class Halves:
    """Labels bright voxels 1 in the first half of the array's last axis and 2 in the second."""

    dataset_json: Mapping[str, Any] = {"file_ending": ".nii.gz", "channel_names": {"0": "MR"}}
    orientation: Mapping[str, Any] = {}

    def __init__(self, reader: str = "SimpleITKIO") -> None:
        self.reader, self.seen = reader, 0

    def segment_image(self, raw: readers.Image) -> np.ndarray:
        self.seen += 1
        bright = raw.array[0] > 150
        x = np.indices(bright.shape)[2] < bright.shape[2] / 2
        return np.where(bright, np.where(x, 1, 2), 0)


def volume() -> np.ndarray:
    array = np.full((8, 10, 12), 100, np.float32)
    array[2:6, 3:8, 2:5], array[3:5, 2:6, 8:11] = 200, 220
    return array


def save(path: Path, array: np.ndarray, axes: str = "LPS") -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.9, 1.1, 2.5))
    image.SetOrigin((-3, 8, 20))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image, axes), str(path))
    return path


def predict(folder: Path, output: Path, model: Halves | None = None, **options: Any) -> Predicted:
    inputs = inputs_of(folder, ".nii.gz", ["MR"])
    return predict_cases(model or Halves(), inputs.cases, output, **{"maker": MAKER, **options})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "ab":
        save(tmp_path / "in" / f"{name}_0000.nii.gz", volume())
    return tmp_path / "in"


def voxels(path: Path) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


# ---- What lies in the output


def test_what_is_proven_fresh_is_retained_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", Halves()
    assert predict(folder, out, model).retained == ()
    again = predict(folder, out, model)
    assert (model.seen, [path.name for path in again.retained]) == (2, ["a.nii.gz", "b.nii.gz"])
    # Another image of that name, another option, another model: made anew.
    save(folder / "a_0000.nii.gz", volume()[:, ::-1])
    done = predict(folder, out, model)
    assert (model.seen, [path.name for path in done.retained]) == (3, ["b.nii.gz"])
    assert voxels(out / "a.nii.gz")[3, 2, 3] == 1
    predict(folder, out, model, maker={**MAKER, "mirroring": False})
    assert model.seen == 5
    predict(folder, out, model, maker={**MAKER, "models": ["two"]})
    assert model.seen == 7


def test_a_file_of_somebody_else_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", Halves()
    foreign = save(out / "b.nii.gz", np.zeros((8, 10, 12), np.uint8))
    before = foreign.read_bytes()
    with pytest.raises(RunError, match=r"1 segmentations that are not known.*b\.nii\.gz.*--overwrite"):
        predict(folder, out, model)
    assert foreign.read_bytes() == before
    assert (model.seen, (out / "a.nii.gz").exists()) == (0, False)
    predict(folder, out, model, overwrite=True)
    assert voxels(out / "b.nii.gz").max() == 2


def test_a_correction_by_hand_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(folder, out)
    save(out / "a.nii.gz", np.ones((8, 10, 12), np.uint8))
    save(folder / "a_0000.nii.gz", volume() + 1)
    with pytest.raises(RunError, match=r"changed since: a\.nii\.gz"):
        predict(folder, out)


def test_empty_files_are_made_anew(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.nii.gz").touch()
    assert predict(folder, out).retained == ()
    assert voxels(out / "a.nii.gz").max() == 2


# ---- What lies in the input


def test_one_bad_file_stops_no_other(folder: Path, tmp_path: Path) -> None:
    cut = save(folder / "c_0000.nii.gz", np.random.default_rng(0).normal(0, 1, (20, 20, 20)))
    cut.write_bytes(cut.read_bytes()[:2000])
    both = np.stack([volume(), volume()], -1).transpose(2, 1, 0, 3)
    nibabel.save(nibabel.Nifti1Image(both, np.eye(4)), folder / "d_0000.nii.gz")
    done = predict(folder, tmp_path / "out")
    assert [path.name for path in done.files] == ["a.nii.gz", "b.nii.gz"]
    assert [each.path.name for each in done.left_out] == ["c_0000.nii.gz", "d_0000.nii.gz"]
    assert "truncated" in done.left_out[0].reason
    assert "2 channels, but the model takes 1 (MR)" in done.left_out[1].reason


def test_each_file_that_is_no_input_is_named_with_what_to_do(folder: Path) -> None:
    for name in ("c.nii.gz", "d_0000.NII.GZ", "e_0000.nii", "f_0000.mha", "g_0000.nii.gz", "g_0001.nii.gz"):
        (folder / name).touch()
    save(folder / "deeper" / "h_0000.nii.gz", volume())
    (folder / "notes.txt").touch()
    (folder / "i_0000.nii.gz").symlink_to(folder / "nothing")
    inputs = inputs_of(folder, ".nii.gz", ["MR"])
    told = {each.path.name: each.reason for each in inputs.left_out}
    assert told["c.nii.gz"] == "has no channel in its name. Rename it to c_0000.nii.gz."
    assert told["d_0000.NII.GZ"] == "ends in .NII.GZ, not .nii.gz. Rename it to d_0000.nii.gz."
    assert "Convert it to e_0000.nii.gz" in told["e_0000.nii"]
    assert "Convert it to f_0000.nii.gz" in told["f_0000.mha"]
    assert "has the channels 0000, 0001, but the model takes 1 (MR)" in told["g_*.nii.gz"]
    assert "h_0000.nii.gz" in told["deeper"]
    assert "notes.txt" not in told
    assert [case.identifier for case in inputs.cases] == ["a", "b", "i"]


def test_a_link_to_nothing_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "c_0000.nii.gz").symlink_to(folder / "nothing")
    done = predict(folder, tmp_path / "out")
    assert [each.path.name for each in done.left_out] == ["c_0000.nii.gz"]
    assert len(done.files) == 2


def test_a_folder_without_any_input_says_what_there_is(tmp_path: Path) -> None:
    save(tmp_path / "p1" / "a_0000.nii.gz", volume())
    with pytest.raises(
        DataError, match=r"(?s)no images named CASE_0000\.nii\.gz.*p1: is a folder with images"
    ):
        inputs_of(tmp_path, ".nii.gz", ["MR"])
    with pytest.raises(DataError, match="There is no file or folder"):
        inputs_of(tmp_path / "none", ".nii.gz", ["MR"])


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO"])
def test_nan_and_infinite_voxels_are_named_and_stay_alone(
    folder: Path, tmp_path: Path, reader: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt = volume()
    spoilt[0, 0, :3], spoilt[7, 9, :2] = np.nan, np.inf
    nibabel.save(
        nibabel.Nifti1Image(spoilt.transpose(2, 1, 0), np.diag([-1, -1, 1, 1])), folder / "a_0000.nii.gz"
    )
    with caplog.at_level(logging.WARNING):
        predict(folder, tmp_path / "out", Halves(reader))
    assert "a_0000.nii.gz: 5 voxels are NaN or infinite" in caplog.text
    assert "b_0000.nii.gz" not in caplog.text
    expected = Halves().segment_image(readers.read_images([folder / "b_0000.nii.gz"], "SimpleITKIO"))
    np.testing.assert_array_equal(voxels(tmp_path / "out" / "a.nii.gz"), expected)


# ---- Orientation


@pytest.mark.parametrize("axes", ["RPS", "LAI", "PSL", "IRA", "ASR"])
def test_an_image_stored_along_other_axes_is_predicted_as_the_same_image(
    folder: Path, tmp_path: Path, axes: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = Halves()
    learnt = readers.read_images([folder / "a_0000.nii.gz"], "SimpleITKIO")
    model.orientation = summary_of([directions_of(learnt)])
    save(folder / "b_0000.nii.gz", volume(), axes)
    with caplog.at_level(logging.WARNING):
        predict(folder, tmp_path / "out", model)
    one, other = (sitk.ReadImage(str(tmp_path / "out" / f"{name}.nii.gz")) for name in "ab")
    stored = sitk.ReadImage(str(folder / "b_0000.nii.gz"))
    assert other.GetDirection() == pytest.approx(stored.GetDirection())
    assert other.GetSpacing() == pytest.approx(stored.GetSpacing())
    back = sitk.GetArrayFromImage(sitk.DICOMOrient(other, "LPS"))
    np.testing.assert_array_equal(back, sitk.GetArrayFromImage(one))
    assert set(np.unique(back)) == {0, 1, 2}
    assert f"(1 {axes}) than those that the model learnt from (LPS)" in caplog.text


def test_a_rotation_is_no_other_orientation_and_mixed_data_turn_nothing() -> None:
    def rotated(degrees: float) -> tuple[tuple[float, ...], ...]:
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        return ((c, s, 0.0), (-s, c, 0.0), (0.0, 0.0, 1.0))

    assert code_of(rotated(0)) == "LPS"
    assert not stored_otherwise(rotated(30), rotated(-10))
    assert stored_otherwise(rotated(90), rotated(0))
    mixed = summary_of([rotated(0), rotated(5), rotated(180), None])
    assert (mixed["codes"], mixed["otherwise"]) == ({"LPS": 2, "RAS": 1}, 1)
    assert summary_of([None, None]) == {}


def test_packed_twice_is_still_named(folder: Path, tmp_path: Path) -> None:
    (folder / "a_0000.nii.gz").write_bytes(gzip.compress((folder / "a_0000.nii.gz").read_bytes()))
    done = predict(folder, tmp_path / "out")
    assert [each.path.name for each in done.left_out] == ["a_0000.nii.gz"]
