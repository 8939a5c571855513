"""DICOM series: what makes one volume, what makes a case, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import SimpleITK as sitk

from autoseg.data.dataset import load_dataset
from autoseg.errors import DataError
from autoseg.intake.conversion import import_dataset
from autoseg.intake.incoming import Request
from autoseg.intake.verification.dataset_check import verify
from autoseg.workspace import Workspace

SLICES = "intake_quirks/ct_dicom_20slices"
BY_FOLDERS = {"names": "folders"}


@pytest.fixture
def scans(shared_data: Callable[[str], Path], tmp_path: Path) -> Path:
    """Two cases of two series each, and a label for each case."""
    series, source = shared_data(SLICES), tmp_path / "scans"
    for case in ("p1", "p2"):
        for phase in ("arterial", "venous"):
            shutil.copytree(series, source / case / phase)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    label = sitk.Cast(reader.Execute() > 200, sitk.sitkUInt8)
    (source / "labels").mkdir()
    for case in ("p1", "p2"):
        sitk.WriteImage(label, str(source / "labels" / f"{case}.nii.gz"))
    return source


def test_named_series_are_the_channels_of_a_case(scans: Path, tmp_path: Path) -> None:
    workspace = Workspace.locate(tmp_path / "workspace")
    request = Request(channels=("venous", "arterial"), labels={"bone": 1}, workers=1, own=BY_FOLDERS)
    done = import_dataset(scans, workspace, "CT", request=request)
    dataset = load_dataset(done.root)
    assert dataset.channels == ("venous", "arterial")
    assert [case.identifier for case in dataset.cases] == ["p1", "p2"]
    assert not verify(dataset, workers=1).errors
    shutil.rmtree(scans / "p2" / "venous")
    with pytest.raises(DataError, match="p2 has no series venous"):
        import_dataset(scans, workspace, "Other", request=request)
    with pytest.raises(DataError, match="No series is called portal"):
        import_dataset(scans, workspace, "Other", request=Request(channels=("portal",), workers=1))


def test_every_series_is_a_case_else_and_those_without_a_label_are_kept_apart(
    scans: Path, tmp_path: Path
) -> None:
    workspace = Workspace.locate(tmp_path / "workspace")
    (scans / "labels" / "p1.nii.gz").rename(scans / "labels" / "p1_venous.nii.gz")
    (scans / "labels" / "p2.nii.gz").unlink()
    request = Request(labels={"bone": 1}, workers=1, own=BY_FOLDERS)
    done = import_dataset(scans, workspace, "CT", request=request)
    dataset = load_dataset(done.root)
    assert [case.identifier for case in dataset.cases] == ["p1_venous"]
    assert [case.identifier for case in dataset.unlabelled_cases] == [
        "p1_arterial",
        "p2_arterial",
        "p2_venous",
    ]
