"""Values of decisions in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def value_text(value: Any) -> str:
    """A value of JSON for people."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "open"}[value]
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= 10_000):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return entries(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = value and all(isinstance(item, int | float) for item in value)
        return (" x " if numbers else ", ").join(value_text(item) for item in value) or "none"
    return str(value)


def entries(values: Mapping[str, Any]) -> str:
    """Names and values in a row."""
    return ", ".join(f"{words(key)} {value_text(value)}" for key, value in values.items())


def words(name: str) -> str:
    """A name of JSON for people; those of configurations and trainers stay as they are."""
    return name.replace("_", " ") if not name.startswith(("3d_", "2d", "nnunet", "mednext")) else name
