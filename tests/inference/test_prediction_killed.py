"""A prediction that is killed at any moment goes on when called again, and what is not its own stays."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import Thresholds, write_series

from autoseg.data import readers
from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.result import Form
from autoseg.data.results_place import FILE_NAME, NEWEST_NAME, known_results, newest
from autoseg.errors import RunError
from autoseg.inference.predict import Predicted, predict_cases
from autoseg.inference.predict_dicom import predict_series

# A case renames three to five times: its files in their folder, its files in the output, the note.
MOMENTS = [(number, after) for number in range(1, 8) for after in (False, True)]
ALGORITHM = Maker.of(["stand-in"], "0.1.0", ["ab" * 32], {"mirroring": True})


class Killed(BaseException):
    """What no code of the product catches."""


class Bright:
    """Labels what is brighter than a bound, and says how sure it is."""

    orientation: Mapping[str, Any] = {}

    def __init__(self, ending: str, reader: str, bound: float = 150) -> None:
        self.dataset_json = {"file_ending": ending, "channel_names": {"0": "MR"}}
        self.reader, self.bound, self.seen = reader, bound, 0

    def segment_image(self, raw: readers.Image, saved: Any = None) -> np.ndarray:
        self.seen += 1
        found = (raw.array[0] > self.bound).astype(int)
        if saved is not None:
            saved.probabilities = np.stack([1 - found, found]).astype(np.float32)
        return found


FORMATS = [(".nii.gz", "SimpleITKIO", True), (".tif", "Tiff3DIO", False)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One case in each format."""
    import tifffile

    array = np.random.default_rng(0).integers(0, 255, (4, 5, 6)).astype(np.float32)
    (tmp_path / "in").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "in" / "a_0000.nii.gz"))
    tifffile.imwrite(tmp_path / "in" / "a_0000.tif", array)
    (tmp_path / "in" / "a.json").write_text('{"spacing": [3, 1, 1]}')
    return tmp_path / "in"


def predict(source: Path, out: Path, model: Bright, probabilities: bool, **more: Any) -> Predicted:
    maker = {"bound": model.bound, "probabilities": probabilities}
    return predict_cases(model, source, out, **{"maker": maker, "probabilities": probabilities, **more})


def kill_at(number: int, after: bool, patch: pytest.MonkeyPatch) -> None:
    """End the process, as far as it can tell, around its renaming of that number."""
    rename, count = os.replace, 0

    def replace(one: Any, other: Any) -> None:
        nonlocal count
        count += 1
        if count == number and not after:
            raise Killed
        rename(one, other)
        if count == number:
            raise Killed

    patch.setattr(os, "replace", replace)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name not in (FILE_NAME, NEWEST_NAME)
    }


@pytest.mark.parametrize("earlier", [False, True], ids=["empty", "of_another_model"])
@pytest.mark.parametrize(("ending", "reader", "probabilities"), FORMATS)
def test_it_goes_on_after_a_kill_at_any_moment(
    ending: str, reader: str, probabilities: bool, earlier: bool, source: Path, tmp_path: Path
) -> None:
    predict(source, tmp_path / "whole", Bright(ending, reader), probabilities)
    wanted, ends = contents(tmp_path / "whole"), 0
    assert len(wanted) == 2
    for number, after in MOMENTS:
        out, model = tmp_path / f"{number}{after}", Bright(ending, reader)
        if earlier:
            predict(source, out, Bright(ending, reader, 30), probabilities)
            assert contents(out) != wanted
        with pytest.MonkeyPatch.context() as patch:
            kill_at(number, after, patch)
            try:
                predict(source, out, model, probabilities)
            except Killed:
                ends += 1
        if (out / f"a{ending}").exists():
            assert contents(out).keys() == wanted.keys()
        predict(source, out, model, probabilities)
        assert contents(out) == wanted
        # What got its name is not made twice, and the next call makes nothing.
        assert model.seen in (1, 2)
        again = predict(source, out, model, probabilities)
        assert (len(again.retained), model.seen in (1, 2)) == (1, True)
    assert ends >= 10


def test_what_is_not_its_own_stays_after_a_kill(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, model = tmp_path / "out", Bright(".nii.gz", "SimpleITKIO")
    out.mkdir()
    (out / "a.nii.gz").write_bytes(b"by hand")
    with monkeypatch.context() as patch:
        kill_at(2, False, patch)  # the file is noted as intended, and has not got its name
        with pytest.raises(Killed):
            predict(source, out, model, False, overwrite=True)
    assert list(newest(out)) == ["a.nii.gz"] and not (out / FILE_NAME).exists()
    with pytest.raises(RunError, match=r"1 segmentations that are not known.*a\.nii\.gz"):
        predict(source, out, model, False)
    assert contents(out) == {"a.nii.gz": b"by hand"}
    with monkeypatch.context() as patch:
        kill_at(3, True, patch)  # the first call's line is cleared away; the file has got its name
        with pytest.raises(Killed):
            predict(source, out, model, False, overwrite=True)
    assert len(predict(source, out, model, False).retained) == 1
    (out / "a.nii.gz").write_bytes(b"corrected by hand")
    with pytest.raises(RunError, match=r"changed since: a\.nii\.gz"):
        predict(source, out, model, False)
    assert contents(out) == {"a.nii.gz": b"corrected by hand"}


def test_half_a_line_of_a_killed_process_spoils_no_other(source: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", Bright(".nii.gz", "SimpleITKIO")
    predict(source, out, model, False)
    made = json.loads((out / FILE_NAME).read_text())["files"]
    line = json.dumps({"intended": made})
    (out / FILE_NAME).unlink()
    (out / NEWEST_NAME).write_text(f"{line}\n{line[:40]}")
    assert known_results(out) == {"a.nii.gz"}
    sitk.WriteImage(sitk.ReadImage(str(source / "a_0000.nii.gz")), str(source / "b_0000.nii.gz"))
    assert len(predict(source, out, model, False).retained) == 1
    assert json.loads((out / FILE_NAME).read_text())["files"].keys() == {"a.nii.gz", "b.nii.gz"}
    assert not (out / NEWEST_NAME).exists()


def test_two_at_a_time_know_both_their_files(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One begins while the other is at work, and ends before it: as where cases are shared out to two."""
    other = tmp_path / "other"
    other.mkdir()
    image = sitk.ReadImage(str(source / "a_0000.nii.gz"))
    for name in ("b", "c", "d"):
        sitk.WriteImage(image, str(other / f"{name}_0000.nii.gz"))
    out = tmp_path / "out"

    class Slow(Bright):
        def segment_image(self, raw: readers.Image, saved: Any = None) -> np.ndarray:
            if self.seen == 1:
                with monkeypatch.context() as patch:
                    patch.setattr(os, "getpid", lambda: 1)  # as another process
                    predict(source, out, Bright(".nii.gz", "SimpleITKIO"), False)
            return super().segment_image(raw, saved)

    predict(other, out, Slow(".nii.gz", "SimpleITKIO"), False)
    known = json.loads((out / FILE_NAME).read_text())["files"]
    assert sorted(known) == [f"{name}.nii.gz" for name in "abcd"]
    for folder, number in ((source, 1), (other, 3)):
        assert len(predict(folder, out, Bright(".nii.gz", "SimpleITKIO"), False).retained) == number


def test_what_is_written_of_a_case_does_not_grow_with_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    image = sitk.GetImageFromArray(np.zeros((1, 2, 2), np.float32))
    for number in range(12):
        sitk.WriteImage(image, str(tmp_path / "in" / f"c{number:02}_0000.nii.gz"))
    renamed: list[str] = []
    rename = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (renamed.append(Path(b).name), rename(a, b)))
    predict(tmp_path / "in", tmp_path / "out", Bright(".nii.gz", "SimpleITKIO"), False)
    assert renamed.count(FILE_NAME) == 1
    assert len(json.loads((tmp_path / "out" / FILE_NAME).read_text())["files"]) == 12


def predict_dicom(source: Path, out: Path, to: str) -> Predicted:
    how = {"form": Form(to), "algorithm": ALGORITHM, "maker": {"models": ["one"]}}
    return predict_series(Thresholds(), source, out, **how)


def _end_at(source: Path, out: Path, to: str, named: bool) -> None:
    rename = os.replace

    def replace(one: Any, other: Any) -> None:
        last = Path(other).parent == out and Path(other).name != FILE_NAME
        if last and not named:
            os._exit(9)
        rename(one, other)
        if last:
            os._exit(9)

    os.replace = replace
    predict_dicom(source, out, to)


@pytest.mark.parametrize(("to", "named"), [("dicom-seg", True), ("rtstruct", False)])
def test_an_object_of_a_killed_process_is_its_own(to: str, named: bool, tmp_path: Path) -> None:
    series, out = write_series(tmp_path / "in"), tmp_path / "out"
    child = multiprocessing.get_context("spawn").Process(target=_end_at, args=(series.folder, out, to, named))
    child.start()
    child.join()
    assert child.exitcode == 9
    before = contents(out) if named else {}
    assert [name.endswith(".dcm") for name in before if not name.startswith(".")] == [True] * named
    done = predict_dicom(series.folder, out, to)
    assert len(done.retained) == named
    if not named:
        assert not [name for name in contents(out) if name.startswith(".")]
    assert len(predict_dicom(series.folder, out, to).retained) == 1
