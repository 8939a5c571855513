"""What a structure is, by codes of a terminology: the optional ``codes`` of dataset.json.

``"codes": {"liver": "SCT 10200004 Liver"}`` gives the type: coding scheme, value, meaning. Two of them in a
list give the category first: ``["SCT 49755003 Morphologically Abnormal Structure", "SCT 4147007 Mass"]``. The
scheme SCT is SNOMED CT; the lengths are DICOM's (PS3.3, 8.8, and the value representations SH and LO).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoseg.errors import DataError

_LONGEST = {"scheme": 16, "value": 16, "meaning": 64}


@dataclass(frozen=True)
class Code:
    """One coded concept."""

    scheme: str
    value: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.scheme} {self.value} {self.meaning}"


@dataclass(frozen=True)
class Coded:
    """What a structure is: its type, and the category of that type."""

    category: Code
    type: Code


# All that is certain of a structure of which nothing is said.
TISSUE = Code("SCT", "85756007", "Tissue")
UNKNOWN = Coded(TISSUE, TISSUE)
ANATOMY = Code("SCT", "123037004", "Anatomical Structure")


def parse_code(text: Any) -> Code:
    """A code of ``SCT 10200004 Liver``.

    Raises:
        DataError: if it is something else.
    """
    parts = text.split(None, 2) if isinstance(text, str) else []
    named = dict(zip(_LONGEST, parts, strict=False))
    long = [name for name, part in named.items() if len(part) > _LONGEST[name]]
    if len(parts) != 3 or long or any(character in text for character in "\\\n\r\t"):
        why = f": its {long[0]} has more than {_LONGEST[long[0]]} characters" if long else ""
        raise DataError(f"{text!r} is not a code{why}. Write scheme, value and meaning: SCT 10200004 Liver.")
    return Code(*parts)


def parse_coded(entry: Any) -> Coded:
    """The entry of a structure in ``codes``: a code, or a list of category and type.

    Raises:
        DataError: if it is something else.
    """
    if not isinstance(entry, list):
        return Coded(ANATOMY, parse_code(entry))
    if len(entry) != 2:
        raise DataError(f"{entry!r} has {len(entry)} codes. Write one, or a list of category and type.")
    return Coded(parse_code(entry[0]), parse_code(entry[1]))


def codes_of(dataset_json: Mapping[str, Any]) -> dict[str, Coded]:
    """The codes of a dataset.json, by the name of the structure.

    Raises:
        DataError: naming the entry that is wrong.
    """
    content = dataset_json.get("codes") or {}
    if not isinstance(content, Mapping):
        raise DataError(f"codes is {content!r}. Write names and codes: {{'liver': 'SCT 10200004 Liver'}}.")
    found = {}
    for name, entry in content.items():
        if name not in dataset_json["labels"]:
            known = ", ".join(dataset_json["labels"])
            raise DataError(f"codes names {name!r}, which is no label. Use one of {known}.")
        try:
            found[str(name)] = parse_coded(entry)
        except DataError as problem:
            raise DataError(f"codes of {name!r}: {problem}") from None
    return found
