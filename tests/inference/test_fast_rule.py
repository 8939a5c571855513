"""The rule of fast prediction: what it reads, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoseg.errors import RunError
from autoseg.inference.fast_rule import RULES, FastRule

EVIDENCE = {"cases": 12, "change": -0.0004, "standard_error": 0.0003, "model": "hash"}


@pytest.mark.parametrize("rule", [*RULES, FastRule(0.25, 2, EVIDENCE)])
def test_a_rule_is_read_as_it_was_written(tmp_path: Path, rule: FastRule) -> None:
    rule.save(tmp_path)
    assert FastRule.of_model(tmp_path) == rule
    certainty = rule.certainty()
    assert (certainty.share, certainty.copies, certainty.windows) == (rule.share, rule.copies, 0)


def test_without_a_document_it_is_the_most_careful_one(tmp_path: Path) -> None:
    found = FastRule.of_model(tmp_path)
    assert found == RULES[-1] and found.copies is None and not found.evidence
    assert "not known" in found.change_in_words


def test_what_was_measured_is_said() -> None:
    said = FastRule(1.0, None, EVIDENCE).change_in_words
    assert "12 held-out cases" in said and "-0.0004" in said and "0.0003" in said
    assert FastRule(1.0).words == "no window has mirrored copies"
    assert "2 copies" in FastRule(copies=2).words and "all mirrored copies" in FastRule().words


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"share": 1.5},
        {"share": "much"},
        {"share": True},
        {"copies": 1},
        {"copies": 2.5},
        {"evidence": {"cases": 3}},
        {"evidence": {**EVIDENCE, "change": float("inf")}},
        {"evidence": 3},
    ],
)
def test_another_document_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        FastRule.from_json({**FastRule().to_json(), **changes})
    (tmp_path / "fast.json").write_text("[]")
    with pytest.raises(RunError, match=r"fast\.json"):
        FastRule.of_model(tmp_path)
