"""Times, memory and numbers of things as people write them."""

from __future__ import annotations

import re

from autoseg.errors import UsageError
from autoseg.names import shown

LONGEST_S = 366 * 24 * 3600
MOST_GB = 10**6


def counted(number: int, thing: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def parse_duration(text: str | None) -> float | None:
    """Seconds of ``90s``, ``30m``, ``2h`` or ``1h30m``; a bare number is minutes.

    Raises:
        UsageError: for anything else, or nothing left of it.
    """
    if text is None:
        return None
    bare = re.fullmatch(r"[0-9]+(\.[0-9]+)?", text)
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([smh])", text)
    if bare:
        seconds = float(text) * 60
    elif parts and "".join(number + unit for number, unit in parts) == text:
        seconds = sum(float(number) * {"s": 1, "m": 60, "h": 3600}[unit] for number, unit in parts)
    else:
        raise UsageError(f"{shown(text)} is not a duration. Write 90s, 30m, 2h or 1h30m.")
    if seconds > LONGEST_S:
        raise UsageError(f"The budget {shown(text)} is longer than a year. Give a time such as 10m.")
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
    if not 0 < value <= MOST_GB:
        raise UsageError(f"{shown(text)} is not an amount of memory. Write 8GB.")
    return value
