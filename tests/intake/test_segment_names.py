"""Segmentations of 3D Slicer, which say in their headers what each number is called."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from small_files import label, volume, voxels

from autoseg.errors import DataError
from autoseg.intake.conversion import Imported, import_dataset
from autoseg.intake.incoming import Request
from autoseg.intake.segment_names import segment_names
from autoseg.intake.verification.dataset_check import verify
from autoseg.system.files import write_json
from autoseg.workspace import Workspace


def segmentation(path: Path, *segments: tuple[str, int], values: tuple[int, ...]) -> Path:
    """A label file whose header names the segments, in this order."""
    image = sitk.ReadImage(str(label(path, *values)))
    for number, (name, value) in enumerate(segments):
        image.SetMetaData(f"Segment{number}_ID", f"Segment_{number + 1}")
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        image.SetMetaData(f"Segment{number}_Layer", "0")
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three images, and the liver 1 and the tumour 2 in two of the three segmentations."""
    folder = tmp_path / "source"
    for n in range(3):
        volume(folder / "images" / f"p{n}.nrrd", seed=n)
        liver, tumour = (2, 1) if n == 1 else (1, 2)
        segments = sorted((("Liver", liver), ("tumour", tumour)), key=lambda pair: pair[1])
        segmentation(
            folder / "labels" / f"p{n}.seg.nrrd", *segments, values=(liver, liver, liver, tumour, tumour)
        )
    return folder


def brought(source: Path, **asked: object) -> Imported:
    workspace = Workspace.locate(source.parent / "workspace")
    return import_dataset(source, workspace, "Test", request=Request(workers=1, **asked))  # type: ignore[arg-type]


def counts(path: Path) -> list[int]:
    return np.bincount(voxels(path).ravel()).tolist()[1:]


def test_labels_that_are_numbered_differently_go_by_their_names(source: Path) -> None:
    done = brought(source)
    assert done.document["labels"] == {"background": 0, "Liver": 1, "tumour": 2}
    assert [counts(done.root / "labelsTr" / f"p{n}.nrrd") for n in range(3)] == [[3, 2]] * 3
    assert any("'Liver' in p0.seg.nrrd and 'tumour' in p1.seg.nrrd" in note for note in done.notes)
    assert not any("no names" in note for note in done.notes)


def test_names_that_agree_are_taken_and_files_copied(source: Path) -> None:
    path = source / "labels" / "p1.seg.nrrd"
    segmentation(path, (" LIVER", 1), ("tumour", 2), ("never drawn", 7), values=(1, 2))
    done = brought(source)
    assert done.document["labels"] == {"background": 0, "Liver": 1, "tumour": 2}
    assert done.how == {"copied": 6}


def test_numbers_with_gaps_are_closed_by_name(source: Path) -> None:
    segmentation(source / "labels" / "p2.seg.nrrd", ("tumour", 4), ("vessel", 9), values=(4, 9, 9, 9))
    done = brought(source)
    assert done.document["labels"] == {"background": 0, "Liver": 1, "tumour": 2, "vessel": 3}
    assert counts(done.root / "labelsTr" / "p2.nrrd") == [0, 1, 3]


def test_a_file_without_names_among_files_that_contradict_each_other_is_refused(source: Path) -> None:
    label(source / "labels" / "p2.seg.nrrd", 1, 2)
    with pytest.raises(DataError, match=r"'Liver' in p0.*'tumour' in p1.*p2\.seg\.nrrd does not say"):
        brought(source)


def test_files_without_names_are_as_they_were(source: Path) -> None:
    for n in range(3):
        label(source / "labels" / f"p{n}.seg.nrrd", 1, 2)
    assert brought(source).document["labels"] == {"background": 0, "label_1": 1, "label_2": 2}


def test_names_of_the_user_may_not_contradict_the_files(source: Path) -> None:
    with pytest.raises(
        DataError, match=r"p1\.seg\.nrrd says in its header that 'tumour' is 1, not 2.*Leave out"
    ):
        brought(source, labels={"liver": 1, "tumour": 2})
    assert "organ" in brought(source, labels={"organ": 1, "lesion": 2}).document["labels"]


@pytest.mark.parametrize(
    "segments",
    [
        [("one", 1), ("One ", 2)],
        [("one", 1), ("two", 1)],
        [("background", 1), ("two", 2)],
        [("ignore", 1), ("two", 2)],
        [("one", 0), ("two", 2)],
    ],
)
def test_names_that_leave_a_doubt_are_none(tmp_path: Path, segments: list[tuple[str, int]]) -> None:
    assert segment_names(segmentation(tmp_path / "a.seg.nrrd", *segments, values=(1, 2))) == {}


def test_names_of_what_is_no_segmentation(tmp_path: Path) -> None:
    assert segment_names(volume(tmp_path / "image.nrrd")) == {}
    (tmp_path / "text.nrrd").write_bytes(b"Segment0_Name:=x\nSegment0_LabelValue:=1\n\n")
    assert segment_names(tmp_path / "text.nrrd") == {}


def test_verify_finds_numbers_that_a_header_calls_otherwise(source: Path) -> None:
    root = source.parent / "raw" / "Dataset001_Liver"
    for n in range(3):
        image = sitk.ReadImage(str(source / "images" / f"p{n}.nrrd"))
        for name, written in (("imagesTr", image), ("labelsTr", None)):
            (root / name).mkdir(parents=True, exist_ok=True)
            if written is not None:
                sitk.WriteImage(written, str(root / name / f"p{n}_0000.nrrd"))
        shutil.copy(source / "labels" / f"p{n}.seg.nrrd", root / "labelsTr" / f"p{n}.nrrd")
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "tumour": 2}}
    write_json(root / "dataset.json", {**about, "numTraining": 3, "file_ending": ".nrrd"})
    found = [each for each in verify(root, workers=1).findings if each.code == "label_names"]
    assert [each.case for each in found] == ["p1", "p1"]
    assert "calls the label 1 'tumour', which is 2 in dataset.json" in found[0].message
