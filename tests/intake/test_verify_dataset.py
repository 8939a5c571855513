"""Verification of what is not one case: dataset.json, groups, folders, regions, other formats."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sound_data import (
    SharedData,
    declare,
    image,
    label,
    label_volume,
    only,
    truncate,
    write,
)

from autoseg.intake.verification.dataset_check import verify


@pytest.mark.parametrize(
    ("changes", "code", "what"),
    [
        ({"numTraining": 5}, "num_training", "is 5, but there are 4"),
        ({"numTraining": None}, "num_training", "is None"),
        ({"numTraining": "4"}, "num_training", "is the text '4', not the number 4"),
        (
            {"labels": {"background": 0, "core": 1, "rim": 2, "edge": 2}},
            "same_structure",
            "'rim', 'edge' all stand for [2]",
        ),
        ({"labels": {"background": 0, "core": 1, "rim": 2, "cyst": 3}}, "label_never_present", "'cyst'"),
        ({"overwrite_image_reader_writer": "MyReader"}, "unknown_reader", "'MyReader'"),
    ],
)
def test_what_dataset_json_says_is_compared(changes: dict[str, Any], code: str, what: str, raw: Path) -> None:
    declare(raw, **changes)
    found = only(verify(raw))
    assert (found.code, found.case, found.file) == (code, None, str(raw / "dataset.json"))
    assert what in found.message


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"labels": {}}', "null", '{"labels": {"a": "b"}, "x": NaN}']
)
def test_a_broken_dataset_json_is_a_finding(text: str, raw: Path) -> None:
    (raw / "dataset.json").write_text(text)
    report = verify(raw)
    assert report.cases == 0
    assert report.errors and {finding.code for finding in report.findings} == {"dataset_json"}
    assert all(finding.file == str(raw / "dataset.json") for finding in report.findings)


def test_every_problem_of_dataset_json_is_a_finding(raw: Path) -> None:
    declare(raw, labels={"background": 0, "a": 2}, channel_names={}, file_ending="nii.gz")
    assert len(verify(raw).errors) == 3


def test_no_folder_and_no_cases_are_findings(tmp_path: Path) -> None:
    assert only(verify(tmp_path / "nowhere")).severity == "error"
    declare(tmp_path / "empty", numTraining=0)
    assert "no cases" in only(verify(tmp_path / "empty")).message
    declare(tmp_path / "empty", file_ending=".jpg")
    assert ".jpg" in only(verify(tmp_path / "empty")).message


def test_wrong_groups_are_a_finding_beside_the_others(raw: Path, tmp_path: Path) -> None:
    (raw / "groups.csv").write_text("case,group\nc0,1\n")
    truncate(image(raw))
    assert [finding.code for finding in verify(raw).findings] == ["groups", "unreadable"]
    (tmp_path / "right.csv").write_text("case,group\nc0,1\nc1,1\nc2,1\nc3,1\n")
    assert [finding.code for finding in verify(raw, groups=tmp_path / "right.csv").findings] == ["unreadable"]


def test_missing_folders_are_findings(raw: Path) -> None:
    shutil.rmtree(raw / "labelsTr")
    assert Counter(finding.code for finding in verify(raw).findings) == {"missing_label": 4}


def test_listed_files_are_checked_where_they_are(raw: Path) -> None:
    listed = {
        "one": {
            "images": ["imagesTr/c0_0000.nii.gz", "imagesTr/c0_0001.nii.gz"],
            "label": "labelsTr/c0.nii.gz",
        },
        "two": {"images": ["imagesTr/c1_0000.nii.gz"], "label": "elsewhere/c1.nii.gz"},
        "three": {"images": ["imagesTr/c2_0000.nii.gz", "gone.nii.gz"], "label": "labelsTr/c2.nii.gz"},
    }
    declare(raw, dataset=listed, numTraining=3)
    found = {(finding.case, finding.code) for finding in verify(raw).findings}
    assert found == {("two", "channel_count"), ("two", "missing_label"), ("three", "missing_image")}


def test_regions_and_the_ignore_label(raw: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 1, "cyst": [3], "ignore": 4}
    declare(raw, labels=labels, regions_class_order=[2, 1, 3])
    write(label(raw), np.where(label_volume() == 2, 4, label_volume()).astype(np.uint8))
    assert "'cyst'" in only(verify(raw)).message
    write(label(raw), np.where(label_volume() > 0, 4, 0).astype(np.uint8))
    assert [finding.code for finding in verify(raw).findings] == ["label_empty", "label_never_present"]


def colour_data(root: Path) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for case in range(3):
        colours = Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8))
        colours.save(root / "imagesTr" / f"c{case}_0000.png")
        Image.fromarray(rng.integers(0, 3, (9, 11), dtype=np.uint8)).save(root / "labelsTr" / f"c{case}.png")
    declare(root, channel_names={"0": "R", "1": "G", "2": "B"}, file_ending=".png", numTraining=3)
    return root


def test_pictures_in_colour(tmp_path: Path) -> None:
    from PIL import Image

    root = colour_data(tmp_path / "raw")
    assert verify(root).findings == ()
    with Image.open(root / "imagesTr/c0_0000.png") as picture:
        picture.convert("L").save(root / "imagesTr/c0_0000.png")
    with Image.open(root / "imagesTr/c1_0000.png") as picture:
        picture.save(root / "labelsTr/c1.png")
    black_and_white = np.zeros((9, 11), np.uint8)
    black_and_white[3:5] = 255
    Image.fromarray(black_and_white).save(root / "labelsTr/c2.png")
    report = verify(root)
    found = [(finding.case, finding.code) for finding in report.findings]
    assert found == [("c0", "channel_count"), ("c1", "label_channels"), ("c2", "label_undeclared")]
    assert "write 1 instead of 255" in report.findings[-1].remedy
    truncate(root / "imagesTr/c0_0000.png")
    assert ("c0", "unreadable") in {(f.case, f.code) for f in verify(root).findings}


def test_real_channels_on_different_grids(tmp_path: Path, shared_data: SharedData) -> None:
    source, root = shared_data("intake_quirks/channels_on_different_grids"), tmp_path / "Dataset050_Stroke"
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for name, target in (("adc", "imagesTr/s9_0000"), ("flair", "imagesTr/s9_0001"), ("msk", "labelsTr/s9")):
        (root / f"{target}.nii.gz").symlink_to(next(source.glob(f"*_{name}.nii.gz")))
    declare(
        root, channel_names={"0": "ADC", "1": "FLAIR"}, labels={"background": 0, "lesion": 1}, numTraining=1
    )
    # Rounding in the label's direction is not a finding; nor is its data type, uint16.
    found = only(verify(root))
    assert (found.severity, found.code, found.case) == ("error", "shape_mismatch", "s9")
    assert found.file == str(root / "imagesTr" / "s9_0001.nii.gz")
    assert "29 x 512 x 512 voxels of 5 x 0.449219 x 0.449219 mm" in found.message
    assert "s9_0000.nii.gz has 73 x 112 x 112 voxels of 2 x 2 x 2 mm" in found.message
    assert "Resample" in found.remedy


@pytest.mark.parametrize(
    ("channel", "slices", "told"), [("CT", 4, True), ("ct", 4, True), ("T1", 4, False), ("CT", 1, False)]
)
def test_ignored_voxels_that_settle_how_ct_is_normalised_are_told(
    channel: str, slices: int, told: bool, raw: Path
) -> None:
    declare(
        raw,
        channel_names={"0": channel, "1": "FLAIR"},
        labels={"background": 0, "core": 1, "rim": 2, "ignore": 3},
    )
    for number, path in enumerate(sorted((raw / "labelsTr").iterdir())):
        drawn = label_volume(number)
        drawn[:slices] = 3
        write(path, drawn)
    found = [finding for finding in verify(raw).findings if finding.code == "ignored_intensities"]
    assert bool(found) is told
    assert all("75% are to be ignored" in finding.message for finding in found)
    assert not any(finding.severity == "error" for finding in found)
