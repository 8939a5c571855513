"""quality.json, quality.csv and triage.html of somebody else are not replaced; this program's own are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoseg.errors import RunError
from autoseg.trust.assess import table
from autoseg.trust.case_page import Page, write_case_page
from autoseg.trust.own_files import refuse_foreign


def own(folder: Path) -> None:
    (folder / "quality.json").write_text(json.dumps({"model": "hash", "about": {}, "cases": {}}))
    (folder / "quality.csv").write_text(table({}))
    page = Page(kind="triage", title="Predictions of nnunet <1>", verdict="", columns=[], legend="", notes=[])
    write_case_page(folder / "triage.html", page, [], {}, lambda case: ())


def test_what_this_program_wrote_may_be_replaced(tmp_path: Path) -> None:
    refuse_foreign(tmp_path / "none", "")
    own(tmp_path)
    refuse_foreign(tmp_path, "")
    for path in tmp_path.iterdir():
        path.write_text("")
    refuse_foreign(tmp_path, "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("quality.json", '{"cases": ["a"]}'),
        ("quality.json", "no JSON"),
        ("quality.csv", "case,quality\na,good\n"),
        ("quality.csv", "remark," + table({})),
        ("triage.html", "<title>Triage of the ward</title>"),
    ],
)
def test_a_users_own_is_refused(name: str, text: str, tmp_path: Path) -> None:
    own(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(RunError, match=rf"{name} is not known to be this program's.*Give another OUTPUT"):
        refuse_foreign(tmp_path, "Give another OUTPUT.")
    assert (tmp_path / name).read_text() == text
