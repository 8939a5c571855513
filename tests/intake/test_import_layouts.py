"""What each layout allows and what is refused, on files of a few voxels."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_files import label, mask, picture, volume, voxels

from autoseg.data.dataset import load_dataset
from autoseg.data.groups import GroupsError
from autoseg.errors import DataError, UsageError
from autoseg.intake.conversion import Imported, import_dataset
from autoseg.intake.incoming import Content, Request
from autoseg.intake.label_values import coding_of, parse_labels
from autoseg.intake.nifti_bytes import read_header
from autoseg.intake.verification.dataset_check import verify
from autoseg.system.files import write_json
from autoseg.workspace import Workspace

Bring = Callable[..., Imported]


@pytest.fixture
def bring(tmp_path: Path) -> Bring:
    """Import a folder into a workspace beside it."""
    workspace = Workspace.locate(tmp_path / "workspace")

    def run(source: Path, layout: str = "auto", name: str = "Test", **asked: object) -> Imported:
        return import_dataset(source, workspace, name, layout, Request(workers=1, **asked))  # type: ignore[arg-type]

    return run


# Detection and names.


def test_a_folder_of_nothing_known_says_what_each_layout_looks_like(tmp_path: Path, bring: Bring) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"notes\.txt.*msd.*bids.*dicom.*folders"):
        bring(tmp_path / "source")
    with pytest.raises(UsageError, match="no folder"):
        bring(tmp_path / "gone")
    with pytest.raises(UsageError, match="no layout named"):
        bring(tmp_path / "source", layout="excel")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.hdr", r"2 files are headers of NIfTI or Analyze pairs .*\(images/a\.hdr\).*nib\.save"),
        ("a.webp", r"2 files are WebP pictures \(images/a\.webp\).*mogrify -format png FOLDER/\*\.webp"),
        ("a.JP2", r"JPEG 2000 pictures.*with loss have values that are no labels"),
        ("a.mgz", r"FreeSurfer volumes.*mri_convert IN\.mgz OUT\.nii\.gz"),
        ("a.npy", r"arrays.*no spacing"),
        ("a.svs", r"whole slides.*tiles"),
    ],
)
def test_images_that_are_not_read_are_named_with_what_to_do(
    name: str, said: str, tmp_path: Path, bring: Bring
) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "source" / folder).mkdir(parents=True)
        (tmp_path / "source" / folder / name).write_bytes(b"pixels")
    with pytest.raises(DataError, match=said):
        bring(tmp_path / "source")


def test_pictures_that_are_not_read_are_told_beside_those_that_are(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    picture(source / "images" / "a.png")
    mask(source / "masks" / "a.png", 1)
    (source / "images" / "b.webp").write_bytes(b"pixels")
    (source / "features.npy").write_bytes(b"numbers")
    (note,) = [each for each in bring(source).notes if "not read" in each]
    assert note.startswith("1 files are WebP pictures (images/b.webp)")


def test_names_get_the_next_free_number_and_numbers_stay_unique(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    picture(source / "images" / "a.png")
    mask(source / "masks" / "a.png", 1)
    assert bring(source, name="One").root.name == "Dataset101_One"
    assert bring(source, name="Dataset105_Two").root.name == "Dataset105_Two"
    assert bring(source, name="Three").root.name == "Dataset102_Three"
    with pytest.raises(UsageError, match="that of Dataset105_Two"):
        bring(source, name="Dataset105_Four")
    for wrong in ("../x", "Dataset1_x", "a b"):
        with pytest.raises(UsageError, match="not a name of a data set"):
            bring(source, name=wrong)


# Pictures.


def test_pictures_of_several_kinds_become_alike(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    for number, mode in enumerate(("RGB", "L", "RGBA", "P")):
        picture(source / "images" / f"{mode}.png", mode, number)
        mask(source / "masks" / f"{mode}.png", 0, 1)
    done = bring(source)
    assert load_dataset(done.root).channels == ("R", "G", "B")
    assert not verify(done.root, workers=1).errors
    for mode in ("RGB", "L", "RGBA", "P"):
        found = np.array(Image.open(done.root / "imagesTr" / f"{mode}_0000.png"))
        wanted = np.array(Image.open(source / "images" / f"{mode}.png").convert("RGB"))
        assert np.array_equal(found, wanted)


def test_jpeg_images_are_decoded_once_and_kept_as_png(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    picture(source / "images" / "a.jpg", "RGB")
    mask(source / "masks" / "a_segmentation.png", 0, 255)
    done = bring(source)
    assert load_dataset(done.root).file_ending == ".png"
    assert np.array_equal(
        np.array(Image.open(done.root / "imagesTr" / "a_0000.png")),
        np.array(Image.open(source / "images" / "a.jpg")),
    )


def test_a_palette_is_read_as_its_numbers_and_colours_are_refused(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    picture(source / "images" / "a.png")
    (source / "masks").mkdir()
    palette = Image.fromarray(np.array([[0, 1, 2, 0, 0, 0, 0, 0]] * 6, np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(source / "masks" / "a.png")
    done = bring(source)
    assert done.document["labels"] == {"background": 0, "label_1": 1, "label_2": 2}
    assert np.array_equal(np.unique(np.array(Image.open(done.root / "labelsTr" / "a.png"))), [0, 1, 2])
    assert not verify(done.root, workers=1).errors
    palette.convert("RGB").save(source / "masks" / "a.png")
    with pytest.raises(DataError, match="several colours"):
        bring(source, name="Other")


def test_pairs_in_one_folder_and_tests_apart(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    for part, names in (("train", "abc"), ("test", "ab")):
        for name in names:
            picture(source / part / f"{name}.png", seed=ord(name) + len(part))
            mask(source / part / f"{name}_mask.png", 1)
    picture(source / "train" / "unlabelled.png", seed=99)
    done = bring(source)
    dataset = load_dataset(done.root)
    assert [case.identifier for case in dataset.cases] == ["train_a", "train_b", "train_c"]
    assert [case.identifier for case in dataset.test_cases] == ["test_a", "test_b"]
    assert all(case.label for case in dataset.test_cases)
    assert [case.identifier for case in dataset.unlabelled_cases] == ["train_unlabelled"]


def test_numbered_files_are_channels(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    for name in "ab":
        for channel in range(2):
            volume(source / "images" / f"{name}_{channel:04d}.nii.gz", channel)
        label(source / "labels" / f"{name}.nii.gz", 1)
    done = bring(source)
    assert [len(case.images) for case in load_dataset(done.root).cases] == [2, 2]
    (source / "images" / "b_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"\[1, 2\] channels"):
        bring(source, name="Other")


def test_masks_that_make_no_sense_are_refused_with_their_file(tmp_path: Path, bring: Bring) -> None:
    def source(name: str, *masks: tuple[int, ...]) -> Path:
        for number, values in enumerate(masks):
            picture(tmp_path / name / "images" / f"{number}.png", seed=number)
            mask(tmp_path / name / "masks" / f"{number}.png", *values)
        return tmp_path / name

    with pytest.raises(DataError, match=r"0\.png has 1 where .*1\.png has 255"):
        bring(source("mixed", (0, 1), (0, 255)))
    with pytest.raises(DataError, match="numbers of single objects"):
        Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(
            picture(source("many", (0, 1)) / "images" / "0.png", size=(10, 10)).parents[1] / "masks" / "0.png"
        )
        bring(tmp_path / "many")
    with pytest.raises(DataError, match=r"holds the label value 7, which has no name.*--labels NAME=7"):
        bring(source("unnamed", (0, 3, 7)), labels={"a": 3})
    with pytest.raises(DataError, match="anything but 0"):
        bring(source("empty", (0,)))
    with pytest.raises(DataError, match="Restore the picture"):
        mask(source("sizes", (0, 1)) / "masks" / "0.png", 1, size=(5, 5))
        bring(tmp_path / "sizes")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.frozensets(st.integers(0, 60)), min_size=1, max_size=5))
def test_labels_are_numbered_without_gaps_and_in_order(values: list[frozenset[int]]) -> None:
    found = {Content(Path(str(number))): each for number, each in enumerate(values)}
    there = sorted(set().union(*values) - {0})
    if not there:
        with pytest.raises(DataError):
            coding_of(found, {})
        return
    coding = coding_of(found, {})
    assert sorted(coding.labels.values()) == list(range(len(there) + 1))
    codes = dict(coding.codes) or {value: value for value in [0, *there]}
    assert [codes[value] for value in [0, *there]] == list(range(len(there) + 1))


def test_names_of_labels_on_the_command_line() -> None:
    assert parse_labels("liver=1, big tumour=7,background=0") == {"liver": 1, "big tumour": 7}
    assert parse_labels("") == {}
    for wrong in ("liver", "a=b", "a=1,a=2", "a=1,b=1"):
        with pytest.raises(UsageError):
            parse_labels(wrong)


# The Decathlon and nnU-Net v1.


def decathlon(folder: Path, names: dict[str, str], **more: object) -> None:
    entry = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    content = {"modality": {"0": "MRI"}, "labels": names, "training": [entry], **more}
    write_json(folder / "dataset.json", content)


def test_label_numbers_with_gaps_are_closed(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    volume(source / "imagesTr" / "a.nii.gz")
    label(source / "labelsTr" / "a.nii.gz", 2, 5)
    decathlon(source, {"0": "Background", "2": "edema", "5": "core"})
    done = bring(source)
    assert done.document["labels"] == {"background": 0, "edema": 1, "core": 2}
    assert voxels(done.root / "labelsTr" / "a.nii.gz").ravel()[:3].tolist() == [1, 2, 0]


def test_nnunet_version_1_names_files_that_are_several(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    for channel in range(2):
        volume(source / "imagesTr" / f"a_{channel:04d}.nii.gz", channel)
    label(source / "labelsTr" / "a.nii.gz", 1)
    decathlon(source, {"0": "background", "1": "x"}, modality={"0": "T1", "1": "T2"})
    done = bring(source)
    assert load_dataset(done.root).channels == ("T1", "T2") and done.how == {"copied": 3}


def test_what_the_list_names_has_to_be_there_whole(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    volume(source / "imagesTr" / "a.nii.gz", shape=(2, 4, 6, 5))
    decathlon(source, {"0": "background", "1": "x"})
    with pytest.raises(DataError, match=r"1 files that are not there: .*labelsTr/a\.nii\.gz"):
        bring(source)
    label(source / "labelsTr" / "a.nii.gz", 1)
    with pytest.raises(DataError, match=r"has 2 channels, but dataset\.json names 1"):
        bring(source)
    decathlon(source, {"0": "background", "1": "x"}, modality={"0": "T1", "1": "T2"})
    content = gzip.decompress((source / "imagesTr" / "a.nii.gz").read_bytes())
    (source / "imagesTr" / "a.nii.gz").write_bytes(gzip.compress(content[:-10]))
    with pytest.raises(DataError, match="truncated: its volume 1"):
        bring(source)


# BIDS.


def bids(folder: Path, sessions: int = 2) -> Path:
    write_json(folder / "dataset_description.json", {"Name": "Toy", "License": "CC0"})
    for subject in ("01", "02", "03"):
        for session in range(1, sessions + 1):
            name = f"sub-{subject}_ses-{session}"
            place = folder / f"sub-{subject}" / f"ses-{session}" / "anat"
            seed = 10 * int(subject) + session
            volume(place / f"{name}_FLAIR.nii.gz", seed)
            volume(place / f"{name}_ce-gad_T1w.nii.gz", seed + 100)
            label(folder / "derivatives" / "manual" / f"sub-{subject}" / f"{name}_dseg.nii.gz", 1, 3)
    volume(folder / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_T2w.nii.gz", 7)
    volume(folder / "sub-04" / "anat" / "sub-04_FLAIR.nii.gz", 8)
    volume(folder / "sub-04" / "anat" / "sub-04_ce-gad_T1w.nii.gz", 9)
    return folder


def test_subjects_sessions_and_channels(tmp_path: Path, bring: Bring) -> None:
    source = bids(tmp_path / "source")
    (source / "derivatives" / "manual" / "atlas_dseg.tsv").write_text("index\tname\n1\tcore\n3\tedema\n")
    done = bring(source)
    dataset = load_dataset(done.root)
    assert dataset.channels == ("ce-gad_T1w", "FLAIR")
    assert dataset.labels.names == {"background": 0, "core": 1, "edema": 2}
    assert {case.identifier: case.group for case in dataset.cases}["sub-02_ses-2"] == "02"
    assert [case.identifier for case in dataset.unlabelled_cases] == ["sub-04"]
    assert dataset.dataset_json["licence"] == "CC0"
    assert any("T2w" in note for note in done.notes)
    assert not verify(done.root, workers=1).errors


def test_channels_and_suffix_can_be_chosen(tmp_path: Path, bring: Bring) -> None:
    source = bids(tmp_path / "source")
    done = bring(source, channels=("T2w", "FLAIR"))
    assert [case.identifier for case in load_dataset(done.root).cases] == ["sub-01_ses-1"]
    with pytest.raises(DataError, match=r"channel PD\. There are: .*FLAIR \(6\)"):
        bring(source, name="Other", channels=("PD",))
    with pytest.raises(DataError, match=r"ends in _lesion\. There are: .*dseg"):
        bring(source, name="Other", label_suffix="lesion")


def test_two_labels_for_one_case_are_refused(tmp_path: Path, bring: Bring) -> None:
    source = bids(tmp_path / "source")
    label(source / "derivatives" / "other" / "sub-01_ses-1_dseg.nii.gz", 1)
    with pytest.raises(DataError, match="both labels of sub-01_ses-1"):
        bring(source)


# Headers, groups.


def contradictory(path: Path) -> Path:
    """A NIfTI file whose sform lies 20 mm beside its qform."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<2h", content, 252, 1, 1)
    shifted = struct.unpack_from("<f", content, 280 + 12)[0] + 20
    struct.pack_into("<f", content, 280 + 12, shifted)
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def test_a_header_that_gives_two_places_is_refused_or_decided(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    path = contradictory(volume(source / "images" / "a.nii.gz"))
    label(source / "masks" / "a.nii.gz", 1)
    with pytest.raises(DataError, match=r"a\.nii\.gz \(by 20 voxels\).*--orientation sform"):
        bring(source)
    origins = {}
    for which in ("sform", "qform"):
        done = bring(source, name=which, orientation=which)
        copy = done.root / "imagesTr" / "a_0000.nii.gz"
        header = read_header(copy)
        assert header is not None and (header.qform is None) == (which == "sform")
        assert np.array_equal(voxels(copy), voxels(path))
        origins[which] = sitk.ReadImage(str(copy)).GetOrigin()[0]
        assert done.how["copied"] == 1
    # World x of NIfTI is minus that of ITK.
    assert origins["qform"] - origins["sform"] == pytest.approx(20, abs=1e-3)


def test_a_table_of_groups_comes_in_and_has_to_name_every_case(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    for name in "ab":
        picture(source / "images" / f"{name}.png", seed=ord(name))
        mask(source / "masks" / f"{name}.png", 1)
    table = tmp_path / "groups.csv"
    table.write_text("case,group\na,p1\n")
    with pytest.raises(GroupsError, match=r"no group for 1 of 2 cases: b"):
        bring(source, groups=table)
    table.write_text("case,group\na,p1\nb,p2\n")
    done = bring(source, groups=table)
    assert [case.group for case in load_dataset(done.root).cases] == ["p1", "p2"]


def test_the_lists_of_a_raw_data_set_are_resolved(tmp_path: Path, bring: Bring) -> None:
    source = tmp_path / "source"
    volume(source / "anywhere" / "x.nii.gz")
    label(source / "elsewhere" / "y.nii.gz", 1)
    about = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "a": 1},
        "numTraining": 7,
        "file_ending": ".nii.gz",
        "dataset": {"c1": {"images": ["anywhere/x.nii.gz"], "label": "elsewhere/y.nii.gz"}},
    }
    (source / "dataset.json").write_text(json.dumps(about))
    done = bring(source)
    assert "dataset" not in done.document and done.document["numTraining"] == 1
    assert sorted(path.name for path in done.root.rglob("c1*")) == ["c1.nii.gz", "c1_0000.nii.gz"]
    assert not verify(done.root, workers=1).errors
