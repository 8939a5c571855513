"""Each site is held out once, whole."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from autoseg.cli.arguments import parse_division
from autoseg.data.dataset import Case, Dataset, Labels
from autoseg.data.site_folds import folds_by
from autoseg.errors import DataError, UsageError
from autoseg.pipeline.prepare import split
from autoseg.system.files import read_json
from autoseg.workspace import Workspace

SITES = "case,site,scanner\nc0,B,x\nc1,A,x\nc2,A,x\nc3,C,x\nc4,B,x\nextra,D,x\n"


def dataset(root: Path, table: str | None = SITES, groups: tuple[str | None, ...] = (None,) * 5) -> Dataset:
    if table is not None:
        (root / "cases.csv").write_text(table)
    cases = tuple(Case(f"c{i}", (Path("i"),), Path("l"), group) for i, group in enumerate(groups))
    labels = Labels({"background": 0, "organ": 1})
    return Dataset("Dataset009_Sites", root, ("MR",), labels, cases, ".nii.gz", "SimpleITKIO", {})


def test_each_value_is_held_out_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        folds = folds_by(dataset(tmp_path), "site")
    assert "Held out by site: fold 0 A (2 cases), fold 1 B (2 cases), fold 2 C (1 case)." in caplog.text
    assert [fold.validation for fold in folds] == [("c1", "c2"), ("c0", "c4"), ("c3",)]
    assert [fold.training for fold in folds] == [
        ("c0", "c3", "c4"),
        ("c1", "c2", "c3"),
        ("c0", "c1", "c2", "c4"),
    ]


@pytest.mark.parametrize(
    ("table", "column", "error", "message"),
    [
        (None, "site", UsageError, "There is no .*cases.csv"),
        (
            SITES,
            "hospital",
            UsageError,
            "the columns case, site, scanner; expected 'case' and 'hospital'",
        ),
        (SITES, "scanner", UsageError, "Every case of Dataset009_Sites has the scanner 'x'"),
        ("case,site\nc0,A\nc1,B\n", "site", DataError, "no site for 3 cases, c2 first"),
        (SITES + "c0,A,x\n", "site", DataError, "line 8: 'c0' has the sites 'B' and 'A'"),
        (SITES.replace("c3,C", "c3,"), "site", DataError, "line 5: 'c3' has no site"),
    ],
)
def test_what_does_not_divide_is_refused(
    table: str | None, column: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        folds_by(dataset(tmp_path, table), column)


def test_a_person_at_two_sites_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        folds_by(dataset(tmp_path, groups=("p", "p", None, None, None)), "site")
    assert "The group p has cases of the sites B and A" in caplog.text


def test_scores_of_two_divisions_do_not_mix(tmp_path: Path) -> None:
    sites, workspace = dataset(tmp_path), Workspace.locate(tmp_path / "ws")
    five = split(sites, workspace)
    assert len(five) == 5
    # Nothing has been trained on the five: they may go.
    assert len(split(sites, workspace, "site")) == 3
    assert split(sites, workspace) == split(sites, workspace, "site")
    record = workspace.results_of(sites.name) / "nnunet__p__2d" / "fold_0" / "record.jsonl"
    record.parent.mkdir(parents=True)
    record.touch()
    (tmp_path / "cases.csv").write_text(SITES.replace("c3,C", "c3,A"))
    before = read_json(workspace.folds_of(sites.name))
    with pytest.raises(UsageError, match="has runs on other folds than those by site"):
        split(sites, workspace, "site")
    workspace.folds_of(sites.name).with_name("folds_made.json").unlink()
    with pytest.raises(UsageError, match="holds folds of your own"):
        split(sites, workspace, "site")
    assert read_json(workspace.folds_of(sites.name)) == before


def test_the_command_line_s_form() -> None:
    assert parse_division("by=site") == (None, "site")
    assert parse_division("0,1") == ((0, 1), None) and parse_division("all") == (None, None)
    for wrong in ("by=", "site", "to=site"):
        with pytest.raises(UsageError, match="names no folds"):
            parse_division(wrong)
