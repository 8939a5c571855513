"""Scores made elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_records import experiment

from autoseg.errors import DataError
from autoseg.leaderboard.foreign.add import add_records, records_from_csv
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import write_records
from autoseg.leaderboard.records.scores import EMPTY, MISSED, MISSING


def _csv(folder: Path, text: str, name: str = "scores.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_table_becomes_a_record_per_trainer_and_fold(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "liver": 1}}')
    text = "trainer,fold,case,label,dice,hd95\nours,0,a,1,0.9,2\nours,1,b,1,0.8,3\ntheirs,0,a,1,0.7,4\n"
    found = records_from_csv(_csv(tmp_path, text))
    assert [(r.trainer, r.fold, r.dataset, r.status) for r in found] == [
        ("ours", 0, tmp_path.name, "foreign"),
        ("ours", 1, tmp_path.name, "foreign"),
        ("theirs", 0, tmp_path.name, "foreign"),
    ]
    assert found[0].scores.structures == ("liver",) and found[0].scores.metrics == ("dice", "hd95")
    assert found[0].scores.definitions("dice") == ("dice.foreign",)


def test_a_blank_is_an_empty_structure_unless_others_show_that_it_is_there(tmp_path: Path) -> None:
    text = (
        "trainer,case,label,dice\n"
        "one,a,1,0.9\none,a,2,\none,b,1,0.9\none,b,2,0.5\n"
        "two,a,1,0.8\ntwo,a,2,\ntwo,b,1,0.8\ntwo,b,2,\n"
        "three,a,1,0.7\nthree,a,2,\nthree,b,2,0.4\n"
    )
    statuses = {
        (record.trainer, record.scores.cases[i], column.structure): status
        for record in records_from_csv(_csv(tmp_path, text))
        for column in record.scores.columns
        for i, status in column.statuses.items()
    }
    assert statuses == {
        ("one", "a", "2"): EMPTY,
        ("two", "a", "2"): EMPTY,
        ("three", "a", "2"): EMPTY,
        ("two", "b", "2"): MISSED,
        ("three", "b", "1"): MISSING,
    }


def test_leaving_out_what_was_missed_does_not_help(tmp_path: Path) -> None:
    head = "trainer,case,label,dice\n"
    honest = "".join(f"honest,c{i},1,0.9\nhonest,c{i},2,0.{3 + i}\n" for i in range(5))
    sly = "".join(f"sly,c{i},1,0.9\n" + (f"sly,c{i},2,0.{3 + i}\n" if i else "") for i in range(5))
    means = {
        row.name: row.means["dice"]
        for row in rank(records_from_csv(_csv(tmp_path, head + honest + sly))).rows
    }
    assert means["sly"] < means["honest"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainer,dice\nx,0.9\n", "no column case"),
        ("trainer,case,elegance\nx,a,0.9\n", "no column holds a known metric"),
        ("trainer,case,dice\n", "no line"),
        ("trainer,case,dice\nx,a,0.9\nx,b,good\n", "line 3: dice: 'good' is not a number"),
        ("trainer,case,dice\nx,a,93.1\n", "line 2: dice: 93.1, expected 0 to 1"),
        ("trainer,case,dice\nx,a,inf\n", "line 2: dice: 'inf' is not finite"),
        ("trainer,case,hd95\nx,a,-1\n", "line 2: hd95: -1, expected 0 and more"),
        ("trainer,case,dice\nx,,0.5\n", "line 2: no case"),
        ("trainer,case,dice\nx,a,0.5\nx,a,0.6\n", "line 3: case 'a'.* is there twice"),
        ("trainer,case,dice,seed\nx,a,0.5,first\n", "line 2: seed 'first'"),
    ],
)
def test_a_bad_table_says_where(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        records_from_csv(_csv(tmp_path, text))
    assert "scores.csv" in str(caught.value)


def test_a_seed_in_digits_that_are_no_number_of_ours_is_refused(tmp_path: Path) -> None:
    for seed in ("\u00b2", "9" * 5000):
        text = f"trainer,fold,seed,case,label,dice\nours,0,{seed},a,1,0.9\n"
        with pytest.raises(DataError, match=r"line 2: seed .* is not a whole number"):
            records_from_csv(_csv(tmp_path, text))
    text = f"trainer,fold,case,label,dice\nours,{'9' * 5000},a,1,0.9\n"
    assert records_from_csv(_csv(tmp_path, text))[0].fold == "9" * 5000


def test_foreign_scores_stand_apart_until_their_definition_is_stated(tmp_path: Path) -> None:
    ours = experiment({"nnunet": 0.9}, n_cases=10, structures=("organ",), dataset="made")
    lines = [(f"case_{i:03d}", i % 5) for i in range(10)]
    text = "trainer,case,fold,structure,dice\n" + "".join(f"old,{c},{f},organ,0.5\n" for c, f in lines)
    board = rank([*ours, *records_from_csv(_csv(tmp_path, text), dataset="made")])
    assert [len(item.rows) for item in board.sets] == [1, 1]
    assert "another definition of the metric (dice.foreign instead of dice.v1)" in board.rows[1].reason
    stated = text.replace("dice\n", "dice,definition\n", 1).replace("0.5\n", "0.5,dice.v1\n")
    board = rank([*ours, *records_from_csv(_csv(tmp_path, stated), dataset="made")])
    assert [row.name for row in board.sets[0].rows] == ["nnunet", "old"]


def test_json_lines_are_added_as_well(tmp_path: Path) -> None:
    made = experiment({"a": 0.9}, n_cases=10)
    write_records(tmp_path / "more.jsonl", made)
    assert add_records(tmp_path / "more.jsonl") == tuple(made)
    assert len(add_records(_csv(tmp_path, "trainer,case,dice\nx,a,0.5\n"))) == 1
