"""What is said of the trainers that `auto` takes and leaves."""

from types import SimpleNamespace
from typing import Any, cast

from autoseg.pipeline.trainer_choice import sentences_of


def test_those_that_are_left_for_one_reason_stand_in_one_line() -> None:
    reasons = {"a": "slow", "b": "the best", "c": "made for 3D", "d": "slow"}
    verdicts = [SimpleNamespace(trainer=name, reason=reason) for name, reason in reasons.items()]
    found = cast(Any, SimpleNamespace(names=["b"], verdicts=verdicts))
    assert sentences_of(found) == ["+ b: the best", "- a, d: slow", "- c: made for 3D"]
