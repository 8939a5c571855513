"""DICOM series: what makes one volume, what makes a case, and what is refused."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import pydicom, save, slice_of, volume, write_series

from autoseg.data.dataset import load_dataset
from autoseg.errors import DataError, MissingDependency, UsageError
from autoseg.intake.conversion import Imported, import_dataset
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


def plain(tmp_path: Path, name: str = "CT", **options: object) -> Imported:
    request = Request(workers=1, **{"labels": {"liver": 1}, "own": BY_FOLDERS, **options})  # type: ignore[arg-type]
    return import_dataset(tmp_path / "scans", Workspace.locate(tmp_path / "workspace"), name, request=request)


def test_pipes_loops_and_links_to_nothing_are_listed_and_hang_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "scans" / "a"
    write_series(folder, volume())
    os.mkfifo(folder / "pipe")
    (folder / "nothing").symlink_to(folder / "missing")
    (folder / "itself").symlink_to(folder / "itself")
    (folder / "up").symlink_to(tmp_path / "scans")
    done = plain(tmp_path)
    assert done.cases == 1 and done.left_out == 3
    assert set(done.remarks) == {
        "1 x a pipe: a/pipe",
        "1 x a link to nothing: a/nothing",
        "1 x a link that leads back to itself: a/itself",
    }


def test_a_study_makes_a_case_of_the_kinds_that_are_named(tmp_path: Path) -> None:
    for number in (1, 2):
        for series, kind in enumerate(("CT", "PT"), 1):
            folder = tmp_path / "scans" / f"p{number}" / f"s{series}"
            write_series(
                folder, volume(), patient=number, series=series, Modality=kind, SeriesDescription=kind
            )
    with pytest.raises(DataError, match=r"several kinds: CT \(2\), PT \(2\).*--channels"):
        plain(tmp_path)
    done = plain(tmp_path, channels=("PET", "CT"))
    assert load_dataset(done.root).channels == ("PET", "CT") and done.cases == 2


def test_pet_comes_in_as_suv_on_request(tmp_path: Path) -> None:
    more = {"PatientWeight": "80", "Units": "BQML", "CorrectedImage": ["DECY"], "DecayCorrection": "ADMIN"}
    given = pydicom.Dataset()
    given.RadionuclideTotalDose = "1000"
    more |= {"RadiopharmaceuticalInformationSequence": pydicom.Sequence([given]), "RescaleIntercept": "0"}
    write_series(tmp_path / "scans", volume(), Modality="PT", **more)
    done = plain(tmp_path, own={"values": "suv"})
    assert done.how == {"DICOM series of 8 slices; as SUV": 1}
    assert load_dataset(done.root).channels == ("PET_SUV",)
    (path,) = (done.root / "imagesTr").iterdir()
    assert np.allclose(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), volume() * 80.0)
    with pytest.raises(UsageError, match=r"values=sul is not known. Write values=suv"):
        plain(tmp_path, "Other", own={"values": "sul"})


def test_a_gap_is_refused_with_what_lies_unreadable_there_and_interpolated_on_request(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "scans" / "a", volume())
    paths[3].write_bytes(b"")
    with pytest.raises(DataError, match=r"are 4 mm.*IM0004 \(empty\).*--resample"):
        plain(tmp_path)
    done = plain(tmp_path, resample=True)
    assert done.how == {"DICOM series of 7 slices; interpolated between slices": 1}
    assert any("1 series have uneven distances" in note for note in done.notes)


def test_a_label_with_more_slices_names_the_files_that_cannot_be_read(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "scans" / "a", volume())
    label(tmp_path / "scans" / "a.nii.gz", volume() > 500)
    paths[7].write_bytes(b"")
    with pytest.raises(DataError, match=r"is short: .* has 8 slices. Not readable there: IM0008 \(empty\)"):
        plain(tmp_path, labels={})


def label(path: Path, mask: np.ndarray) -> None:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing((1.0, 1.0, 2.0))
    image.SetOrigin((-10.0, -20.0, 30.0))
    sitk.WriteImage(image, str(path))


def test_a_label_of_tilted_slices_is_made_upright_with_them_on_request(tmp_path: Path) -> None:
    stored = volume(shape=(8, 40, 10))
    places = [[-10.0, -20.0 + 0.5 * k, 30.0 + 2 * k] for k in range(8)]
    write_series(tmp_path / "scans" / "a", stored, positions=places)
    label(tmp_path / "scans" / "a.nii.gz", stored > 500)
    with pytest.raises(DataError, match=r"lies tilted .* 3.5 mm .* --by-voxels"):
        plain(tmp_path, labels={})
    done = plain(tmp_path, labels={}, by_voxels=True)
    (case,) = load_dataset(done.root).cases
    image, drawn = (sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (case.images[0], case.label))
    assert image.shape == drawn.shape == (8, 44, 10)
    assert image[drawn > 0].mean() - image[drawn == 0].mean() > 700
    assert any("1 series lie tilted" in note for note in done.notes)


def test_one_label_for_two_phases_is_refused_and_goes_to_the_grid_that_it_lies_on(tmp_path: Path) -> None:
    for number, shift in ((1, 0.0), (2, 1.0)):
        places = [[-10.0, -20.0, 30.0 + 2 * k + shift] for k in range(8)]
        for k in range(8):
            found = slice_of(volume(number)[k], places[k], 100 * number + k, AcquisitionNumber=number)
            save(found, tmp_path / "scans" / "a" / f"{number}_{k}")
    label(tmp_path / "scans" / "a.nii.gz", volume(1) > 500)
    done = plain(tmp_path, labels={})
    assert done.cases == 1 and done.unlabelled == 1
    assert any("acquisition 1, acquisition 2" in note for note in done.notes)
    (image,) = (done.root / "imagesTr").iterdir()
    assert sitk.ReadImage(str(image)).GetOrigin()[2] == 30.0


def test_without_the_extra_the_command_that_brings_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "scans", volume())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingDependency, match=re.escape("pip install 'autoseg-medical[dicom]'")):
        plain(tmp_path)


def test_series_that_are_not_sound_are_passed_over_on_request(tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "a", volume(1))
    for number in (2, 3):
        paths = write_series(tmp_path / "scans" / "bcd"[number - 2], volume(number), patient=number)
        paths[3].unlink()
    with pytest.raises(
        DataError, match=r"are 4 mm.* 1 more series are not sound; --option unsound=leave-out"
    ):
        plain(tmp_path)
    done = plain(tmp_path, own={"unsound": "leave-out"})
    assert done.cases == 1 and done.left_out == 14
    assert any(remark.startswith("14 x of a series that makes no sound volume") for remark in done.remarks)


@pytest.mark.parametrize("place", ["labels/PAT1.nii.gz", "PAT1/label.nii.gz", "PAT1.nii.gz"])
@pytest.mark.parametrize("alternate", [False, True])
def test_a_series_in_two_folders_is_one_case_with_its_label(
    tmp_path: Path, place: str, alternate: bool
) -> None:
    for k, path in enumerate(write_series(tmp_path / "scans" / "PAT1", volume())):
        part = tmp_path / "scans" / "PAT1" / ("AB"[k % 2] if alternate else "AB"[k // 4])
        part.mkdir(exist_ok=True)
        path.rename(part / path.name)
    (tmp_path / "scans" / place).parent.mkdir(exist_ok=True)
    label(tmp_path / "scans" / place, volume() > 500)
    done = plain(tmp_path, labels={})
    (case,) = load_dataset(done.root).cases
    image, drawn = (sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (case.images[0], case.label))
    assert case.identifier == "PAT1" and np.array_equal(image, volume().astype(int) - 1024)
    assert np.array_equal(drawn > 0, volume() > 500)


def test_a_disc_with_its_table_of_contents_is_taken(tmp_path: Path) -> None:
    from pydicom.fileset import FileSet

    disc = FileSet()
    for number in (1, 2):
        for path in write_series(tmp_path / "made" / str(number), volume(number), patient=number):
            disc.add(pydicom.dcmread(path))
    disc.write(tmp_path / "scans")
    done = plain(tmp_path)
    assert done.cases == 2 and done.remarks == ("1 x a table of contents (DICOMDIR): DICOMDIR",)


@pytest.mark.parametrize(("thick", "told"), [(2.0, False), (3.0, False), (4.0, True)])
def test_slices_that_overlap_by_half_may_be_time_points(thick: float, told: bool, tmp_path: Path) -> None:
    for k, values in enumerate(volume(1)):
        found = slice_of(values, [-10, -20, 30 + 2 * k], k, SliceThickness=thick)
        save(found, tmp_path / "scans" / f"{k}")
    notes = [each for each in plain(tmp_path).notes if "overlap" in each]
    assert len(notes) == told
    assert not told or (f"({thick:.3g} mm thick, 2 mm apart)" in notes[0] and "time point" in notes[0])


@pytest.mark.parametrize(("names", "told"), [(("T1", "FLAIR"), True), (("T1", "T1"), False)])
def test_series_that_may_be_channels_are_told(names: tuple[str, ...], told: bool, tmp_path: Path) -> None:
    for patient in (1, 2):
        for number, name in enumerate(names, 1):
            for k, values in enumerate(volume(number)):
                more = {"patient": patient, "series": number, "SeriesDescription": name}
                save(slice_of(values, [0, 0, 2 * k], k, **more), tmp_path / "scans" / f"{patient}{number}{k}")
    done = plain(tmp_path)
    notes = [each for each in done.notes if "--channels" in each]
    assert (done.cases, len(notes)) == (4, told) and not any("FLAIR" in each for each in notes[1:])
    assert plain(tmp_path, "Two", channels=names).cases == 2 if told else True


def test_volumes_of_one_series_may_be_channels(tmp_path: Path) -> None:
    for number in (1, 2):
        for k in range(8):
            found = slice_of(volume(number)[k], [-10, -20, 30 + 2 * k], 10 * k + number, EchoNumbers=number)
            save(found, tmp_path / "scans" / f"{number}_{k}")
    done = plain(tmp_path, channels=("echo 2", "echo 1"))
    first = sitk.ReadImage(str(next((done.root / "imagesTr").glob("*_0000.nii.gz"))))
    assert np.array_equal(sitk.GetArrayFromImage(first), volume(2).astype(int) - 1024)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SAL"])
def test_a_label_lies_on_slices_whose_headers_are_rounded(tmp_path: Path, axes: str) -> None:
    stored = volume(shape=(33, 12, 10))
    noise = np.random.default_rng(0).uniform(-2e-4, 2e-4, (33, 6))
    for k in range(33):
        place = [-10.0, -20.0, round(30 + 1.25 * k, 1)]
        cosines = tuple(np.array((1.0, 0, 0, 0, 1.0, 0)) + noise[k])
        save(slice_of(stored[k], place, k + 1, cosines), tmp_path / "scans" / "a" / f"{k:02d}")
    image = sitk.GetImageFromArray((stored > 500).astype(np.uint8))
    image.SetSpacing((1.0, 1.0, 1.25))
    image.SetOrigin((-10.0, -20.0, 30.0))
    sitk.WriteImage(sitk.DICOMOrient(image, axes), str(tmp_path / "scans" / "a.nii.gz"))
    done = plain(tmp_path, labels={})
    dataset = load_dataset(done.root)
    read = [sitk.ReadImage(str(p)) for p in (dataset.cases[0].images[0], dataset.cases[0].label)]
    assert np.array_equal(sitk.GetArrayFromImage(read[1]) > 0, sitk.GetArrayFromImage(read[0]) > -500)
    assert read[0].GetOrigin() == read[1].GetOrigin() and read[0].GetSpacing() == read[1].GetSpacing()
    assert not verify(dataset, workers=1).errors


def test_a_label_that_lies_elsewhere_is_not_moved_onto_the_slices(tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "a", volume())
    image = sitk.GetImageFromArray((volume() > 500).astype(np.uint8))
    image.SetSpacing((1.0, 1.0, 2.0))
    image.SetOrigin((-10.0, -20.0, 30.7))
    sitk.WriteImage(image, str(tmp_path / "scans" / "a.nii.gz"))
    done = plain(tmp_path, labels={})
    (path,) = (done.root / "labelsTr").iterdir()
    assert sitk.ReadImage(str(path)).GetOrigin()[2] == pytest.approx(30.7)
