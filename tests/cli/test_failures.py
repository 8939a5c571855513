"""Trainings that failed: which and why on standard error, and the exit status."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoseg.cli.training import app
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.record import Record
from autoseg.leaderboard.records.scores import ScoreColumn, ScoreTable
from autoseg.pipeline.walk import Outcome

SCORES = ScoreTable(("a", "b"), (ScoreColumn("dice", "organ", "dice.v1", (0.8, 0.9)),))
GOOD = Record("1", "Dataset001_Made", "nnunet", "2d", 0, scores=SCORES)
FAILED = Record("2", "Dataset001_Made", "unet", "2d", 0, status="failed", reason="learnt nothing")
NEVER = Record("3", "Dataset001_Made", "deepmrseg", "2d", 0, status="impossible", reason="only slices")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("records", "status", "words"),
    [
        ((GOOD,), 0, ""),
        ((GOOD, NEVER), 0, ""),
        ((GOOD, FAILED), 0, "warning: 1 of 2 trainings have no result"),
        ((FAILED,), 1, "error: 1 of 1 trainings have no result"),
        ((FAILED, NEVER), 1, "error: 2 of 2 trainings have no result"),
        ((NEVER,), 1, "error: 1 of 1 trainings have no result"),
    ],
)
def test_the_exit_status_says_whether_there_is_a_result(
    records: tuple[Record, ...],
    status: int,
    words: str,
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    walk = importlib.import_module("autoseg.pipeline.walk")
    outcome = Outcome(rank(records), tmp_path / "leaderboard.html", records)
    monkeypatch.setattr(walk, "plan_and_train", lambda *_: outcome)
    arguments = ["plan-and-train", "Dataset001_Made", "--workspace", str(tmp_path), "--quiet"]
    done = CliRunner().invoke(app, [*arguments, "--json"] if as_json else arguments)
    assert done.exit_code == status, done.output
    assert words in done.stderr
    assert bool(done.stderr) is bool(words)
    if words:
        assert ("unet, fold 0, failed: learnt nothing" in done.stderr) is (FAILED in records)
    if as_json:
        assert len(json.loads(done.stdout)["rows"]) == len(records)
