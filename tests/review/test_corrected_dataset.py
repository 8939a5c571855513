"""The data set that comes of a review is one that verification accepts, with the right cases and labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from review_cases import label_array, make_review, make_volumes
from test_review_session import session_of, shown

from autoseg.data.dataset import load_dataset
from autoseg.data.readers import read_segmentation
from autoseg.errors import DataError, UsageError
from autoseg.intake.verification.dataset_check import verify
from autoseg.review.corrected_dataset import RECORD, _filtered, write_corrected


def reviewed(tmp_path: Path, kind: str = "labels"):  # type: ignore[no-untyped-def]
    root = make_volumes(tmp_path / "Dataset007_Boxes")
    (root / "cases.csv").write_text("case,group\n" + "".join(f"case_{n},g{n}\n" for n in range(4)))
    session = session_of(root, kind)
    session.save(0, shown(session, "prediction").tobytes(), "me")
    session.decide(1, "reject", "me")
    session.decide(2, "accept", "me")
    return root, session


@pytest.mark.parametrize("link", [False, True])
def test_labels_are_corrected_and_rejected_cases_left_out(tmp_path: Path, link: bool) -> None:
    root, session = reviewed(tmp_path)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    output = tmp_path / "Dataset009_Better"
    found = write_corrected(session.review, session.journal, output, link)
    assert (found.corrected, found.unchanged) == (("case_0",), ("case_2", "case_3"))
    assert found.rejected == ("case_1",)
    dataset = load_dataset(output)
    assert [case.identifier for case in dataset.cases] == ["case_0", "case_2", "case_3"]
    assert dataset.groups == {"case_0": "g0", "case_2": "g2", "case_3": "g3"}
    assert dataset.dataset_json["numTraining"] == 3
    corrected = read_segmentation(output / "labelsTr" / "case_0.nii.gz", dataset.reader).array[0]
    assert np.array_equal(corrected, label_array(1))
    assert all(case.images[0].is_symlink() is link for case in dataset.cases)
    assert [each for each in verify(output, 1).findings if each.severity == "error"] == []
    assert {path: path.read_bytes() for path in before} == before
    record = json.loads((output / RECORD).read_text())
    assert record["cases"]["case_1"]["decision"] == "rejected"


def test_of_predictions_only_what_somebody_looked_at_is_trained_on(tmp_path: Path) -> None:
    _, session = reviewed(tmp_path, "predictions")
    found = write_corrected(session.review, session.journal, tmp_path / "Dataset009_Better")
    assert found.undecided == ("case_3",) and found.rejected == ("case_1",)
    dataset = load_dataset(found.root)
    assert [case.identifier for case in dataset.cases] == ["case_0", "case_2"]
    label = read_segmentation(found.root / "labelsTr" / "case_2.nii.gz", dataset.reader).array[0]
    assert np.array_equal(label, label_array(3))


def test_nothing_is_written_where_nothing_is_left_or_something_is_there(tmp_path: Path) -> None:
    root, session = reviewed(tmp_path)
    with pytest.raises(UsageError, match="lies in the data set"):
        write_corrected(session.review, session.journal, root / "better")
    output = tmp_path / "there"
    output.mkdir()
    (output / "mine").write_text("x")
    with pytest.raises(UsageError, match="is there already"):
        write_corrected(session.review, session.journal, output)
    for index in range(4):
        session.decide(index, "reject", "me")
    with pytest.raises(UsageError, match="No case is left"):
        write_corrected(session.review, session.journal, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_correction_that_is_gone_or_older_than_its_label_is_named(tmp_path: Path) -> None:
    root, session = reviewed(tmp_path)
    label = root / "labelsTr" / "case_0.nii.gz"
    label.write_bytes((root / "labelsTr" / "case_1.nii.gz").read_bytes() + b" ")
    found = write_corrected(session.review, session.journal, tmp_path / "one")
    assert found.changed_since == ("case_0",)
    session.journal.state("case_0").corrected.unlink()
    with pytest.raises(DataError, match="The label of case_0 is gone"):
        write_corrected(session.review, session.journal, tmp_path / "two")
    assert not (tmp_path / "two").exists()
    assert make_review(root, tmp_path / "review").cases


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_tables_lose_the_rows_of_rejected_cases_and_no_cell_is_run(between: str) -> None:
    rows = [("case", "note"), ("a", "=1+1"), ("b", "'=2"), ("c", "plain")]
    text = "".join(between.join(row) + "\n" for row in rows)
    assert _filtered(text, ["c"]) == "case,note\na,'=1+1\nb,'=2\n"
