"""Folds that a user wrote are never replaced; those that were made here follow the data."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from autoseg.data.dataset import Case, Dataset, Labels
from autoseg.errors import DataError
from autoseg.pipeline.prepare import split
from autoseg.system.files import read_json, write_json
from autoseg.workspace import Workspace


def dataset(count: int, groups: bool = False) -> Dataset:
    cases = tuple(
        Case(f"c{i}", (Path("i"),), Path("l"), f"g{i // 2}" if groups else None) for i in range(count)
    )
    labels = Labels({"background": 0, "organ": 1})
    return Dataset("Dataset009_Own", Path("raw"), ("MR",), labels, cases, ".nii.gz", "SimpleITKIO", {})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.locate(tmp_path)


def own(workspace: Workspace, *validations: str, cases: str = "c0 c1 c2 c3 c4 c5") -> Path:
    path = workspace.folds_of("Dataset009_Own")
    names = cases.split()
    folds = [{"train": [c for c in names if c not in v.split()], "val": v.split()} for v in validations]
    write_json(path, folds)
    return path


def test_a_test_set_that_is_left_out_stays_left_out(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    path = own(workspace, "c0 c1", "c2 c3", "c4 c5")
    before = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        folds = split(dataset(8), workspace)
    assert path.read_bytes() == before
    assert [fold.validation for fold in folds] == [("c0", "c1"), ("c2", "c3"), ("c4", "c5")]
    assert not {"c6", "c7"} & {case for fold in folds for case in fold.training}
    assert "2 of 8 cases are in no fold" in caplog.text
    assert "c6, c7" in caplog.text


def test_an_unknown_name_is_named_and_nothing_replaced(workspace: Workspace) -> None:
    path = own(workspace, "c0 c1", "c2 c33", cases="c0 c1 c2 c33")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"1 cases that Dataset009_Own does not have: c33 \(is c3 meant\?\)"):
        split(dataset(6), workspace)
    assert path.read_bytes() == before


def test_folds_of_all_cases_are_taken_as_they_are(workspace: Workspace) -> None:
    own(workspace, "c0 c1 c2", "c3 c4 c5")
    assert len(split(dataset(6), workspace)) == 2


def test_groups_on_both_sides_are_told(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    own(workspace, "c0", "c1", cases="c0 c1 c2")
    with caplog.at_level(logging.WARNING):
        split(dataset(6, groups=True), workspace)
    assert "Fold 0 of" in caplog.text
    assert "the same group: g0" in caplog.text


def test_folds_that_were_made_here_follow_the_data(workspace: Workspace) -> None:
    first = split(dataset(6), workspace)
    assert split(dataset(6), workspace) == first
    named = {case for fold in split(dataset(9), workspace) for case in (*fold.training, *fold.validation)}
    assert named == {f"c{i}" for i in range(9)}
    # Once somebody has changed them they are theirs.
    path = workspace.folds_of("Dataset009_Own")
    write_json(path, read_json(path)[:2])
    assert len(split(dataset(12), workspace)) == 2
