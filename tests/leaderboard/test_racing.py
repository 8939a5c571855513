"""The race on the page: every look, its evidence, and what was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import record, table

from autoseg.leaderboard.page.page import render
from autoseg.leaderboard.page.race_section import races_of
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import Record, read_records, write_record

CASES = [f"case_{i:02d}" for i in range(12)]
WORDS = "dropped at rung 1, after 20 s of training: clearly behind nnunet"


def verdict(mean: float, **more: Any) -> dict[str, Any]:
    usual = {"behind": 0.0, "at_least": 0.0, "p": 1.0, "predicted": 0.0, "drop": False, "tied": False}
    noise = np.random.default_rng(1).normal(0, 0.01, len(CASES))
    return {**usual, "reason": "", "spent_s": 25.0, "dice": list(mean + noise), **more}


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """A race of two, one of them stopped, as it lies on disk."""
    results = tmp_path / "results" / "Dataset001_A"
    folder = results / "races" / "abcd1234"
    stretch = {"rung": 0, "from_s": 0.0, "until_s": 20.0, "run_s": 100.0}
    behind = verdict(0.6, behind=0.25, p=0.0004, drop=True)
    looks = [
        {"stretch": stretch, "leader": "nnunet", "trainers": {"nnunet": verdict(0.85), "unet": behind}},
        {
            "stretch": {**stretch, "rung": 1, "until_s": None},
            "leader": "nnunet",
            "trainers": {"nnunet": verdict(0.9, spent_s=70.0)},
        },
    ]
    about = {"dataset": "Dataset001_A", "trainers": ["nnunet", "unet"], "folds": [0], "seeds": [0]}
    rules = {"freed": "save"}
    folder.mkdir(parents=True)
    content = {**about, "rules": rules, "run_s": 100.0, "looks": [{**each, "failed": {}} for each in looks]}
    (folder / "race.json").write_text(json.dumps(content))
    found = []
    for name, place in (("nnunet", results), ("unet", folder / "rung_1" / "Dataset001_A")):
        plan = "autosegPlans_1_raceabcd1234"
        made = record(name, plan=plan, plan_hash=name, scores=table(CASES, {"organ": [0.9] * len(CASES)}))
        if name == "unet":
            made = replace(made, status="partial", reason=WORDS)
        path = place / f"{name}__{plan}__2d" / "fold_0" / "record.jsonl"
        write_record(path, replace(made, dataset="Dataset001_A", selection=True))
        found += read_records(path)
    return found


def test_a_race_is_told_once_whoever_was_stopped(records: list[Record]) -> None:
    (race,) = races_of(records)
    assert race.winner == "nnunet" and race.spent_s == 120 and race.full_s == 200
    first, last = race.looks
    assert [each.trainer for each in first.decisions] == ["nnunet", "unet"]
    stopped = first.decisions[1]
    assert stopped.stopped and stopped.words == "stopped: clearly behind" and stopped.p == "< 0.001"
    assert stopped.interval is not None and stopped.interval.low < stopped.dice < stopped.interval.high
    assert last.seconds is None and last.decisions[0].words == "wins"


def test_the_page_tells_the_decisions_and_that_the_winner_was_chosen_on_these_cases(
    records: list[Record],
) -> None:
    text = render(rank(records, resamples=200))
    assert "<h3>The race</h3>" in text and "after 20 s of training" in text
    assert "which flatters it" in text and "not what it would have reached" in text
    assert WORDS in text and "clearly behind" in text


def test_records_without_a_race_have_none(records: list[Record]) -> None:
    assert races_of([replace(each, plan="autosegPlans_1") for each in records]) == ()
    assert races_of([replace(each, source=None) for each in records]) == ()
    file = next(records[0].source.parents[2].glob("races/*/race.json"))  # type: ignore[union-attr]
    file.write_text("{}")
    assert races_of(records) == ()
    assert "The race" not in render(rank(records, resamples=200))
