"""A run that predicts only background says so; one that is only bad does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoseg.leaderboard.records.collapse import collapsed, marked
from autoseg.leaderboard.records.record import Record
from autoseg.leaderboard.records.scores import ScoreColumn, ScoreTable

MISSED, EMPTY = "missing_prediction_structure", "empty_both"


def record(statuses: dict[int, str]) -> Record:
    """A record of three cases with these statuses of its Dice, the others scored."""
    values = tuple(0.0 if i in statuses else 0.5 for i in range(3))
    column = ScoreColumn(
        structure="organ", metric="dice", definition="dice.v1", values=values, statuses=statuses
    )
    made = Record(run_id="r", dataset="Dataset001_Made", trainer="t", configuration="2d", fold=0)
    return replace(made, scores=ScoreTable(cases=("a", "b", "c"), columns=(column,)))


@pytest.mark.parametrize(
    ("statuses", "cases"),
    [
        ({0: MISSED, 1: MISSED, 2: MISSED}, 3),
        ({0: MISSED, 1: EMPTY, 2: MISSED}, 3),
        ({0: MISSED, 1: MISSED}, 0),
        ({0: EMPTY, 1: EMPTY, 2: EMPTY}, 0),
        ({}, 0),
    ],
)
def test_only_background_in_every_case_is_a_collapse(statuses: dict[int, str], cases: int) -> None:
    found = marked(record(statuses))
    assert collapsed(found) == cases
    assert found.status == ("collapsed" if cases else "ok")
    assert ("only background" in found.reason) == bool(cases)


def test_what_was_made_elsewhere_keeps_its_mark() -> None:
    foreign = replace(record(dict.fromkeys(range(3), MISSED)), status="foreign", reason="a table")
    assert marked(foreign) == foreign
