"""Names that become names of files, and numbers in texts: one rule for cases, data sets, plans and suites.

A name comes from outside (a dataset.json, a plan, a folder) and ends up in paths, scripts and tables. So a
name that could leave its folder, hide, or end a line is refused where it enters.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Final

# File systems allow 255 bytes; endings, channel numbers and the prefix of a file half written come on top.
LONGEST_BYTES: Final = 200
# More digits stand for no number of ours, and Python refuses to convert 5,000 of them.
_MOST_DIGITS: Final = 18
_LONGEST_PART: Final = 255
_LONGEST_PATH: Final = 4095
RULE: Final = (
    f"A name has 1 to {LONGEST_BYTES} bytes, no slash, backslash or control character, "
    f"does not begin with a dot, and neither begins nor ends with a blank"
)
# nnU-Net 2.8 stores the segmentation of CASE as CASE_seg.b2nd and takes no file of that ending for a case.
SEGMENTATION_SUFFIX: Final = "_seg"
# What shells, schedulers, Snakemake's patterns and HTML read as their own.
_SPECIAL: Final = frozenset("\"'`$&|;<>*?!{}[]()%#~^:,=\n")


def name_problem(name: str) -> str | None:
    """What keeps a name from being the name of a file; None: nothing."""
    if not name:
        return "is empty"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not valid text"
    if size > LONGEST_BYTES:
        return f"has {size} bytes"
    if "/" in name or "\\" in name:
        return "holds a slash or backslash"
    if any(unicodedata.category(character).startswith(("C", "Z")) and character != " " for character in name):
        return "holds a control character or an unusual blank"
    if name.startswith("."):
        return "begins with a dot"
    if name != name.strip():
        return "begins or ends with a blank"
    return None


def case_problem(name: str) -> str | None:
    """What keeps a name from being a case's; None: nothing."""
    if name.endswith(SEGMENTATION_SUFFIX):
        return f"ends in {SEGMENTATION_SUFFIX}, which nnU-Net appends to segmentations"
    return name_problem(name)


def script_problem(name: str) -> str | None:
    """What keeps a name from standing in scripts and job names; None: nothing."""
    if found := sorted(_SPECIAL & set(name)):
        return f"holds {' '.join(found)}" if "\n" not in found else "holds a line break"
    if name.startswith("-"):
        return "begins with a dash"
    return name_problem(name)


def path_problem(path: Path) -> str | None:
    """What keeps a path from leading to a file on any file system; None: nothing."""
    try:
        lengths = [len(os.fsencode(part)) for part in path.parts]
    except UnicodeEncodeError:
        return "is not valid text"
    if "\0" in str(path):
        return "holds a NUL"
    if max(lengths, default=0) > _LONGEST_PART or sum(lengths) + len(lengths) > _LONGEST_PATH:
        return f"has more than {_LONGEST_PART} bytes between two slashes, or {_LONGEST_PATH} in all"
    return None


def shown(name: str) -> str:
    """A name in quotes as a message has it: cut where it is long, control characters escaped."""
    return repr(name if len(name) <= 60 else f"{name[:57]}...")


def whole_number(text: str | None) -> int | None:
    """The number that a text is, 0 or more, in the digits 0 to 9; None if it is none or has over 18 digits.

    `str.isdigit` does not tell: it is true of a raised 2 and of 5,000 digits, and `int` takes neither.
    """
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    return int(text)
