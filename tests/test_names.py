"""Names from outside that become names of files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from autoseg.data import load_dataset
from autoseg.errors import DataError, UsageError
from autoseg.names import case_problem, name_problem, script_problem, whole_number
from autoseg.workspace import Workspace

BAD_CASES = ["", "..", "../out", "a/b", "/etc/x", "a\\b", ".hidden", "a\0b", "a\nb", "x" * 300, " a", "a_seg"]


@pytest.mark.parametrize("name", BAD_CASES)
def test_names_that_leave_their_folder_or_hide_are_problems(name: str) -> None:
    assert case_problem(name)


@pytest.mark.parametrize("name", ["hippocampus_001", "Müller 3", "a.b-c+d", "图像1", "a$b", "seg"])
def test_usual_names_are_none(name: str) -> None:
    assert case_problem(name) is None


@given(st.text(max_size=40))
def test_a_name_without_problem_stays_in_its_folder(name: str) -> None:
    if name_problem(name) is None:
        path = Path("/folder") / f"{name}.nii.gz"
        assert path.parent == Path("/folder") and len(path.name.encode()) < 255


@pytest.mark.parametrize("name", ["a$b", "a{b}", "it's", "a%b", "<b>", "a;b", "-x", "a\nb"])
def test_what_shells_and_schedulers_read_is_a_problem_in_scripts(name: str) -> None:
    assert script_problem(name)


@pytest.mark.parametrize("name", [*BAD_CASES[:10], "a_seg"])
def test_a_listed_case_is_refused_before_anything_is_read_or_written(tmp_path: Path, name: str) -> None:
    root = tmp_path / "Dataset001_A"
    root.mkdir()
    image = sitk.GetImageFromArray(np.zeros((4, 4, 4), np.uint8))
    sitk.WriteImage(image, str(root / "i.nii.gz"))
    document = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "a": 1},
        "file_ending": ".nii.gz",
        "numTraining": 1,
        "dataset": {name: {"images": ["i.nii.gz"], "label": "i.nii.gz"}},
    }
    (root / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="the name of the case") as caught:
        load_dataset(root)
    assert "A name has 1 to 200 bytes" in str(caught.value)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


@pytest.mark.parametrize("name", ["Dataset001_$HOME", "Dataset001_a\nb", "Dataset001_{x}", "Dataset001_'"])
def test_a_data_set_whose_name_breaks_scripts_is_refused_by_name_and_rule(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()
    (root / "dataset.json").write_text("{}")
    with pytest.raises(UsageError, match="shells and schedulers"):
        Workspace.locate(tmp_path / "workspace").find_raw(root)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("12", 12), ("007", 7), ("9" * 18, 10**18 - 1)],
)
def test_digits_are_a_number(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    "text", [None, "", "-1", "1.0", " 1", "1_0", "\u00b2", "\u0663", "9" * 19, "9" * 5000]
)
def test_all_else_is_none(text: str | None) -> None:
    assert whole_number(text) is None
