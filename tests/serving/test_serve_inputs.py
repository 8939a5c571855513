"""What a served model makes of files, folders and zips, read in a process with limits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_readers import near, seg_places
from dicom_series import DATASET_JSON, Thresholds, write_series
from model_folders import ABOUT, model_folder, write_volume

from autoseg.data.codes import codes_of
from autoseg.data.dataset import labels_from_json
from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.result import Form
from autoseg.data.dicom_objects.structures import structures_of
from autoseg.errors import DataError, UsageError
from autoseg.inference.options import Options
from autoseg.serving.reader_process import ReaderProcess
from autoseg.serving.reading import Facts, unpack
from autoseg.serving.served_model import How, ServedModel, named_models
from autoseg.system.files import read_json


@pytest.fixture(scope="module")
def reader() -> Iterator[ReaderProcess]:
    with ReaderProcess() as process:
        yield process


def served(to: str = "nifti", largest: int = 10**9) -> ServedModel:
    """A stand-in that labels what is bright."""
    how = How("cpu", True, 0.5, Options(), Form(to), False, largest)
    structures = structures_of(labels_from_json(DATASET_JSON), codes_of(DATASET_JSON))
    maker = Maker.of(["stand-in"], "0.1.0", ["ab" * 32], {})
    facts = Facts(".nii.gz", ("CT",), "SimpleITKIO")
    return ServedModel("bright", Thresholds(), None, facts, structures, maker, how, ("ab" * 32,))


def zipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for each in folder.rglob("*"):
            archive.write(each, each.relative_to(folder.parent))
    return path


def segment(reader: ReaderProcess, folder: Path, *paths: Path, **how: Any) -> Any:
    (folder / "out").mkdir()
    return served(**how).segment(paths, reader, folder / "work", folder / "out")


def test_a_zip_of_a_series_becomes_a_seg(reader: ReaderProcess, tmp_path: Path) -> None:
    series = write_series(tmp_path / "study", "oblique")
    path = zipped(tmp_path / "study.zip", tmp_path / "study")
    (name,) = segment(reader, tmp_path, path, to="dicom-seg").files
    found = {key: near(places) for key, places in seg_places(tmp_path / "out" / name).items()}
    assert found == {key: near(series.places(series.labels == n)) for n, key in ((1, "outer"), (2, "inner"))}


def test_a_folder_of_images_in_a_zip_and_one_that_is_broken(reader: ReaderProcess, tmp_path: Path) -> None:
    good = write_volume(tmp_path / "cases" / "a_0000.nii.gz")
    (tmp_path / "cases" / "b_0000.nii.gz").write_bytes(b"no image")
    done = segment(reader, tmp_path, zipped(tmp_path / "cases.zip", tmp_path / "cases"))
    assert done.files == ("a.nii.gz",)
    assert list(done.left_out) == ["b"]
    image, result = sitk.ReadImage(str(good)), sitk.ReadImage(str(tmp_path / "out" / "a.nii.gz"))
    assert result.GetDirection() == image.GetDirection() and result.GetSize() == image.GetSize()
    assert np.array_equal(
        sitk.GetArrayFromImage(result) > 0, sitk.GetArrayFromImage(image).astype(np.float32) > 150
    )


def test_a_single_file_needs_no_channel_in_its_name(reader: ReaderProcess, tmp_path: Path) -> None:
    assert segment(reader, tmp_path, write_volume(tmp_path / "scan.nii.gz")).files == ("scan.nii.gz",)


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.png", "is not a .nii.gz file"), ("a_seg.nii.gz", "nnU-Net appends"), ("a.nii.gz", "a.nii.gz")],
)
def test_a_file_that_is_no_image_is_refused(
    name: str, words: str, reader: ReaderProcess, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(DataError, match=words):
        segment(reader, tmp_path, tmp_path / name)


def test_channels_that_are_not_the_models(reader: ReaderProcess, tmp_path: Path) -> None:
    paths = [write_volume(tmp_path / f"a_000{number}.nii.gz") for number in range(2)]
    with pytest.raises(DataError, match=r"_0000, _0001; the model takes _0000 \(CT\)"):
        segment(reader, tmp_path, *paths)


@pytest.mark.parametrize("name", ["../out.nii.gz", "/abs.nii.gz", "c:\\x.nii.gz"])
def test_a_zip_that_leads_out_is_not_unpacked(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(DataError, match=r"a\.zip is not taken"):
        unpack(tmp_path / "a.zip", tmp_path / "work" / "deep", 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_zip_that_unpacks_to_too_much(reader: ReaderProcess, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a_0000.nii.gz", bytes(2**20))
    with pytest.raises(DataError, match=r"unpacks to 1 MiB; at most 0"):
        segment(reader, tmp_path, tmp_path / "a.zip", largest=1000)


def ends_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("guarded", [True, False])
def test_a_file_that_ends_the_reading_process_ends_nothing_else(guarded: bool) -> None:
    with ReaderProcess(guarded) as process:
        with pytest.raises(DataError, match="process that reads"):
            process.call(ends_itself)
        assert process.call(len, "abc") == 3


def test_names_of_models(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "model").mkdir(parents=True)
    one, other = tmp_path / "a" / "model", tmp_path / "b" / "model"
    assert named_models([str(one), f"liver={other}"]) == {"model": one, "liver": other}
    for given, words in (
        ([one, other], "Two models"),
        ([f"a/b={one}"], "slash"),
        ([tmp_path / "c"], "no model"),
    ):
        with pytest.raises(UsageError, match=words):
            named_models(list(map(str, given)))


def test_a_model_that_is_loaded_once_segments_as_predict_does(reader: ReaderProcess, tmp_path: Path) -> None:
    from autoseg.pipeline.single_stages import predict_folder

    model = model_folder(tmp_path, "unet", "2d", ABOUT)
    image = write_volume(tmp_path / "in" / "a_0000.nii.gz")
    how = How("cpu", True, 0.5, Options(), Form(), False, 10**9)
    (tmp_path / "out").mkdir()
    ServedModel.load("unet", model, how).segment([image], reader, tmp_path / "work", tmp_path / "out")
    predict_folder(model, tmp_path / "in", tmp_path / "predicted", device="cpu", quality=False)
    found, wanted = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / folder / "a.nii.gz")))
        for folder in ("out", "predicted")
    )
    assert wanted.any()
    assert np.array_equal(found, wanted)


@pytest.mark.slow
def test_the_whole_command_is_killed_and_goes_on(tmp_path: Path) -> None:
    """Drop folder and HTTP; a kill in the middle of a job, and the end by SIGTERM."""
    about = {**ABOUT, "channel_names": {"0": "CT"}}
    model = model_folder(tmp_path, "resnet34_mlp", "2d", about)
    series = write_series(tmp_path / "study", "axial")
    zipped(tmp_path / "study.zip", series.folder)
    drop, out = tmp_path / "in", tmp_path / "out"
    drop.mkdir()
    write_volume(drop / "small_0000.nii.gz")
    write_volume(drop / "large_0000.nii.gz", (120, 160, 160))
    (drop / "bad_0000.nii.gz").write_bytes(b"no image")
    line = [sys.executable, "-m", "autoseg", "serve", model, "--watch", drop, out, "--settle", 0]
    line += ["--port", 0, "--json", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def started() -> tuple[subprocess.Popen[str], dict[str, Any]]:
        process = subprocess.Popen(list(map(str, line)), stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    def states() -> dict[str, str]:
        jobs = [read_json(path) for path in (out / ".serve" / "jobs").glob("*-*.json")]
        return {job["name"]: job["state"] for job in jobs}

    process, _ = started()
    while states().get("large") != "running":
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert (drop / "large_0000.nii.gz").is_file() and not (out / "large").exists()

    process, told = started()
    token = Path(told["token_file"]).read_text().strip()
    body = (tmp_path / "study.zip").read_bytes()
    ask = urllib.request.Request(
        f"{told['url']}/jobs?name=study.zip", body, {"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(ask) as answer:
        assert json.loads(answer.read())["state"] == "waiting"
    while set(states().values()) & {"waiting", "running"}:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert states() == {"bad": "failed", "large": "done", "small": "done", "study": "done"}
    assert (drop / "set_aside" / "bad_0000.nii.gz.reason.txt").is_file()
    assert sorted(path.name for path in (drop / "done").iterdir()) == [
        "large_0000.nii.gz",
        "small_0000.nii.gz",
    ]
    assert {path.name for path in out.iterdir()} == {".serve", "large", "small", "study"}
