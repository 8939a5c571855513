"""What a user requests of the walk: one length of training, and what each run gets of it."""

from __future__ import annotations

import pytest

from autoseg.errors import UsageError
from autoseg.pipeline.settings import Settings, request_of


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"total_s": 60.0, "epochs": 2}, "--budget and --epochs"),
        ({"total_s": 60.0, "steps": 20}, "--budget and --steps"),
        ({"epochs": 2, "steps": 20}, "--epochs and --steps"),
    ],
)
def test_two_lengths_exclude_each_other(given: dict[str, float], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Settings(**given)  # type: ignore[arg-type]


def test_small_needs_steps() -> None:
    with pytest.raises(UsageError, match="--steps 200"):
        Settings(small=True)


def test_each_run_gets_the_steps() -> None:
    request = request_of(Settings(steps=20, small=True, device="cpu"), None)
    assert (request.steps, request.small, request.run_s) == (20, True, None)
