"""SEG and RTSTRUCT beside their series: chosen, named across cases, and drawn on the image's grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import dataset, pydicom, save, uid, volume, write_series
from dicom_labels import write_rtstruct, write_seg

from autoseg.data.codes import codes_of
from autoseg.data.dataset import load_dataset
from autoseg.errors import DataError, UsageError
from autoseg.intake.conversion import Imported, import_dataset
from autoseg.intake.incoming import Request
from autoseg.intake.verification.dataset_check import verify
from autoseg.workspace import Workspace

STORAGE = "1.2.840.10008.5.1.4.1.1"


def brought(tmp_path: Path, name: str = "Case", **options: object) -> Imported:
    request = Request(workers=1, **options)  # type: ignore[arg-type]
    return import_dataset(tmp_path / "scans", Workspace.locate(tmp_path / "workspace"), name, request=request)


def masks_of(stored: np.ndarray) -> np.ndarray:
    """The bright block, and a smaller one beside it."""
    masks = np.zeros((*stored.shape, 2), np.uint8)
    masks[..., 0] = stored > 500
    masks[1, :2, :2, 1] = 1
    return masks


def patient(
    tmp_path: Path, number: int, names: tuple[str, ...] = ("liver", "tumour"), **more: object
) -> Path:
    folder = tmp_path / "scans" / f"PAT{number}"
    stored = volume(number)
    sources = write_series(folder / "ct", stored, patient=number)
    write_seg(folder / "seg", sources, masks_of(stored), names, **more)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segmentations_beside_their_series_become_labels(tmp_path: Path, kind: str) -> None:
    for number in (1, 2):
        patient(tmp_path, number, kind=kind)
    done = brought(tmp_path)
    assert done.document["labels"] == {"background": 0, "liver": 1, "tumour": 2}
    assert done.document["codes"]["liver"] == ["SCT 91772007 Organ", "SCT 10200004 Liver"]
    assert codes_of(done.document)["liver"].type.meaning == "Liver"
    assert done.how == {"DICOM series of 8 slices": 2, "DICOM SEG": 2}
    dataset = load_dataset(done.root)
    for case in dataset.cases:
        image, label = (sitk.ReadImage(str(path)) for path in (case.images[0], case.label))
        assert image.GetOrigin() == label.GetOrigin() and image.GetSpacing() == label.GetSpacing()
        values, labels = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(label)
        assert values[labels == 1].min() > 500 - 1024 > values[labels != 1].max()
        assert (labels == 2).sum() == 4
    assert not verify(dataset, workers=1).errors


def test_spellings_of_one_structure_are_one_label_and_others_are_renamed(tmp_path: Path) -> None:
    patient(tmp_path, 1, ("Liver", "GTV"))
    patient(tmp_path, 2, ("liver ", "tumour"))
    patient(tmp_path, 3, ("LIVER", "tumour"))
    done = brought(tmp_path, "Plain")
    assert list(done.document["labels"]) == ["background", "Liver", "GTV", "tumour"]
    assert any("taken for one: 'Liver' (1) = 'liver' (1) = 'LIVER' (1)" in note for note in done.notes)
    assert any("GTV (1), tumour (2)" in note and "--rename" in note for note in done.notes)
    renamed = brought(tmp_path, "Renamed", rename={"GTV": "tumour", "liver": "Leber"})
    assert renamed.document["labels"] == {"background": 0, "Leber": 1, "tumour": 2}


def test_labels_choose_structures_and_their_order(tmp_path: Path) -> None:
    patient(tmp_path, 1)
    done = brought(tmp_path, labels={"Tumour": 1})
    assert done.document["labels"] == {"background": 0, "tumour": 1}
    assert "Structures that no label is made of: liver." in done.notes
    with pytest.raises(DataError, match=r"has a structure 'spleen'. There are liver, tumour"):
        brought(tmp_path, "Other", labels={"spleen": 1})


def test_structures_that_overlap_need_an_order(tmp_path: Path) -> None:
    folder, stored = tmp_path / "scans" / "PAT1", volume()
    sources, masks = write_series(folder, stored), masks_of(stored)
    masks[3, 4:6, 4:6, 1] = 1
    write_seg(folder / "seg", sources, masks, ["liver", "tumour"])
    with pytest.raises(DataError, match=r"4 voxels in both .* --labels 'liver=1,tumour=2'"):
        brought(tmp_path)
    done = brought(tmp_path, labels={"liver": 1, "tumour": 2})
    assert any("the later label lies on top in 4 voxels" in note for note in done.notes)


def test_of_several_segmentations_one_is_chosen(tmp_path: Path) -> None:
    folder = patient(tmp_path, 1, SeriesDescription="first reader")
    sources = sorted((folder / "ct").iterdir())
    write_seg(
        folder / "seg2",
        sources,
        masks_of(volume(1))[..., :1],
        ["liver"],
        series=61,
        SeriesDescription="second",
    )
    with pytest.raises(
        DataError, match=r"PAT1_ct has 2 segmentations:(.|\n)*'first reader'(.|\n)*--segmentation"
    ):
        brought(tmp_path)
    assert list(brought(tmp_path, "One", segmentation=("Second",)).document["labels"]) == [
        "background",
        "liver",
    ]
    assert len(brought(tmp_path, "Two", segmentation=("first reader",)).document["labels"]) == 3
    with pytest.raises(DataError, match="No segmentation is called third"):
        brought(tmp_path, "Three", segmentation=("third",))


def test_a_series_with_objects_of_every_kind_in_its_folder(tmp_path: Path) -> None:
    """CT, LABELMAP SEG, RTSTRUCT, SR and presentation state in one folder: one of the two is the label."""
    square = np.array([[-7, -17, 32.0], [-4, -17, 32], [-4, -14, 32], [-7, -14, 32]])
    for number in (1, 2):
        folder, stored = tmp_path / "scans" / f"PAT{number}", volume(number)
        sources = write_series(folder, stored, patient=number)
        names = ("liver", "tumour")
        write_seg(folder / "seg.dcm", sources, masks_of(stored), names, "LABELMAP", 60 + number)
        write_rtstruct(folder / "rt.dcm", sources[0], {"heart": [square]}, 70 + number, sources)
        study = pydicom.dcmread(sources[0], stop_before_pixels=True).StudyInstanceUID
        for kind, sop_class in ((88, f"{STORAGE}.88.33"), (11, f"{STORAGE}.11.1")):
            other = dataset(sop_class, uid(9, number, kind), series=kind, Modality="OT", patient=number)
            other.StudyInstanceUID = study
            save(other, folder / f"{kind}.dcm")
    with pytest.raises(DataError, match=r"PAT1 has 2 segmentations(.|\n)*a file name, SEG or RTSTRUCT"):
        brought(tmp_path)
    drawn = brought(tmp_path, "Drawn", segmentation=("seg",))
    assert drawn.document["labels"] == {"background": 0, "liver": 1, "tumour": 2}
    for case in load_dataset(drawn.root).cases:
        values, labels = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (case.images[0], case.label)
        )
        assert values[labels == 1].min() > 500 - 1024 and (labels == 2).sum() == 4
    outlined = brought(tmp_path, "Outlined", segmentation=("RTSTRUCT",))
    assert outlined.document["labels"] == {"background": 0, "heart": 1}
    for case in load_dataset(outlined.root).cases:
        assert (sitk.GetArrayFromImage(sitk.ReadImage(str(case.label))) == 1).sum() == 16


def test_several_segmentations_that_belong_together_are_united(tmp_path: Path) -> None:
    folder, stored = tmp_path / "scans" / "PAT1", volume()
    sources, masks = write_series(folder, stored), masks_of(stored)
    for number, name in enumerate(("liver", "tumour")):
        write_seg(folder / name, sources, masks[..., number : number + 1], [name], series=60 + number)
    done = brought(tmp_path, segmentation=("liver", "tumour"))
    (path,) = (done.root / "labelsTr").iterdir()
    assert np.array_equal(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))), [0, 1, 2])


def test_label_files_come_before_segmentations_unless_these_are_chosen(tmp_path: Path) -> None:
    folder = patient(tmp_path, 1, SeriesDescription="reader")
    image = sitk.Image((10, 12, 8), sitk.sitkUInt8)
    image.SetSpacing((1, 1, 2))
    image.SetOrigin((-10, -20, 30))
    image[4, 4, 4] = 1
    sitk.WriteImage(image, str(folder.parent / "PAT1_ct.nii.gz"))
    assert len(brought(tmp_path, "Files").document["labels"]) == 2
    assert len(brought(tmp_path, "Chosen", segmentation=("reader",)).document["labels"]) == 3
    patient(tmp_path, 2)
    with pytest.raises(DataError, match=r"1 cases have label files, and 1 only a SEG or RTSTRUCT: PAT2_ct"):
        brought(tmp_path, "Mixed")


def test_contours_become_labels_and_choose_their_series_by_its_uid(tmp_path: Path) -> None:
    folder = tmp_path / "scans" / "PAT1"
    write_series(folder / "early", volume(1))
    late = write_series(folder / "late", volume(2), series=2)
    square = [(-7.5, -17.5), (-2.5, -17.5), (-2.5, -12.5), (-7.5, -12.5)]
    contours = [np.array([(x, y, z) for x, y in square]) for z in (34.0, 36.0, 38.0, 40.0)]
    write_rtstruct(folder / "rs", late[0], {"organ": contours})
    done = brought(tmp_path, own={"names": "folders"})
    dataset = load_dataset(done.root)
    assert [case.identifier for case in dataset.cases] == ["PAT1_late"] and done.unlabelled == 1
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(dataset.cases[0].label)))
    assert np.array_equal(label != 0, volume(2) > 500)


def test_a_segmentation_of_another_series_is_left_out_and_a_choice_without_any_is_refused(
    tmp_path: Path,
) -> None:
    folder = patient(tmp_path, 1)
    for path in (folder / "ct").iterdir():
        path.unlink()
    write_series(folder / "ct", volume(5), patient=2)
    with pytest.raises(DataError, match="has no labels: no SEG or RTSTRUCT of these series"):
        brought(tmp_path)
    done = brought(tmp_path, labels={"liver": 1})
    assert any("labels of a series that is not here: PAT1/seg" in remark for remark in done.remarks)
    (folder / "seg").unlink()
    with pytest.raises(UsageError, match="no SEG or RTSTRUCT to choose from"):
        brought(tmp_path, "Other", segmentation=("reader",))


def test_structures_without_a_voxel_are_no_labels(tmp_path: Path) -> None:
    sources = write_series(tmp_path / "scans" / "PAT1", volume(1))
    square = [(-7.5, -17.5), (-2.5, -17.5), (-2.5, -12.5), (-7.5, -12.5)]
    contours = [np.array([(x, y, z) for x, y in square]) for z in (34.0, 36.0)]
    write_rtstruct(tmp_path / "scans" / "rs", sources[0], {"isocentre": [], "organ": contours})
    done = brought(tmp_path)
    assert done.document["labels"] == {"background": 0, "organ": 1}
    assert "No case has a voxel of isocentre; no label is made of that." in done.notes
    (path,) = (done.root / "labelsTr").iterdir()
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert np.array_equal(np.unique(label), [0, 1]) and np.array_equal(
        np.unique(np.nonzero(label)[0]), [2, 3]
    )


def test_a_label_on_one_channel_is_the_label_of_the_case(tmp_path: Path) -> None:
    folder = tmp_path / "scans" / "PAT1"
    stored = volume(1)
    write_series(folder / "pet", volume(2), series=2, Modality="PT")
    sources = write_series(folder / "ct", stored)
    write_seg(folder / "seg", sources, masks_of(stored), ["liver", "tumour"])
    done = brought(tmp_path, channels=("PET", "CT"))
    assert done.cases == 1 and list(done.document["channel_names"].values()) == ["PET", "CT"]
    (label,) = (done.root / "labelsTr").iterdir()
    image = next((done.root / "imagesTr").glob("*_0001.nii.gz"))
    values, drawn = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (image, label))
    assert values[drawn == 1].min() > 500 - 1024
