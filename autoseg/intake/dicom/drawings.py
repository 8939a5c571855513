"""Labels of DICOM series in SEG or RTSTRUCT objects: which one a case has, what its structures become.

Names of structures become labels across all cases. Names that differ in case, blanks and underscores alone
are one; others are made one with ``--rename``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoseg.data.dicom import Drawing, LabelObject, meant_by
from autoseg.data.dicom.drawing import Part
from autoseg.data.dicom.headers import LeftOut
from autoseg.errors import DataError, UsageError
from autoseg.intake.dicom.cases import SeriesCase
from autoseg.intake.incoming import Request, some

HALF = 0.5


@dataclass(frozen=True)
class Drawings:
    """What label objects come to.

    Attributes:
        of_case: by the case's identifier.
        labels: name to value, as dataset.json has them.
        codes: name to code, as dataset.json has them, where the objects state one.
        left_out: objects that are not used, each with its reason.
        notes: what was decided.
    """

    of_case: Mapping[str, Drawing]
    labels: Mapping[str, int]
    codes: Mapping[str, str | list[str]]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def drawings_for(cases: Sequence[SeriesCase], objects: Sequence[LabelObject], request: Request) -> Drawings:
    """Choose and name labels.

    Raises:
        DataError: if an object fits several volumes, a case has several objects and none is chosen, or a
            structure is requested that none has.
    """
    left_out: list[LeftOut] = []
    claimed = _claimed(cases, objects, left_out)
    chosen = {
        case.identifier: mine
        for case in cases
        if (mine := _chosen(case, claimed.get(case.identifier, []), request, left_out))
    }
    every = [label for mine in chosen.values() for label in mine]
    if not every:
        return Drawings({}, {}, {}, tuple(left_out), ())
    names, notes = _names(list(chosen.values()), request)
    values = _values(names, request)
    labels = {names[key]: value for key, value in values.items()}
    drawings = {}
    for case in cases:
        if mine := chosen.get(case.identifier, []):
            parts = tuple(_part(label, values, request) for label in mine)
            (stack,) = {meant_by(label, case.stacks)[0] for label in mine}
            drawings[case.identifier] = Drawing(
                stack,
                tuple(part for part in parts if part.values),
                threshold_of(request),
                bool(request.labels),
            )
    if unused := [names[key] for key in names if key not in values]:
        notes = (*notes, f"Structures that no label is made of: {some(unused, 12)}.")
    codes = {names[key]: code for key, code in _codes(every, request).items() if key in values}
    return Drawings(drawings, {"background": 0, **labels}, codes, tuple(left_out), notes)


def threshold_of(request: Request) -> float:
    """The share from which a voxel of a FRACTIONAL segment belongs to it.

    Raises:
        UsageError: if it is none.
    """
    text = request.own.get("threshold", str(HALF))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise UsageError(f"The threshold {text!r} is no share. Give a number above 0, up to 1.")
    return value


def _claimed(
    cases: Sequence[SeriesCase], objects: Sequence[LabelObject], left_out: list[LeftOut]
) -> dict[str, list[LabelObject]]:
    """The objects of each case."""
    owner = {stack: case for case in cases for stack in case.stacks}
    claimed: dict[str, list[LabelObject]] = {}
    for label in objects:
        meant = meant_by(label, list(owner))
        if not meant:
            left_out.append(LeftOut(label.header.path, "labels of a series that is not here"))
        elif len({owner[stack].identifier for stack in meant}) > 1:
            raise DataError(
                f"{label} fits {len(meant)} volumes alike: {some(list(map(str, meant)))}. Put the ones that "
                f"it was not drawn on elsewhere, or write it as NIfTI, named like its case."
            )
        else:
            claimed.setdefault(owner[meant[0]].identifier, []).append(label)
    return claimed


def _chosen(
    case: SeriesCase, labels: Sequence[LabelObject], request: Request, left_out: list[LeftOut]
) -> list[LabelObject]:
    wanted = {_key(name) for name in request.segmentation}
    chosen = [label for label in labels if not wanted or wanted & set(map(_key, label.names))]
    left_out += [
        LeftOut(label.header.path, "labels that were not chosen") for label in labels if label not in chosen
    ]
    if len(chosen) > max(1, len(wanted)):
        listed = "\n  ".join(map(str, chosen))
        raise DataError(
            f"{case.name} has {len(chosen)} segmentations:\n  {listed}\nChoose with --segmentation NAME, or "
            f"several that belong together with --segmentation NAME,NAME; a name is a description, a label, "
            f"a file name, SEG or RTSTRUCT."
        )
    stacks = {meant_by(label, case.stacks)[0] for label in chosen}
    if len(stacks) > 1:
        raise DataError(
            f"{case.name} has segmentations of several of its series: {some(list(map(str, chosen)))}. "
            f"Choose one with --segmentation NAME."
        )
    return chosen


def _names(
    cases: Sequence[Sequence[LabelObject]], request: Request
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Key to name of every structure, and what was taken for one."""
    spellings: dict[str, Counter[str]] = {}
    drawn_in = Counter[str]()
    for labels in cases:
        names = [_renamed(each.name, request) for label in labels for each in label.structures]
        drawn_in.update({_key(name) for name in names})
        for name in names:
            spellings.setdefault(_key(name), Counter())[name] += 1
    called = {key: counts.most_common(1)[0][0].strip() for key, counts in spellings.items()}
    united = [
        " = ".join(f"{name!r} ({count})" for name, count in counts.most_common())
        for counts in spellings.values()
        if len(counts) > 1
    ]
    notes = [f"Names of structures that are taken for one: {'; '.join(united)}."] if united else []
    if rare := [f"{called[key]} ({count})" for key, count in drawn_in.items() if count < len(cases)]:
        notes.append(
            f"Not drawn in all {len(cases)} segmented cases: {some(rare, 12)}. Where a structure is not "
            f"drawn, it counts as background; take those cases out if it is there but was not looked for. "
            f"If two names mean one structure: --rename NAME=NAME."
        )
    return called, tuple(notes)


def _values(names: Mapping[str, str], request: Request) -> dict[str, int]:
    """Key of a structure to its label: in the order of the request, else of their first appearance."""
    if not request.labels:
        return {key: number for number, key in enumerate(names, 1)}
    requested = [_key(name) for name, _ in sorted(request.labels.items(), key=lambda item: item[1])]
    if missing := [name for name in request.labels if _key(name) not in names]:
        raise DataError(
            f"No segmentation has a structure {missing[0]!r}. There are {some(list(names.values()), 20)}. "
            f"Give names of these, or rename with --rename NAME={missing[0]}."
        )
    return {key: number for number, key in enumerate(requested, 1)}


def _part(label: LabelObject, values: Mapping[str, int], request: Request) -> Part:
    pairs = ((each.number, values.get(_key(_renamed(each.name, request)))) for each in label.structures)
    return Part(label, tuple((number, value) for number, value in pairs if value))


def _codes(labels: Sequence[LabelObject], request: Request) -> dict[str, str | list[str]]:
    """Key of a structure to its category and type, where all objects agree on them."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for label in labels:
        for structure in label.structures:
            if structure.code:
                code = tuple(filter(None, (structure.category, structure.code)))
                found.setdefault(_key(_renamed(structure.name, request)), set()).add(code)
    agreed = {key: list(next(iter(codes))) for key, codes in found.items() if len(codes) == 1}
    return {key: code if len(code) == 2 else code[0] for key, code in agreed.items()}


def _renamed(name: str, request: Request) -> str:
    new = {_key(old): to for old, to in request.rename.items()}
    return new.get(_key(name), name)


def _key(name: str) -> str:
    """What two spellings of a name have in common."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
