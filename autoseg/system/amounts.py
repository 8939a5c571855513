"""Times and memory as people write them."""

from __future__ import annotations

import re

from autoseg.errors import UsageError


def parse_duration(text: str | None) -> float | None:
    """Seconds of ``90s``, ``30m``, ``2h`` or ``1h30m``; a bare number is minutes.

    Raises:
        UsageError: for anything else, or nothing left of it.
    """
    if text is None:
        return None
    bare = re.fullmatch(r"\d+(\.\d+)?", text)
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", text)
    if bare:
        seconds = float(text) * 60
    elif parts and "".join(number + unit for number, unit in parts) == text:
        seconds = sum(float(number) * {"s": 1, "m": 60, "h": 3600}[unit] for number, unit in parts)
    else:
        raise UsageError(f"{text!r} is not a duration. Write 90s, 30m, 2h or 1h30m.")
    if seconds <= 0:
        raise UsageError(f"The budget {text!r} is nothing. Give a time above zero, such as 10m.")
    return seconds


def parse_memory(text: str | None) -> float | None:
    """Gigabytes of ``8GB`` or ``8``.

    Raises:
        UsageError: for anything else.
    """
    if text is None:
        return None
    number = text.strip().upper().removesuffix("GB").strip()
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise UsageError(f"{text!r} is not an amount of memory. Write 8GB.")
    return value
