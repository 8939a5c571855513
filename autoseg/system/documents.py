"""JSON from outside, with bounds: a size, a depth, and finite numbers that fit into 64 bits or a double.

Python's parser takes NaN and Infinity, fails by a ValueError of another kind on 5,000 digits, and by a
RecursionError on deep nesting. Here each is one kind of error, with what is wrong.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

LARGEST_BYTES: Final = 512 * 2**20
DEEPEST: Final = 64
_MOST_DIGITS: Final = 400


class DocumentError(ValueError):
    """A text is not a document that can be read; the message says what is wrong."""


def parse_json(text: str | bytes, finite: bool = True) -> Any:
    """Parse a JSON text.

    Args:
        text: the document; bytes are read as UTF-8, with or without a byte order mark.
        finite: refuse NaN and infinities, which JSON does not have. nnU-Net writes them into its summaries.

    Raises:
        DocumentError: if it is not JSON, too large, nested too deeply, or holds a number without a value.
    """
    if len(text) > LARGEST_BYTES:
        raise DocumentError(f"it has {len(text) / 2**20:.0f} MiB, more than {LARGEST_BYTES // 2**20}")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as problem:
            raise DocumentError(f"it is not text in UTF-8: {problem}") from None
    try:
        value = json.loads(
            text,
            parse_constant=_refuse if finite else None,
            parse_int=_integer,
            parse_float=_finite if finite else None,
        )
    except RecursionError:
        raise DocumentError(f"it is nested deeper than {DEEPEST} levels") from None
    except json.JSONDecodeError as problem:
        raise DocumentError(str(problem)) from None
    if _deeper_than(value, DEEPEST):
        raise DocumentError(f"it is nested deeper than {DEEPEST} levels")
    return value


def _refuse(text: str) -> Any:
    raise DocumentError(f"{text} is not a number that JSON has")


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise DocumentError(f"it holds a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise DocumentError(f"{text[:40]} is too large for a number")
    return value


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            item
            for each in layer
            if isinstance(each, (dict, list))
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not layer:
            return False
    return True
