"""Whole numbers in texts from outside."""

from __future__ import annotations

import pytest

from autoseg.system.amounts import whole_number


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("12", 12), ("007", 7), ("9" * 18, 10**18 - 1)],
)
def test_digits_are_a_number(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    "text", [None, "", "-1", "1.0", " 1", "1_0", "\u00b2", "\u0663", "9" * 19, "9" * 5000]
)
def test_all_else_is_none(text: str | None) -> None:
    assert whole_number(text) is None
