"""Texts in an object: names as long as an element holds, and the character set that has all their letters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from autoseg.data.dicom.headers import several

# Longest text that an element of the representation LO holds (PS3.5, 6.2).
LONGEST = 64
UNICODE = "ISO_IR 192"
# Sets of one byte a letter, and those of all letters (PS3.3, C.12.1.1.2). Of others, which switch between
# several sets, only the letters of ASCII are sure to be read.
_SETS = {
    "ISO_IR 100": "latin_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 148": "iso8859_9",
    UNICODE: "utf-8",
    "GB18030": "gb18030",
}
# A backslash parts two values of an element; others there steer a device.
_FORBIDDEN = re.compile(r"[\\\x00-\x1f\x7f]")
_BEGINNING, _BETWEEN = 40, "..."


def short_names(names: Sequence[str]) -> list[str]:
    """Each name as an element of the representation LO holds it: at most 64 characters, all different.

    Of a longer one the beginning and the end are left, for names that differ in their last word are common.
    """
    found = [_shortened(name, LONGEST) for name in names]
    number = Counter(found)
    for index, name in enumerate(found):
        if number[name] > 1:
            mark = f" ({index + 1})"
            found[index] = _shortened(name, LONGEST - len(mark)) + mark
    return found


def _shortened(name: str, longest: int) -> str:
    text = _FORBIDDEN.sub("/", name).strip()
    if len(text) <= longest:
        return text
    end = longest - _BEGINNING - len(_BETWEEN)
    return f"{text[:_BEGINNING].rstrip()}{_BETWEEN}{text[-end:].lstrip()}"


def set_characters(written: Any, source: Any, texts: Iterable[str]) -> None:
    """Give an object the character set of its source, or Unicode where that lacks a letter of the object's.

    Args:
        written: the object, pydicom's; all its texts are decoded.
        source: a data set of the series that it was made of.
        texts: what stands in the object beside what it has from the source.
    """
    stated = source.get("SpecificCharacterSet")
    values = [str(each) for each in several(stated)]
    encoding = _SETS.get(values[0], "ascii") if len(values) == 1 else "ascii"
    try:
        "".join(texts).encode(encoding)
    except UnicodeEncodeError:
        # Texts of nested items as well: what was never looked at stays as bytes of the source's set.
        for _ in written.iterall():
            pass
        written.SpecificCharacterSet = UNICODE
        return
    if stated is not None:
        written.SpecificCharacterSet = stated
