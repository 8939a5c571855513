"""Predictions into the folder of their images, and one image into one file. The model is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from autoseg.data import readers
from autoseg.data.dicom_objects.result import Form
from autoseg.errors import DataError, RunError, UsageError
from autoseg.inference.inputs import inputs_of
from autoseg.inference.predict import Predicted, predict_cases
from autoseg.pipeline import single_file
from autoseg.pipeline.single_file import names_file, predict_file

FORM = Form("nifti", "binary")


class Bright:
    """Labels what is bright."""

    orientation: Mapping[str, Any] = {}

    def __init__(self, reader: str = "SimpleITKIO", ending: str = ".nii.gz") -> None:
        self.reader, self.dataset_json = reader, {"file_ending": ending, "channel_names": {"0": "MR"}}

    def segment_image(self, raw: readers.Image) -> np.ndarray:
        return (raw.array[0] > 150).astype(np.uint8)


def save(path: Path, bright: int = 3) -> Path:
    array = np.full((4, 6, 8), 100, np.int16)
    array[1:3, 2:4, :bright] = 200
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def predict(folder: Path, output: Path, **options: Any) -> Predicted:
    inputs = inputs_of(folder, ".nii.gz", ["MR"])
    assert inputs.left_out == ()
    return predict_cases(Bright(), inputs.cases, output, **{"maker": {"models": ["one"]}, **options})


@pytest.mark.parametrize("output", [".", "out"])
def test_a_second_run_takes_no_prediction_for_an_image(output: str, tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"{name}_0000.nii.gz")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(predict(tmp_path, tmp_path / output).files) == 2
    again = predict(tmp_path, tmp_path / output)
    assert [path.name for path in again.retained] == ["a.nii.gz", "b.nii.gz"]
    assert len(predict(tmp_path, tmp_path / output, overwrite=True).files) == 2
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_of_the_input_is_replaced(overwrite: bool, tmp_path: Path) -> None:
    save(tmp_path / "a_0000.nii.gz")
    label = save(tmp_path / "labels" / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_bytes(label.read_bytes())
    with pytest.raises(RunError, match=r"a\.nii\.gz\. Give another OUTPUT\.$"):
        predict_cases(Bright(), inputs_of(tmp_path, ".nii.gz", ["MR"]).cases, tmp_path, overwrite=overwrite)
    assert (tmp_path / "a.nii.gz").read_bytes() == label.read_bytes()


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_image_is_replaced_though_a_link_leads_to_it(overwrite: bool, tmp_path: Path) -> None:
    real = save(tmp_path / "store" / "a.nii.gz")
    before = real.read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a_0000.nii.gz").symlink_to(real)
    with pytest.raises(RunError, match=r"a\.nii\.gz is an image that is to be segmented"):
        predict(tmp_path / "in", tmp_path / "store", overwrite=overwrite)
    assert real.read_bytes() == before


def test_a_result_that_would_be_an_image_the_next_time_needs_another_folder(tmp_path: Path) -> None:
    save(tmp_path / "a_0001_0000.nii.gz")
    with pytest.raises(RunError, match=r"a_0001\.nii\.gz, a name that makes it an image"):
        predict(tmp_path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a_0001_0000.nii.gz"]
    assert len(predict(tmp_path, tmp_path / "out").files) == 1


def test_a_tiffs_own_spacing_stays_and_a_foreign_one_too(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    tifffile.imwrite(folder / "a_0000.tif", np.full((5, 6, 7), 200, np.uint8))
    mine = json.dumps({"spacing": [3.0, 0.5, 0.5], "who": "me"})
    (folder / "a.json").write_text(mine)
    model = Bright("Tiff3DIO", ".tif")
    for _ in range(2):
        predict_cases(model, folder, folder, maker={})
        assert (folder / "a.json").read_text() == mine
        predict_cases(model, folder, out, maker={})
        assert json.loads((out / "a.json").read_text()) == {"spacing": [3.0, 0.5, 0.5]}
    (out / "a.json").write_text(mine)
    with pytest.raises(RunError, match=r"changed since: a\.json"):
        predict_cases(model, folder, out, maker={})
    assert (out / "a.json").read_text() == mine


# ---- One file in


def test_a_file_is_a_case_with_the_channels_beside_it(tmp_path: Path) -> None:
    for name in ("scan", "a_0000", "a_0001", "b_0000"):
        save(tmp_path / f"{name}.nii.gz")
    for name, case, files in (("scan", "scan", 1), ("a_0000", "a", 2), ("a_0001", "a", 2)):
        (found,) = inputs_of(tmp_path / f"{name}.nii.gz", ".nii.gz", ["T1", "T2"][:files]).cases
        assert (found.identifier, len(found.images)) == (case, files)
    with pytest.raises(
        DataError, match=r"The case a of .* has the channels 0000, 0001, but the model takes 1"
    ):
        inputs_of(tmp_path / "a_0000.nii.gz", ".nii.gz", ["T1"])
    save(tmp_path / "c.mha")
    with pytest.raises(DataError, match=r"c\.mha is not a \.nii\.gz file.*Convert it to c_0000\.nii\.gz"):
        inputs_of(tmp_path / "c.mha", ".nii.gz", ["T1"])


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(
        model: Path, source: Path, output: Path, form: Form, quality: bool, **options: Any
    ) -> Predicted:
        ending = single_file.ending_of(source.name)
        return predict_cases(Bright("Tiff3DIO" if ending == ".tif" else "SimpleITKIO", ending),
                             inputs_of(source, ending, ["MR"]).cases, output)  # fmt: skip

    monkeypatch.setattr(single_file, "predict_folder", predict)


def test_one_file_becomes_one_file(stand_in: None, tmp_path: Path) -> None:
    source, out = save(tmp_path / "scan.nii.gz"), tmp_path / "new" / "organs.nii.gz"
    for bright in (3, 5):
        save(source, bright)
        assert predict_file(tmp_path, source, out, form=FORM).files == (out,)
        assert int(sitk.GetArrayFromImage(sitk.ReadImage(str(out))).sum()) == 4 * bright
        assert sorted(path.name for path in out.parent.iterdir()) == [".autoseg_written", "organs.nii.gz"]
    out.write_bytes(b"a correction by hand")
    with pytest.raises(UsageError, match=r"organs\.nii\.gz is there already.*changed since"):
        predict_file(tmp_path, source, out, form=FORM)
    assert out.read_bytes() == b"a correction by hand"
    predict_file(tmp_path, source, out, form=FORM, overwrite=True)
    assert sitk.ReadImage(str(out)).GetSize() == (8, 6, 4)


def test_the_spacing_of_a_tiff_goes_with_it(stand_in: None, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", np.full((5, 6, 7), 200, np.uint8))
    (tmp_path / "scan.json").write_text('{"spacing": [3, 0.5, 0.5]}')
    predict_file(tmp_path, tmp_path / "scan.tif", tmp_path / "organs.tif", form=FORM)
    assert json.loads((tmp_path / "organs.json").read_text()) == {"spacing": [3.0, 0.5, 0.5]}


@pytest.mark.parametrize(
    ("source", "output", "said"),
    [
        ("scan.nii.gz", "organs.nii", r"ends in \.nii\.gz.*autoseg predict MODEL .* \S+/organs\.nii\.gz$"),
        (".", "organs.nii.gz", r"OUTPUT is a folder: autoseg predict MODEL \S+ \S+/organs$"),
        ("none.nii.gz", "organs.nii.gz", r"INPUT is none: \S+none\.nii\.gz"),
        ("scan.nii.gz", "scan.nii.gz", "is INPUT and OUTPUT"),
    ],
)  # fmt: skip
def test_what_cannot_be_says_what_to_type(
    source: str, output: str, said: str, stand_in: None, tmp_path: Path
) -> None:
    before = save(tmp_path / "scan.nii.gz").read_bytes()
    with pytest.raises(UsageError, match=said):
        predict_file(Path("MODEL"), tmp_path / source, tmp_path / output, form=FORM, overwrite=True)
    assert (tmp_path / "scan.nii.gz").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_what_names_a_file(tmp_path: Path) -> None:
    (tmp_path / "old.nii.gz").mkdir()
    assert names_file(tmp_path / "organs.NRRD") and names_file(tmp_path / "organs.seg.dcm")
    assert not names_file(tmp_path / "old.nii.gz") and not names_file(tmp_path / "v1.2")
