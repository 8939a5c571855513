"""SEG and RTSTRUCT objects: what they are called, which structures they hold, and which images they mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoseg.data.codes import parse_code
from autoseg.data.dicom.headers import Header, several, text_of
from autoseg.data.dicom.kinds import is_contours
from autoseg.data.dicom.stack import Stack
from autoseg.errors import DataError

# What a user may choose an object by, most telling first.
_NAMES = (
    *("SeriesDescription", "ContentLabel", "StructureSetLabel", "StructureSetName", "ContentDescription"),
)
# Read of a SEG or RTSTRUCT to know what it is; not the contours' points.
LABEL_TAGS = (
    *_NAMES,
    *("SegmentationType", "SegmentSequence", "MaximumFractionalValue", "ReferencedSeriesSequence"),
    *("ReferencedFrameOfReferenceSequence", "StructureSetROISequence", "SourceImageSequence"),
    "SharedFunctionalGroupsSequence",
)


@dataclass(frozen=True)
class Structure:
    """One segment or region of interest.

    Attributes:
        number: its number in the object.
        name: as written there.
        code: what it is by a code, ``SCT 10200004 Liver``; empty if not stated.
        category: what kind of thing that is, likewise.
    """

    number: int
    name: str
    code: str = ""
    category: str = ""


@dataclass(frozen=True)
class LabelObject:
    """Labels that lie in a DICOM object.

    Attributes:
        header: the file's.
        kind: ``BINARY``, ``FRACTIONAL`` or ``LABELMAP`` of a SEG; ``RTSTRUCT``.
        names: what it may be chosen by; the file's name, SEG or RTSTRUCT, and the kind last.
        structures: what it holds.
        instances, series: UIDs of the objects and series that it says it was drawn on.
        reference: UID of its frame of reference.
    """

    header: Header
    kind: str
    names: tuple[str, ...]
    structures: tuple[Structure, ...]
    instances: frozenset[str] = field(repr=False)
    series: frozenset[str] = field(repr=False)
    reference: str = field(repr=False)

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.names[0]

    def __str__(self) -> str:
        return f"{self.header.path} ({self.kind} {self.name!r}: {', '.join(s.name for s in self.structures)})"


def label_object(header: Header, found: Any) -> LabelObject:
    """The description of a SEG or RTSTRUCT.

    Args:
        header: the file's.
        found: its data set, with `LABEL_TAGS`.

    Raises:
        ValueError: if an element has a value that its type does not allow.
    """
    contours = is_contours(header)
    structures = tuple(_regions(found) if contours else _segments(found))
    kind = "RTSTRUCT" if contours else text_of(found, "SegmentationType") or "LABELMAP"
    names = dict.fromkeys(text for key in _NAMES if (text := text_of(found, key)))
    return LabelObject(
        header=header,
        kind=kind,
        names=tuple(dict.fromkeys((*names, header.path.name, "RTSTRUCT" if contours else "SEG", kind))),
        structures=structures,
        instances=frozenset(_values(found, "ReferencedSOPInstanceUID")),
        series=frozenset(_values(found, "SeriesInstanceUID")),
        reference=header.reference
        or next(iter(_values(found, "ReferencedFrameOfReferenceUID")), "")
        or next(
            (
                text_of(part, "FrameOfReferenceUID")
                for part in several(found.get("ReferencedFrameOfReferenceSequence"))
            ),
            "",
        ),
    )


def meant_by(label: LabelObject, stacks: Sequence[Stack]) -> list[Stack]:
    """The volumes that labels belong to: most referenced instances, else the series, else the place.

    Returns:
        None, one, or several that fit equally well.
    """
    counts = [sum(frame.sop_instance in label.instances for frame in stack.frames) for stack in stacks]
    if best := max(counts, default=0):
        return [stack for stack, count in zip(stacks, counts, strict=True) if count == best]
    if fitting := [stack for stack in stacks if stack.header.series in label.series]:
        return fitting
    return [stack for stack in stacks if label.reference and stack.header.reference == label.reference]


def _segments(found: Any) -> Iterator[Structure]:
    for number, item in enumerate(several(found.get("SegmentSequence")), 1):
        stated = item.get("SegmentNumber")
        number = number if stated is None else int(stated)
        # A label map describes its background as well, and some programs do so in other kinds.
        if number and text_of(item, "SegmentLabel").casefold() != "background":
            name = text_of(item, "SegmentLabel") or f"segment {number}"
            kind = _code(item, "SegmentedPropertyCategoryCodeSequence")
            yield Structure(number, name, _code(item, "SegmentedPropertyTypeCodeSequence"), kind)


def _regions(found: Any) -> Iterator[Structure]:
    for item in several(found.get("StructureSetROISequence")):
        number = int(item.get("ROINumber") or 0)
        yield Structure(number, text_of(item, "ROIName") or f"region {number}")


def _code(item: Any, keyword: str) -> str:
    for code in several(item.get(keyword)):
        parts = (text_of(code, key) for key in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning"))
        text = " ".join(filter(None, parts))
        try:
            return str(parse_code(text))
        except DataError:  # one that lacks a part says nothing to another program
            return ""
    return ""


def _values(found: Any, keyword: str) -> Iterator[str]:
    """The values of an element wherever it stands below the references of an object."""
    references = ("ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence", "SourceImageSequence")
    for name in references:
        for item in several(found.get(name)):
            yield from (str(element.value) for element in item.iterall() if element.keyword == keyword)
    for shared in several(found.get("SharedFunctionalGroupsSequence")):
        for item in several(shared.get("DerivationImageSequence")):
            yield from (str(element.value) for element in item.iterall() if element.keyword == keyword)
