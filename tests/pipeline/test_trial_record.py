"""What a row says of the cases that it was trained on, without training anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoseg.data.few_cases import subset
from autoseg.data.folds import Fold
from autoseg.intake.verification.findings import VerifyReport, warning
from autoseg.leaderboard.records.files import Record, read_records, write_record
from autoseg.pipeline.trial_record import Trial, plan_content, training_cases, with_data_warnings
from autoseg.planner.training_spec import FewCases, TrainingSpec
from autoseg.system.files import write_json
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.workspace import Workspace

NAMES = tuple(f"case_{n:02d}" for n in range(20))
EXAMS = {name: f"exam_{i // 2}" for i, name in enumerate(NAMES)}


def trial(trainer: str, seed: int = 0) -> Trial:
    """Twenty training cases, two of each exam."""
    dataset: Any = SimpleNamespace(groups=EXAMS)
    fold, fingerprint = Fold(0, NAMES, ("held_out",)), SimpleNamespace()
    request = Request(torch.device("cpu"), seed=seed)
    return Trial(dataset, fingerprint, (fold,), Choice.parse(trainer), fold, request)  # type: ignore[arg-type]


@pytest.mark.parametrize(("asked", "seen"), [("", 20), (":cases=6", 6), (":cases=10%", 2), (":cases=5", 4)])
def test_a_cell_knows_which_cases_it_trains_on(asked: str, seen: int) -> None:
    """Five cases are four, since exams stay whole."""
    found = training_cases(trial(f"nnunet{asked}"))
    assert len(found) == seen
    assert len({NAMES.index(name) // 2 for name in found}) == seen // 2


def test_the_seed_draws_them_as_the_trainer_does() -> None:
    drawn = [training_cases(trial("nnunet:cases=6", seed)) for seed in range(4)]
    assert drawn == [subset(NAMES, EXAMS, 6, seed) for seed in range(4)]
    assert len(set(drawn)) > 1


def test_seeds_that_draw_other_cases_are_one_row_and_other_numbers_are_not() -> None:
    def content(size: int | None, seed: int) -> dict[str, Any]:
        few = None if size is None else FewCases(size, seed)
        document: dict[str, Any] = {"plans_name": f"plan {seed}", "configurations": {}}
        document["autoseg"] = {"provenance": {}}
        training = TrainingSpec("unet", seed=seed, cases=few)
        plan: Any = SimpleNamespace(to_json=lambda: dict(document), require_training=lambda: training)
        return plan_content(plan)

    assert content(5, 0) == content(5, 1)
    assert content(5, 0) != content(6, 0) != content(None, 0)


def test_a_row_says_what_verification_found_in_its_data(tmp_path: Path) -> None:
    workspace = Workspace.locate(tmp_path)
    record = Record("1", "Dataset001_Made", "nnunet", "2d", 0)
    assert with_data_warnings(record, workspace) == record, "no report, nothing known"
    found = [warning("constant_image", "It has 7 everywhere.", "Check it.", case=name) for name in ("a", "b")]
    path = workspace.verification_of(record.dataset)
    write_json(path, VerifyReport(2, (*found, warning("hidden_file", "One.", "Delete it."))).to_json())
    told = with_data_warnings(record, workspace)
    assert told.data_warnings == ("constant_image 2 times, the first in a: It has 7 everywhere.",)
    write_record(tmp_path / "record.jsonl", told)
    assert read_records(tmp_path / "record.jsonl") == [told]
    assert "data_warnings" not in record.to_json(), "as in records from before there was such a line"
