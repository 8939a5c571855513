"""How well each row knows when it is wrong, from the file beside its model."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_records import record, table
from rich.console import Console

from autoseg.leaderboard.page.page import write_page
from autoseg.leaderboard.ranking.entries import pool
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import Record
from autoseg.leaderboard.table import terminal_table
from autoseg.leaderboard.trust_of_rows import Trust, sentence, trust_of

CASES = [f"case_{index}" for index in range(12)]
SCORES = table(CASES, {"organ": [0.8 + 0.01 * index for index in range(12)]})
MEASURED: dict[str, Any] = {
    "cases": 40,
    "groups": 40,
    "level": 0.9,
    "coverage": 0.925,
    "coverage_interval": [0.796, 0.984],
    "width": 0.2,
    "aurc": {"expected": 0.05, "entropy": 0.07, "none": 0.1, "best": 0.04},
    "curve": [[0.5, 0.02], [1.0, 0.1]],
}


def run(place: Path, trainer: str, measured: Any, folds: list[str]) -> Record:
    """A record in its model's folder, with what was measured beside it."""
    made = record(trainer, scores=SCORES)
    model = place / trainer
    (model / f"fold_{made.fold}").mkdir(parents=True)
    document = {"about": {"folds": folds}, "measured": measured}
    (model / "quality.json").write_text(json.dumps(document))
    return replace(made, source=model / f"fold_{made.fold}" / "record.jsonl")


def entry_of(made: Record) -> Any:
    ((entry,),) = pool([made]).values()
    return entry


def test_a_row_has_what_was_measured_of_its_folds(tmp_path: Path) -> None:
    made = run(tmp_path, "swift", MEASURED, ["fold_0"])
    found = trust_of(entry_of(made))
    assert found is not None
    assert (found.cases, found.coverage, found.aurc["expected"]) == (40, 0.925, 0.05)
    assert found.path(0.1) == "M500 26.6L1000 1.0"


@pytest.mark.parametrize(
    ("measured", "folds"),
    [(MEASURED, ["fold_0", "fold_1"]), ({}, ["fold_0"]), ("text", ["fold_0"]), (None, ["fold_0"])],
)
def test_a_row_of_other_folds_or_without_measure_has_none(
    tmp_path: Path, measured: Any, folds: list[str]
) -> None:
    assert trust_of(entry_of(run(tmp_path, "swift", measured, folds))) is None
    assert trust_of(entry_of(record("elsewhere", scores=SCORES))) is None


def trust(area: float) -> Trust:
    return Trust(40, 0.9, (0.8, 0.96), 0.2, {**MEASURED["aurc"], "expected": area}, ((1.0, 0.1),))


def test_of_rows_that_are_as_good_the_one_that_knows_better_is_named() -> None:
    rows = [("a", True, trust(0.06)), ("b", True, trust(0.05)), ("c", False, trust(0.01))]
    assert sentence(rows).startswith("b is tied with the best and knows better when it is wrong")
    assert sentence([("a", True, trust(0.05)), ("b", True, trust(0.06))]) == ""
    assert sentence(rows[:1]) == ""


def test_the_page_shows_it_where_it_is_known(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_page(rank([run(tmp_path, "swift", MEASURED, ["fold_0"]), record("other", scores=SCORES)]), page)
    text = page.read_text()
    assert text.count("Who knows when it is wrong") == 1
    assert "92 % <small>[80, 98]</small>" in text
    write_page(rank([record("other", scores=SCORES)]), page)
    assert "Who knows when it is wrong" not in page.read_text()


def test_page_and_terminal_say_which_of_two_that_are_as_good_to_prefer(tmp_path: Path) -> None:
    better = {**MEASURED, "aurc": {**MEASURED["aurc"], "expected": 0.042}}
    records = [run(tmp_path, "first", MEASURED, ["fold_0"]), run(tmp_path, "knows", better, ["fold_0"])]
    changes = (-0.003, 0.001, -0.001, 0.002)
    little = table(CASES, {"organ": [0.8 + 0.01 * index + changes[index % 4] for index in range(12)]})
    records[1] = replace(records[1], scores=little)
    leaderboard, page = rank(records), tmp_path / "page.html"
    said = (
        "knows is tied with the best and knows better when it is wrong: a risk-coverage area of 0.0420, "
        "where first has 0.0500."
    )
    write_page(leaderboard, page)
    assert said in page.read_text()
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(terminal_table(leaderboard))
    assert said in console.export_text()
    # Of one structure, or another metric, nothing was measured.
    console.print(terminal_table(rank(records, structure="organ")))
    assert said not in console.export_text()
