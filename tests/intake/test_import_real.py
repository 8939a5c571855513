"""Foreign layouts made of real data: what comes out is what went in, and the walk's first stages take it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from layouts import make_bids, make_decathlon, make_pairs, state_of
from PIL import Image

from autoseg.data.dataset import load_dataset
from autoseg.data.fingerprint import extract_fingerprint
from autoseg.data.folds import make_folds
from autoseg.errors import DataError, UsageError
from autoseg.intake.conversion import import_dataset
from autoseg.intake.incoming import Request
from autoseg.intake.verification.dataset_check import verify
from autoseg.planner import plan_experiment
from autoseg.system.files import read_json
from autoseg.workspace import Workspace

SharedData = Callable[[str], Path]
ONE = Request(workers=1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.locate(tmp_path / "workspace")


def test_the_decathlon_form_of_hippocampus_comes_out_as_the_raw_data_set_it_was_made_of(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    raw = shared_data("Dataset004_Hippocampus")
    source = make_decathlon(raw, tmp_path / "Task04_Hippocampus", cases=20, tests=3)
    before = state_of(source)
    done = import_dataset(source, workspace, "Hippocampus", request=ONE)
    assert state_of(source) == before
    assert (done.layout, done.cases, done.tests, done.root.name) == ("msd", 20, 3, "Dataset101_Hippocampus")
    assert done.how == {"copied": 43}
    dataset = load_dataset(done.root)
    assert dataset.labels.names == {"background": 0, "Anterior": 1, "Posterior": 2}
    assert dataset.dataset_json["licence"] == "CC-BY-SA 4.0"
    for case in (*dataset.cases, *dataset.test_cases):
        assert case.images[0].read_bytes() == (raw / "imagesTr" / case.images[0].name).read_bytes()
    for case in dataset.cases:
        assert case.label is not None
        assert case.label.read_bytes() == (raw / "labelsTr" / case.label.name).read_bytes()
    report = verify(dataset, workers=1)
    assert not report.errors
    plan = plan_experiment(dataset, extract_fingerprint(dataset, workers=1))
    assert "3d_fullres" in plan.configurations


def test_the_channels_of_a_4d_file_come_out_voxel_for_voxel_where_they_were(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    raw = shared_data("Dataset030_MSLesion")
    source = make_decathlon(raw, tmp_path / "Task30", cases=2)
    done = import_dataset(source, workspace, "Lesion", request=ONE)
    dataset = load_dataset(done.root)
    assert dataset.channels == ("FLAIR", "T1", "T1POST", "T2")
    for case in dataset.cases:
        for path in case.images:
            found, wanted = sitk.ReadImage(str(path)), sitk.ReadImage(str(raw / "imagesTr" / path.name))
            assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(wanted))
            assert found.GetPixelID() == wanted.GetPixelID()
            for part in ("GetSpacing", "GetOrigin", "GetDirection"):
                assert np.allclose(getattr(found, part)(), getattr(wanted, part)(), atol=1e-5)
    assert not verify(dataset, workers=1).errors


def test_pairs_of_pictures_keep_their_pixels_and_white_masks_become_ones(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    raw = shared_data("Dataset018_FetalHead")
    source = make_pairs(raw, tmp_path / "fetal", cases=30)
    done = import_dataset(source, workspace, "Fetal", request=Request(labels={"head": 255}, workers=1))
    assert done.layout == "folders" and "hc18_000_HC" in done.why
    dataset = load_dataset(done.root)
    assert dataset.labels.names == {"background": 0, "head": 1}
    for case in dataset.cases:
        assert case.label is not None
        assert case.images[0].read_bytes() == (raw / "imagesTr" / case.images[0].name).read_bytes()
        wanted = np.array(Image.open(raw / "labelsTr" / case.label.name))
        assert np.array_equal(np.array(Image.open(case.label)), wanted)
    # The table of exams came along, and the folds go by it.
    groups = {case.identifier: case.group for case in dataset.cases}
    assert len(set(groups.values())) < 30
    for fold in make_folds(dataset):
        assert not {groups[case] for case in fold.training} & {groups[case] for case in fold.validation}
    assert not verify(dataset, workers=1).errors


def test_colour_pictures_have_three_channels(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    source = make_pairs(shared_data("Dataset021_NucleiColor"), tmp_path / "nuclei", cases=4, white=1)
    done = import_dataset(source, workspace, "Nuclei", request=ONE)
    assert load_dataset(done.root).channels == ("R", "G", "B")
    assert done.how == {"copied": 8}
    assert not verify(done.root, workers=1).errors


def test_channels_on_different_grids_are_refused_with_the_file_and_the_remedy(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    source = make_bids(shared_data("intake_quirks/channels_on_different_grids"), tmp_path / "isles")
    with pytest.raises(DataError, match=r"flair\.nii\.gz: 512 x 512 x 29 .*(.|\n)*--resample"):
        import_dataset(source, workspace, "Isles", request=ONE)
    assert [path.name for path in workspace.raw.iterdir() if not path.name.startswith(".")] == []


def test_channels_on_different_grids_are_resampled_onto_the_labels_where_asked(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    stroke = shared_data("intake_quirks/channels_on_different_grids")
    source = make_bids(stroke, tmp_path / "isles")
    done = import_dataset(source, workspace, "Isles", request=Request(resample=True, workers=1))
    assert done.layout == "bids"
    dataset = load_dataset(done.root)
    assert dataset.channels == ("adc", "flair")
    (case,) = dataset.cases
    assert (case.identifier, case.group) == ("sub-strokecase0009_ses-0001", "strokecase0009")
    adc, flair = (sitk.ReadImage(str(path)) for path in case.images)
    assert case.images[0].read_bytes() == (stroke / f"{case.identifier}_adc.nii.gz").read_bytes()
    assert flair.GetSize() == adc.GetSize() and np.allclose(flair.GetOrigin(), adc.GetOrigin())
    # Bright where the original is bright: each voxel against the mean of the original around its place.
    original = sitk.ReadImage(str(stroke / f"{case.identifier}_flair.nii.gz"), sitk.sitkFloat32)
    smooth = sitk.DiscreteGaussian(original, 1.0)
    array = sitk.GetArrayFromImage(flair)
    pairs = []
    for z, y, x in np.random.default_rng(0).integers((10, 20, 20), (60, 90, 90), (300, 3)):
        place = flair.TransformIndexToPhysicalPoint((int(x), int(y), int(z)))
        index = smooth.TransformPhysicalPointToIndex(place)
        pairs.append((array[z, y, x], smooth[index]))
    assert np.corrcoef(np.array(pairs).T)[0, 1] > 0.97
    assert not verify(dataset, workers=1).errors


def test_orientation_codes_that_differ_but_mean_one_place_are_taken_as_they_are(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    source = make_bids(shared_data("intake_quirks/channels_on_different_grids"), tmp_path / "isles")
    request = Request(channels=("adc",), labels={"lesion": 1}, workers=1)
    done = import_dataset(source, workspace, "Isles", request=request)
    assert done.how == {"copied": 2} and done.left_out == 1
    report = verify(done.root, workers=1)
    assert not report.errors
    assert not [finding for finding in report.findings if finding.code.endswith("_mismatch")]


def test_a_dicom_series_becomes_a_volume_with_its_spacing_origin_and_direction(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    slices = shared_data("intake_quirks/ct_dicom_20slices")
    source = tmp_path / "ct"
    # Names that say nothing of the order.
    (source / "patient").mkdir(parents=True)
    for number, path in enumerate(sorted(slices.iterdir())):
        shutil.copyfile(path, source / "patient" / f"{(number * 7) % 20:02d}")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(slices)))
    wanted = reader.Execute()
    label = sitk.Cast(wanted > 200, sitk.sitkUInt8)
    sitk.WriteImage(label, str(source / "patient.nii.gz"))
    before = state_of(source)
    done = import_dataset(source, workspace, "CT", request=Request(labels={"bone": 1}, workers=1))
    assert state_of(source) == before
    assert done.how == {"DICOM series of 20 slices": 1, "voxels and place alone": 1}
    dataset = load_dataset(done.root)
    assert dataset.channels == ("CT",)
    (case,) = dataset.cases
    found = sitk.ReadImage(str(case.images[0]))
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(wanted))
    assert found.GetSpacing() == (0.9765625, 0.9765625, 2.0)
    assert (
        np.allclose(found.GetOrigin(), wanted.GetOrigin()) and found.GetDirection() == wanted.GetDirection()
    )
    assert not verify(dataset, workers=1).errors


def test_a_dicom_series_with_a_missing_slice_is_refused_with_the_place(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    source = tmp_path / "ct"
    shutil.copytree(shared_data("intake_quirks/ct_dicom_20slices"), source)
    (source / "CT.1.3.12.2.1107.5.1.4.60064.30000022120808113428000016581").unlink()
    with pytest.raises(DataError, match="are 4 mm, between most slices 2 mm"):
        import_dataset(source, workspace, "CT", request=Request(labels={"bone": 1}, workers=1))


def test_dicom_without_labels_says_what_can_be_done(shared_data: SharedData, workspace: Workspace) -> None:
    source = shared_data("intake_quirks/ct_dicom_20slices")
    with pytest.raises(DataError, match=r"ct_dicom_20slices\.nii\.gz.*--labels NAME=1.*autoseg predict"):
        import_dataset(source, workspace, "CT", request=ONE)
    done = import_dataset(source, workspace, "CT", request=Request(labels={"liver": 1}, workers=1))
    assert {finding.code for finding in verify(done.root, workers=1).errors} == {"missing_label"}


def test_a_raw_data_set_of_nnunet_is_copied_whole_or_linked(
    shared_data: SharedData, workspace: Workspace
) -> None:
    raw = shared_data("Dataset030_MSLesion")
    copied = import_dataset(raw, workspace, "Copied", request=ONE)
    linked = import_dataset(raw, workspace, "Linked", request=Request(link=True, workers=1))
    assert copied.layout == linked.layout == "nnunet"
    assert copied.how == {"copied": 11} and linked.how == {"linked": 11}
    for done in (copied, linked):
        for path in sorted((raw / "imagesTr").iterdir()):
            assert (done.root / "imagesTr" / path.name).read_bytes() == path.read_bytes()
        assert (done.root / "SOURCE.md").read_bytes() == (raw / "SOURCE.md").read_bytes()
    assert (linked.root / "labelsTr" / "msl_07.nii.gz").is_symlink()
    original = read_json(raw / "dataset.json")
    assert {key: copied.document[key] for key in original} == original


def test_the_record_says_what_every_file_was_made_of(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    source = make_pairs(shared_data("Dataset018_FetalHead"), tmp_path / "fetal", cases=3)
    (source / "masks" / "nobody.png").write_bytes((source / "masks" / "hc18_000_HC_mask.png").read_bytes())
    done = import_dataset(source, workspace, "Fetal", request=ONE)
    record = read_json(done.root / "import.json")
    assert record["left_out"] == [str(source / "masks" / "nobody.png")]
    made = {entry["file"]: entry["source"] for entry in record["files"]}
    written = {str(path.relative_to(done.root)) for path in done.root.rglob("*") if path.is_file()} - {
        "dataset.json",
        "import.json",
    }
    assert set(made) == written
    assert all(Path(path).is_file() for path in made.values())


def test_the_same_again_changes_nothing_and_another_source_is_refused(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace
) -> None:
    source = make_pairs(shared_data("Dataset018_FetalHead"), tmp_path / "fetal", cases=3)
    first = import_dataset(source, workspace, "Fetal", request=ONE)
    before = state_of(first.root)
    again = import_dataset(source, workspace, "Fetal", request=ONE)
    assert not again.fresh and again.to_json() == {**first.to_json(), "already_there": True}
    assert state_of(first.root) == before
    (source / "images" / "hc18_000_HC.png").touch()
    with pytest.raises(UsageError, match="have changed since"):
        import_dataset(source, workspace, "Fetal", request=ONE)


def test_an_import_that_is_stopped_leaves_nothing(
    shared_data: SharedData, tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoseg.intake import conversion as bring

    source = make_pairs(shared_data("Dataset018_FetalHead"), tmp_path / "fetal", cases=3)

    def stop(root: Path) -> None:
        assert (root / "dataset.json").is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr(bring, "load_dataset", stop)
    with pytest.raises(KeyboardInterrupt):
        import_dataset(source, workspace, "Fetal", request=ONE)
    assert list(workspace.raw.iterdir()) == []
    # What a killed one left is cleared away.
    (workspace.raw / ".Dataset101_Fetal.incoming" / "imagesTr").mkdir(parents=True)
    monkeypatch.undo()
    done = import_dataset(source, workspace, "Fetal", request=ONE)
    assert [path.name for path in workspace.raw.iterdir()] == [done.root.name]


def test_the_command_says_what_it_took_and_what_comes_next(
    shared_data: SharedData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    from autoseg.cli.app import app

    source = make_pairs(shared_data("Dataset018_FetalHead"), tmp_path / "fetal", cases=3)
    options = ["import", str(source), "--name", "Fetal", "--workspace", str(tmp_path / "w"), "--quiet"]
    told = CliRunner().invoke(app, options)
    assert told.exit_code == 0, told.output
    for part in (
        "layout    folders: it has images and masks",
        "3 label values 255 to 1",
        "autoseg verify Dataset101",
    ):
        assert part in told.stdout
    document = json.loads(CliRunner().invoke(app, [*options, "--json"]).stdout)
    assert (document["cases"], document["labels"]) == (3, {"background": 0, "foreground": 1})
    assert document["already_there"] is True
