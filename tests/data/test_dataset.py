"""Raw data sets: the layout, the labels, the groups, and what is said about wrong ones."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.data.dataset import (
    DatasetJsonError,
    GroupsError,
    Labels,
    find_cases,
    labels_from_json,
    load_dataset,
    parse_dataset_json,
    read_groups,
)
from autoseg.errors import DataError

SharedData = Callable[[str], Path]
VALID: dict[str, Any] = {
    "channel_names": {"0": "T1"},
    "labels": {"background": 0, "a": 1},
    "numTraining": 3,
    "file_ending": ".png",
}


def make_raw(root: Path, cases: tuple[str, ...] = ("a", "b", "c"), **changes: Any) -> Path:
    """A raw data set of empty files."""
    content = {**VALID, **changes}
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for case in cases:
        for channel in range(len(content.get("channel_names") or [1])):
            (root / "imagesTr" / f"{case}_{channel:04d}{content['file_ending']}").touch()
        (root / "labelsTr" / f"{case}{content['file_ending']}").touch()
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def problems(**changes: Any) -> dict[str, str]:
    """What is said about a dataset.json with these changes; None leaves an entry out."""
    content = {key: value for key, value in {**VALID, **changes}.items() if value is not None}
    return {p.where: f"{p.message} {p.remedy}" for p in parse_dataset_json(content)[1]}


def test_real_data_sets(shared_data: SharedData) -> None:
    fetal = load_dataset(shared_data("Dataset018_FetalHead"))
    assert (fetal.name, len(fetal.cases), fetal.channels) == ("Dataset018_FetalHead", 200, ("ultrasound",))
    assert fetal.reader == "NaturalImage2DIO"
    assert fetal.case("hc18_010_2HC").group == fetal.case("hc18_010_HC").group == "10"
    lesion = load_dataset(shared_data("Dataset030_MSLesion"))
    assert [path.name for path in lesion.cases[0].images] == [f"msl_07_000{c}.nii.gz" for c in range(4)]
    assert lesion.cases[0].label == lesion.root / "labelsTr" / "msl_07.nii.gz"
    assert lesion.cases[0].group is None


@pytest.mark.parametrize("name", ["Dataset004_Hippocampus", "Dataset021_NucleiColor", "Dataset030_MSLesion"])
def test_the_files_are_those_of_nnunet(name: str, shared_data: SharedData) -> None:
    stock = pytest.importorskip("nnunetv2.utilities.utils")
    root = shared_data(name)
    expected = stock.get_filenames_of_train_images_and_targets(str(root))
    found = {
        case.identifier: {"images": list(map(str, case.images)), "label": str(case.label)}
        for case in load_dataset(root).cases
    }
    assert found == {str(key): value for key, value in expected.items()}
    assert list(found) == list(expected)


def test_explicit_lists_are_those_of_nnunet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = pytest.importorskip("nnunetv2.utilities.utils")
    monkeypatch.setenv("SOMEWHERE", str(tmp_path / "far"))
    listed = {
        "z": {"images": ["imagesTr/z_0000.png"], "label": "labelsTr/z.png"},
        "a": {"images": ["../other/a.png"], "label": "$SOMEWHERE/a.png"},
        "m": {"images": [str(tmp_path / "abs.png")], "label": "${SOMEWHERE}/m.png"},
    }
    root = make_raw(tmp_path / "raw", dataset=listed)
    expected = stock.get_filenames_of_train_images_and_targets(str(root))
    cases = load_dataset(root).cases
    assert [case.identifier for case in cases] == list(expected)
    for case in cases:
        assert [str(path) for path in case.images] == expected[case.identifier]["images"]
        assert str(case.label) == expected[case.identifier]["label"]
    assert load_dataset(root).dataset_json["dataset"] == listed


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 2500 + "a.png", "a\0.png", "\ud800.png"])
@pytest.mark.parametrize("where", ["images", "label"])
def test_a_path_that_no_file_can_have_is_refused_by_case_and_file(
    tmp_path: Path, name: str, where: str
) -> None:
    listed = {"images": ["imagesTr/a_0000.png"], "label": "labelsTr/a.png"}
    listed |= {where: [name] if where == "images" else name}
    root = make_raw(tmp_path / "raw", dataset={"a": listed})
    with pytest.raises(DataError, match=r"dataset\.json: the file '.+' of the case 'a' .*Correct the path"):
        load_dataset(root)


def test_the_raw_folder_is_only_read(tmp_path: Path) -> None:
    root = make_raw(tmp_path / "raw")
    (root / "groups.csv").write_text("case,group\na,1\nb,1\nc,2\n")
    before = {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))}
    assert [case.group for case in load_dataset(root).cases] == ["1", "1", "2"]
    assert {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))} == before


def test_identifiers_with_underscores_and_digits(tmp_path: Path) -> None:
    names = ("a", "a_0001", "a_1", "a_0001_0000", "Z", "ä b")
    assert [case.identifier for case in load_dataset(make_raw(tmp_path, names)).cases] == sorted(names)


def test_hidden_and_foreign_files_are_no_cases(tmp_path: Path) -> None:
    root = make_raw(tmp_path)
    for name in ("._a_0000.png", ".DS_Store", "notes.txt", "a_00001.png", "d_0000.nii.gz", "e.png"):
        (root / "imagesTr" / name).touch()
    assert [case.identifier for case in load_dataset(root).cases] == ["a", "b", "c"]


def test_test_cases_and_unlabelled_cases(tmp_path: Path) -> None:
    root = make_raw(tmp_path)
    assert load_dataset(root).test_cases == load_dataset(root).unlabelled_cases == ()
    for name in ("imagesTs/t_0000.png", "imagesTs/u_0000.png", "labelsTs/u.png", "imagesUn/v_0000.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    dataset = load_dataset(root)
    assert [(c.identifier, c.label) for c in dataset.test_cases] == [
        ("t", None),
        ("u", root / "labelsTs/u.png"),
    ]
    assert [c.identifier for c in dataset.unlabelled_cases] == ["v"]
    assert find_cases(root / "nowhere", ".png") == ()


def test_old_name_of_channels(tmp_path: Path) -> None:
    old = {key: value for key, value in VALID.items() if key != "channel_names"} | {"modality": {"0": "CT"}}
    root = make_raw(tmp_path)
    (root / "dataset.json").write_text(json.dumps(old))
    assert load_dataset(root).channels == ("CT",)


def test_a_reader_may_be_named(tmp_path: Path) -> None:
    named = make_raw(tmp_path, file_ending=".nii.gz", overwrite_image_reader_writer="NibabelIOWithReorient")
    assert load_dataset(named).reader == "NibabelIOWithReorient"
    named = make_raw(tmp_path, file_ending=".nii.gz", overwrite_image_reader_writer="NoSuchReader")
    assert load_dataset(named).reader == "SimpleITKIO"


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"labels": None}, "labels", "is missing"),
        ({"labels": {"0": "background", "1": "a"}}, "labels", "numbers to names"),
        ({"labels": {"a": 1}}, "labels.background", "not declared"),
        ({"labels": {"background": 1, "a": 0}}, "labels.background", "is 1"),
        ({"labels": {"background": [0], "a": 1}}, "labels.background", r"is \[0\]"),
        ({"labels": {"background": 0, "a": "1"}}, "labels.a", "'1' is not"),
        ({"labels": {"background": 0, "a": True}}, "labels.a", "True is not"),
        ({"labels": {"background": 0, "a": [1, "x"]}}, "labels.a.1", "'x' is not"),
        ({"labels": {"background": 0, "a": 1, "b": 3}}, "labels", r"values \[0, 1, 3\]"),
        ({"labels": {"background": 0, "a": -1}}, "labels", r"values \[-1, 0\]"),
        ({"labels": {"background": 0}}, "labels", "nothing but background"),
        ({"labels": {"background": 0, "a": 2, "ignore": 1}}, "labels", r"values \[0, 2, 1\]"),
        ({"labels": {"background": 0, "a": 1, "ignore": [2]}}, "labels.ignore", "a region"),
        ({"labels": {"background": 0, "a": [1, 2], "b": 2}}, "regions_class_order", "is missing"),
        (
            {"labels": {"background": 0, "a": [1, 2], "b": 2}, "regions_class_order": [1]},
            "regions_class_order",
            "1 entries for 2 regions",
        ),
        (
            {"labels": {"background": 0, "a": [1, 2], "b": 2}, "regions_class_order": [1, 7]},
            "regions_class_order",
            r"undeclared labels \[7\]",
        ),
        ({"channel_names": None}, "channel_names", "missing"),
        ({"channel_names": {}}, "channel_names", "empty"),
        ({"channel_names": ["T1"]}, "channel_names", "not what is expected"),
        ({"channel_names": {"1": "a", "0": "b"}}, "channel_names", "keys 1, 0"),
        ({"file_ending": None}, "file_ending", "is missing"),
        ({"file_ending": "nii.gz"}, "file_ending", "with its dot"),
        ({"dataset": {"a": {"images": []}}}, "dataset.a.label", "is missing"),
        ({"dataset": {"a": {"images": [], "label": "x"}}}, "dataset.a.images", r"\[\] is not"),
        ({"codes": {"a": "SCT"}}, "codes", "not a code"),
        ({"codes": {"b": "SCT 10200004 Liver"}}, "codes", "no label"),
        ({"codes": ["a"]}, "codes", "Write names and codes"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], where: str, what: str, tmp_path: Path) -> None:
    found = problems(**changes)
    assert where in found
    assert re.search(what, found[where])


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    root = make_raw(tmp_path)
    wrong = {**VALID, "labels": {"background": 0, "a": 2}, "file_ending": "png", "channel_names": {}}
    (root / "dataset.json").write_text(json.dumps(wrong))
    with pytest.raises(DatasetJsonError) as caught:
        load_dataset(root)
    assert {problem.where for problem in caught.value.problems} == {"labels", "file_ending", "channel_names"}
    assert str(root / "dataset.json") in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "\x00"])
def test_what_is_no_json_object_is_refused(text: str, tmp_path: Path) -> None:
    root = make_raw(tmp_path)
    (root / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json"):
        load_dataset(root)


def test_no_folder_no_cases(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*dataset\.json"):
        load_dataset(tmp_path)
    with pytest.raises(DataError, match=r"CASE_0000\.png"):
        load_dataset(make_raw(tmp_path, ()))
    with pytest.raises(DataError, match=r"'\.jpg'"):
        load_dataset(make_raw(tmp_path, file_ending=".jpg"))


# Labels, against nnU-Net's own.


@st.composite
def label_declarations(draw: st.DrawFn) -> dict[str, Any]:
    """A valid declaration of labels or regions, with or without the ignore label."""
    count = draw(st.integers(1, 6))
    values = list(range(1, count + 1))
    if draw(st.booleans()):
        declared: list[Any] = draw(st.permutations(values))
        extra: dict[str, Any] = {}
    else:
        more = draw(st.lists(st.lists(st.sampled_from(values), min_size=1, unique=True), max_size=3))
        declared = [values, *draw(st.permutations(values)), *more]
        extra = {
            "regions_class_order": draw(
                st.lists(st.sampled_from(values), min_size=len(declared), max_size=len(declared))
            )
        }
    names: dict[str, Any] = {"background": 0} | {f"s{i}": value for i, value in enumerate(declared)}
    if draw(st.booleans()):
        names["ignore"] = count + 1
    order = draw(st.permutations(list(names)))
    return {"labels": {name: names[name] for name in order}, **extra}


@settings(deadline=None)
@given(label_declarations())
def test_labels_are_those_of_nnunet(declared: dict[str, Any]) -> None:
    handling = pytest.importorskip("nnunetv2.utilities.label_handling.label_handling")
    stock = handling.LabelManager(declared["labels"], declared.get("regions_class_order"))
    labels = labels_from_json({**VALID, **declared})
    assert labels.has_regions == stock.has_regions
    assert labels.num_heads == stock.num_segmentation_heads
    assert labels.all_values == tuple(int(value) for value in stock.all_labels)
    assert labels.ignore == stock.ignore_label
    foreground = stock.foreground_regions if stock.has_regions else stock.foreground_labels
    assert labels.foreground == tuple(foreground)
    if stock.has_regions:
        assert labels.region_order == tuple(stock.regions_class_order)


def test_structures_are_what_is_evaluated() -> None:
    names = {"background": 0, "whole": (1, 2, 3), "core": (2, 3), "enhancing": 3, "ignore": 4}
    labels = Labels(names, (1, 2, 3), 4)
    assert labels.structures == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert Labels({"background": 0, "b": 2, "a": 1}).structures == {"b": (2,), "a": (1,)}


# Groups.


@pytest.mark.parametrize(
    "table",
    [
        "case,group\na,x\nb,x\nc,y\n",
        "case_id;exam_group;age\na;x;30\nb;x;30\nc;y;4\n",
        "\ufeffCase\tGroup\nc\ty\na\tx\nb\tx\nd\tz\n",
        "case,site_group,group\na,1,x\nb,2,x\nc,3,y\n",
    ],
)
def test_groups(table: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(table, encoding="utf-8")
    dataset = load_dataset(make_raw(tmp_path / "raw"), groups=path)
    assert [case.group for case in dataset.cases] == ["x", "x", "y"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "case,group\na_0000.nii.gz,1\nb.nii.gz,1\n",
            "The table has 'a_0000.nii.gz': write the case without channel and ending",
        ),
        ("case,group\na,x\nb,x\n", "1 of 3 cases have no group.*'c'"),
        ("case,group\na,x\na,y\n", "line 3.*'x' and 'y'"),
        ("case,group\na,\n", "line 2"),
        ("case,group\na\n", "line 2"),
        ("name,group\na,x\n", "columns name, group"),
        ("case,age\na,3\n", "columns case, age"),
        ("", "has the columns"),
    ],
)
def test_wrong_groups_are_refused(table: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(table)
    with pytest.raises(GroupsError, match=message):
        load_dataset(make_raw(tmp_path / "raw"), groups=tmp_path / "mine.csv")


def test_groups_are_found_and_may_be_declined(tmp_path: Path) -> None:
    root = make_raw(tmp_path)
    (root / "cases.csv").write_text("case,age\na,1\n")
    assert load_dataset(root).cases[0].group is None
    (root / "cases.csv").write_text("case,exam_group\na,1\nb,1\nc,1\n")
    assert load_dataset(root).cases[0].group == "1"
    (root / "groups.csv").write_text("case,group\na,2\nb,3\nc,3\n")
    assert load_dataset(root).cases[0].group == "2"
    assert load_dataset(root, groups=False).cases[0].group is None
    with pytest.raises(GroupsError, match="no file"):
        read_groups(tmp_path / "missing.csv")


def test_a_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_raw(tmp_path / "Dataset007_X")
    monkeypatch.chdir(tmp_path / "Dataset007_X")
    dataset = load_dataset(Path())
    assert dataset.name == "Dataset007_X"
    assert dataset.root == Path(os.getcwd())
