"""DICOM both ways: series in, results back upon their own slices, the same voxels at the same places.

The model is a stand-in that labels what is bright. Every result is read without the product: by the elements
of the objects with pydicom alone, and with dcmqi's programs.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_readers import complaints, contour_masks, dcmqi_places, near, seg_places, seg_references
from dicom_series import DATASET_JSON, PLANES, Series, Thresholds, shapes, write_series
from scipy.spatial import cKDTree

from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.result import Form
from autoseg.data.dicom_objects.series_inputs import is_series
from autoseg.errors import DataError, MissingDependency, UsageError
from autoseg.inference.predict import Predicted
from autoseg.inference.predict_dicom import predict_series

ALGORITHM = Maker.of(["stand-in"], "0.1.0", ["ab" * 32], {"mirroring": True})
MAKER = {"models": ["ab" * 32]}
KINDS = [(plane, down, frames) for plane in PLANES for down in (False, True) for frames in (False, True)]


def written(tmp_path: Path, plane: str, down: bool, frames: bool, **more: Any) -> Series:
    """A series whose slices leave a gap where it is numbered from above."""
    return write_series(
        tmp_path / "in", plane, down=down, frames=frames, thickness=1.5 if down else 2.5, **more
    )


def predicted(
    source: Path, output: Path, to: str, model: Any = None, seg_type: str = "binary", **options: Any
) -> Predicted:
    options = {"algorithm": ALGORITHM, "maker": MAKER, **options}
    return predict_series(model or Thresholds(), source, output, form=Form(to, seg_type), **options)


def places_of(series: Series) -> dict[str, set[tuple[int, int, int]]]:
    return {name: near(series.places(series.labels == n)) for n, name in ((1, "outer"), (2, "inner"))}


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
@pytest.mark.parametrize(("plane", "down", "frames"), KINDS)
def test_a_series_and_its_seg(plane: str, down: bool, frames: bool, seg_type: str, tmp_path: Path) -> None:
    series = written(tmp_path, plane, down, frames)
    (path,) = predicted(series.folder, tmp_path / "out", "dicom-seg", seg_type=seg_type).files
    wanted = places_of(series)
    assert {name: near(places) for name, places in seg_places(path).items()} == wanted
    second = dcmqi_places(path, tmp_path / "dcmqi")
    assert {n: near(places) for n, places in second.items()} == {1: wanted["outer"], 2: wanted["inner"]}
    by_place = {near(series.positions[n : n + 1]).pop(): uid for n, uid in enumerate(series.uids)}
    assert seg_references(path).items() <= by_place.items()


@pytest.mark.parametrize(("plane", "down", "frames"), KINDS)
def test_a_series_and_its_contours(plane: str, down: bool, frames: bool, tmp_path: Path) -> None:
    series = written(tmp_path, plane, down, frames)
    (path,) = predicted(series.folder, tmp_path / "out", "rtstruct").files
    for how in ("xor", "union"):
        masks = contour_masks(path, series, how)
        assert all(
            np.array_equal(masks[name], series.labels == n) for n, name in ((1, "outer"), (2, "inner"))
        )


@pytest.mark.parametrize(("plane", "down", "frames"), KINDS)
def test_a_series_and_its_nifti(plane: str, down: bool, frames: bool, tmp_path: Path) -> None:
    series = written(tmp_path, plane, down, frames)
    (path,) = predicted(series.folder, tmp_path / "out", "nifti").files
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    direction = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    found = image.GetOrigin() + np.argwhere(array == 1)[:, ::-1] @ direction.T
    wanted = series.places(series.labels == 1)
    # NIfTI holds its geometry in float32.
    assert len(found) == len(wanted) and cKDTree(wanted).query(found)[0].max() < 1e-3


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("plane", ["axial", "oblique"])
def test_a_tilted_series_comes_back_to_its_own_planes(
    plane: str, frames: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Whole pixels a slice: what is resampled to the upright grid lies on its pixels, and nothing is lost.
    series = written(tmp_path, plane, False, frames, tilt=np.rad2deg(np.arctan(2 * 0.7 / 2.5)))
    (seg,) = predicted(series.folder, tmp_path / "out", "dicom-seg").files
    (contours,) = predicted(series.folder, tmp_path / "out", "rtstruct").files
    assert "tilted gantry" in caplog.text and "back onto its own slices" in caplog.text
    assert "dcmqi" in caplog.text
    assert {name: near(places) for name, places in seg_places(seg).items()} == places_of(series)
    assert np.array_equal(contour_masks(contours, series)["outer"], series.labels == 1)
    assert complaints(seg) == complaints(contours) == ""


def test_a_tilt_of_parts_of_pixels_moves_no_border_by_more_than_one(tmp_path: Path) -> None:
    series = written(tmp_path, "axial", False, False, tilt=11)
    (path,) = predicted(series.folder, tmp_path / "out", "rtstruct").files
    found, wanted = contour_masks(path, series)["outer"], series.labels == 1
    for slice_ in np.flatnonzero((found != wanted).any(axis=(1, 2))):
        moved = [np.roll(wanted[slice_] | (series.labels[slice_] == 2), by, axis=0) for by in (-1, 0, 1)]
        assert not (found[slice_] & ~np.logical_or.reduce(moved)).any()
    assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.9


def test_uneven_slices_are_left_out_or_mended(tmp_path: Path) -> None:
    labels = shapes(14)
    labels[9:] = labels[8]
    series = write_series(tmp_path / "in", labels=labels)
    gone = next(p for p in series.folder.iterdir() if pydicom.dcmread(p).InstanceNumber == 11)
    gone.unlink()
    with pytest.raises(DataError, match="between most slices"):
        predicted(series.folder, tmp_path / "out", "dicom-seg")
    (path,) = predicted(series.folder, tmp_path / "out", "dicom-seg", mend=True).files
    remaining = np.delete(np.arange(14), 10)
    wanted = np.zeros_like(labels, bool)
    wanted[remaining] = labels[remaining] == 1
    assert near(seg_places(path)["outer"]) == near(series.places(wanted))


def test_several_series_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    one = write_series(folder / "a", "axial")
    two = write_series(folder / "b", "oblique", number=2, frames=True)
    write_series(folder / "c", "axial", number=3, modality="MR")
    write_series(folder / "d", "axial", number=4, labels=shapes(5))
    damaged = folder / "d" / "IM028"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    (folder / "notes.txt").write_text("text")
    done = predicted(folder, tmp_path / "out", "dicom-seg")
    uids = [uid.rsplit(".", 1)[0] for (uid, _), *_ in (one.uids, two.uids)]
    assert sorted(path.name for path in done.files)[:2] == [f"{uid}.seg.dcm" for uid in uids]
    assert [each.reason for each in done.passed_over] == ["is MR, and the model learnt from CT"]
    assert [each.path for each in done.left_out] == [damaged]
    assert near(seg_places(done.files[1])["outer"]) == places_of(two)["outer"]


@pytest.mark.parametrize("bytes_left", [100, 600, 1000, -100])
def test_a_series_whose_last_slice_is_cut_says_so(bytes_left: int, tmp_path: Path) -> None:
    series = write_series(tmp_path / "in")
    last = series.folder / "IM056"
    last.write_bytes(last.read_bytes()[:bytes_left])
    done = predicted(series.folder, tmp_path / "out", "dicom-seg")
    assert len(done.files) == 1 and [each.path for each in done.left_out] == [last]


def test_results_beside_the_series_are_passed_over(tmp_path: Path) -> None:
    series = write_series(tmp_path / "in")
    for to in ("dicom-seg", "rtstruct"):
        done = predicted(series.folder, series.folder, to)
    assert len(done.files) == 1
    assert [each.reason for each in done.passed_over] == ["is a segmentation or structure set"]


def test_one_file_and_the_folder_of_a_series_are_dicom(tmp_path: Path) -> None:
    series = write_series(tmp_path / "in", frames=True)
    assert is_series(series.folder, ".nii.gz") and is_series(series.folder / "frames.dcm", ".nii.gz")
    assert len(predicted(series.folder / "frames.dcm", tmp_path / "out", "rtstruct").files) == 1
    (series.folder / "case_0000.nii.gz").touch()
    assert not is_series(series.folder, ".nii.gz")
    os.mkfifo(tmp_path / "fifo")
    assert not is_series(tmp_path / "fifo", ".nii.gz") and not is_series(tmp_path / "nowhere", ".nii.gz")


def test_what_is_there_is_retained_until_something_changes(tmp_path: Path) -> None:
    series, out = write_series(tmp_path / "in"), tmp_path / "out"
    (path,) = predicted(series.folder, out, "dicom-seg").files
    assert predicted(series.folder, out, "dicom-seg").retained == (path,)
    assert predicted(series.folder, out, "dicom-seg", seg_type="labelmap").retained == ()
    assert predicted(series.folder, out, "rtstruct").retained == ()
    assert pydicom.dcmread(path).SegmentationType == "LABELMAP"


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO", "SimpleITKIOWithReorient"])
@pytest.mark.parametrize("plane", PLANES)
def test_a_model_sees_a_series_as_it_sees_its_own_images(plane: str, reader: str, tmp_path: Path) -> None:
    """The first half of the array's last axis is another structure: left and right, whatever is stored."""

    class Halves(Thresholds):
        def segment_image(self, raw: Any) -> np.ndarray:
            bright = raw.array[0] > 150
            return np.where(bright, np.where(np.indices(bright.shape)[2] < bright.shape[2] / 2, 1, 2), 0)

    series = write_series(tmp_path / "in", plane)
    model = Halves(reader=reader)
    # It learnt from images in LPS; the reorienting reader turns all to RAS by itself.
    identity = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    if not reader.endswith("WithReorient"):
        model.orientation = {"codes": {"LPS": 3}, "directions": identity, "otherwise": 0}
    (path,) = predicted(series.folder, tmp_path / "out", "dicom-seg", model).files
    places = seg_places(path)
    first, second = places["outer"][:, 0].mean(), places["inner"][:, 0].mean()
    assert first > second if reader.endswith("WithReorient") else first < second


@pytest.mark.parametrize(
    ("about", "reader", "word"),
    [
        ({"channel_names": {"0": "T1", "1": "T2"}}, "SimpleITKIO", "takes 2 channels"),
        ({"channel_names": {"0": "CT"}}, "NaturalImage2DIO", "pictures"),
        ({"channel_names": {"0": "FLAIR"}}, "SimpleITKIO", "is CT, and the model learnt from FLAIR"),
        ({"codes": {"outer": "Liver"}}, "SimpleITKIO", "not a code"),
    ],
)
def test_what_a_model_does_not_take_is_said(
    about: dict[str, Any], reader: str, word: str, tmp_path: Path
) -> None:
    series = write_series(tmp_path / "in")
    model = Thresholds({**DATASET_JSON, **about}, reader)
    with pytest.raises(DataError, match=word):
        predicted(series.folder, tmp_path / "out", "dicom-seg", model)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("channel", ["PET", "PET_SUV"])
def test_pet_becomes_suv_where_the_channel_says_so(channel: str, tmp_path: Path) -> None:
    series = write_series(tmp_path / "in", modality="PT")
    model = Thresholds({**DATASET_JSON, "channel_names": {"0": channel}})
    if channel == "PET_SUV":
        lacking = predicted(series.folder, tmp_path / "none", "nifti", model)
        assert lacking.files == () and "cannot be turned into SUV" in lacking.left_out[0].reason
    for path in series.folder.iterdir():
        found = pydicom.dcmread(path)
        dose = pydicom.Dataset()
        dose.RadionuclideTotalDose = "140000"
        found.RadiopharmaceuticalInformationSequence = [dose]
        found.Units, found.CorrectedImage, found.DecayCorrection = "BQML", ["DECY"], "ADMIN"
        found.PatientWeight = "70"  # halves the values
        found.save_as(path)
    (path,) = predicted(series.folder, tmp_path / "out", "dicom-seg", model).files
    wanted = series.labels == (1 if channel == "PET" else 2)
    assert near(seg_places(path)["outer"]) == near(series.places(wanted))


def test_forms_that_are_none_are_refused(tmp_path: Path) -> None:
    series = write_series(tmp_path / "in")
    for to, seg_type in (("dicom", "binary"), ("dicom-seg", "fractional")):
        with pytest.raises(UsageError, match="Choose one of"):
            predicted(series.folder, tmp_path / "out", to, seg_type=seg_type)
    with pytest.raises(UsageError, match="no DICOM series"):
        Form("rtstruct").check_plain(tmp_path)
    regions = {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
    with pytest.raises(UsageError, match="overlap"):
        model = Thresholds({**DATASET_JSON, **regions})
        predicted(series.folder, tmp_path / "out", "dicom-seg", model, "labelmap")


def test_without_the_libraries_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = write_series(tmp_path / "in")
    for package, to in (("highdicom", "dicom-seg"), ("skimage", "rtstruct")):
        monkeypatch.setitem(__import__("sys").modules, package, None)
        with pytest.raises(MissingDependency, match=r"autoseg-medical\[dicom\]"):
            predicted(series.folder, tmp_path / "out", to)


def test_nothing_of_the_patient_reaches_what_is_no_dicom(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    series = write_series(tmp_path / "in", tilt=10)
    for to in ("nifti", "dicom-seg", "rtstruct"):
        predicted(series.folder, tmp_path / to, to)
    said = caplog.text + "".join(capfd.readouterr())
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".gz", ".json")]
    assert len(files) == 4
    for word in ("Synthetic", "SYN0001", "19700101"):
        assert word not in said
        assert not any(word.encode() in _content(path) or word in path.name for path in files)


def _content(path: Path) -> bytes:
    import gzip

    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_the_real_series_and_dciodvfy(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared_data("intake_quirks") / "ct_dicom_20slices"
    shutil.copytree(source, tmp_path / "in")
    for seg_type in ("binary", "labelmap"):
        (path,) = predicted(
            tmp_path / "in", tmp_path / seg_type, "dicom-seg", seg_type=seg_type, maker=None
        ).files
        # The series names codes of the hospital, which go along.
        assert all("<SECTRA>" in line for line in complaints(path).splitlines())
        slices = {
            str(pydicom.dcmread(p).file_meta.MediaStorageSOPInstanceUID) for p in (tmp_path / "in").iterdir()
        }
        assert {uid for uid, _ in seg_references(path).values()} <= slices
        wanted = {
            n: near(places)
            for (_, places), n in zip(seg_places(path).items(), (1, 2), strict=True)
            if len(places)
        }
        assert {n: near(p) for n, p in dcmqi_places(path, tmp_path / f"{seg_type}_q").items()} == wanted
    (path,) = predicted(tmp_path / "in", tmp_path / "rt", "rtstruct", maker=None).files
    assert complaints(path) == ""
