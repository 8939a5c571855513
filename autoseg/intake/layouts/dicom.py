"""DICOM: series by their UIDs, each a volume; labels are SEG or RTSTRUCT objects, or images beside them.

By default every series is a case of one channel. With ``--channels T1,FLAIR`` a study is a case, made of the
series of these names: descriptions, folders, or kinds such as CT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

from autoseg.data.dicom import Drawing, Found, LeftOut, find_volumes, is_dicom
from autoseg.data.dicom.placing import UnevenSlices
from autoseg.errors import DataError, UsageError
from autoseg.intake.dicom.cases import SeriesCase, cases_of
from autoseg.intake.dicom.drawings import Drawings, drawings_for
from autoseg.intake.dicom.inspection import inspected
from autoseg.intake.dicom.label_files import files_for, label_of, refuse_short
from autoseg.intake.dicom.report import note_on_channels, notes_on, reasons_of, remarks_on
from autoseg.intake.incoming import (
    MEDICAL,
    Content,
    Incoming,
    IncomingCase,
    Request,
    ending_of,
    files_below,
    oddities_below,
    some,
)
from autoseg.intake.label_values import with_labels
from autoseg.intake.layout import Layout
from autoseg.intake.pseudonyms import Pseudonyms

# Files that are searched for DICOM, which no name gives away.
_SEARCHED = 200
_OWN_VALUES = {"values": ("", "suv"), "names": ("", "folders"), "unsound": ("", "leave-out")}


class Dicom(Layout):
    """Series of DICOM, with labels in SEG, RTSTRUCT or other formats."""

    looks_like = "series in folders"
    order = 40
    options: ClassVar[Mapping[str, str]] = {
        "threshold": "of FRACTIONAL segmentations, the share from which a voxel belongs; 0.5",
        "values": "suv: PET in standardised uptake values by body weight",
        "unsound": "leave-out: series with gaps or several slices in one place are left out and listed",
        "names": "folders: cases are called as their folders, where these say nothing of the patient",
    }

    def recognise(self, source: Path) -> str:
        """By the first DICOM file."""
        found = any(is_dicom(path) for path in islice(files_below(source), _SEARCHED) if not ending_of(path))
        return "it holds DICOM files." if found else ""

    def read(self, source: Path, request: Request) -> Incoming:
        """See `read_dicom`."""
        return read_dicom(source, request)


def read_dicom(source: Path, request: Request) -> Incoming:
    """Describe a folder of DICOM series as it will be written.

    Raises:
        DataError: if a series is not whole, a case lacks a channel, or there is neither a label nor a name
            for those that are to be drawn.
        MissingDependency: without pydicom.
    """
    _check(request)
    files = list(files_below(source))
    found = find_volumes([path for path in files if not ending_of(path)], mend=request.resample)
    left_out = [LeftOut(path, reason) for path, reason in oddities_below(source)]
    left_out += found.left_out
    _refuse_unsound(found, left_out, source, request)
    cases, channels = cases_of(found.stacks, request, source, request.pseudonyms or Pseudonyms())
    taken = {stack for case in cases for stack in case.stacks}
    left_out += [
        LeftOut(path, "a series that makes up no case", series=stack.header.series)
        for stack in found.stacks
        if stack not in taken
        for path in stack.files
    ]
    masks = [path for path in files if ending_of(path) in MEDICAL]
    label_files = {} if request.segmentation else files_for(cases, masks, source)
    for case in cases:
        refuse_short(case, label_files.get(case.identifier), left_out)
    drawings = _drawings(cases, found, label_files, request, left_out)
    left_out += [
        LeftOut(path, "an image of another format, the label of no case")
        for path in files
        if ending_of(path) and path not in label_files.values()
    ]
    notes = notes_on(found, list(taken)) + ([] if request.channels else note_on_channels(list(taken)))
    if any(case.group for case in cases):
        notes.append("Series of one patient are one group; the groups' names say nothing about who it is.")
    incoming = Incoming(
        channels=channels,
        labels={},
        file_ending=".nii.gz",
        cases=tuple(_incoming(cases, label_files, drawings, request, labelled=True)),
        unlabelled=tuple(_incoming(cases, label_files, drawings, request, labelled=False)),
        notes=tuple(notes),
        left_out=tuple(each.path for each in left_out),
        reasons=reasons_of(left_out),
        remarks=tuple(remarks_on(left_out, source)),
        private=True,
    )
    if drawings:
        return inspected(incoming, drawings, request)
    return with_labels(incoming, request) if label_files else _to_be_drawn(incoming, request, source, cases)


def _check(request: Request) -> None:
    for name, known in _OWN_VALUES.items():
        if (given := request.own.get(name, "")) not in known:
            raise UsageError(
                f"--option {name}={given} is not known. Write {name}={known[1]}, or leave it out."
            )


def _refuse_unsound(found: Found, left_out: list[LeftOut], source: Path, request: Request) -> None:
    if request.own.get("unsound") == "leave-out":
        left_out += [LeftOut(path, "of a series that makes no sound volume") for path in found.unsound]
    elif found.problems:
        others = len(found.problems) - 1
        more = f" {others} more series are not sound; --option unsound=leave-out passes over them."
        first = found.problems[0]
        mend = " Or import with --resample: then values are interpolated between the slices around."
        raise type(first)(f"{first}{mend if isinstance(first, UnevenSlices) else ''}{more if others else ''}")
    if not found.stacks:
        listed = "; ".join(remarks_on(left_out, source)[:6])
        raise DataError(
            f"{source} has no DICOM image that makes a volume. Give the folder that the series lie in or "
            f"below.{f' Left out: {listed}.' if listed else ''}"
        )


def _drawings(
    cases: Sequence[SeriesCase],
    found: Found,
    label_files: Mapping[str, Path],
    request: Request,
    left_out: list[LeftOut],
) -> Drawings | None:
    """Labels of SEG and RTSTRUCT objects, where no label files are there or objects are chosen."""
    if not found.segmentations:
        if request.segmentation:
            raise UsageError("There is no SEG or RTSTRUCT to choose from. Import without --segmentation.")
        return None
    if not label_files:
        drawings = drawings_for(cases, found.segmentations, request)
        left_out += drawings.left_out
        if request.segmentation and not drawings.of_case:
            listed = some([str(label) for label in found.segmentations], 6)
            raise DataError(
                f"No segmentation is called {', '.join(request.segmentation)}. There are {listed}."
            )
        return drawings if drawings.of_case else None
    drawn = (
        drawings_for(cases, found.segmentations, replace(request, labels={})).of_case
        if len(label_files) < len(cases)
        else {}
    )
    if only := [
        case.name for case in cases if case.identifier in drawn and case.identifier not in label_files
    ]:
        raise DataError(
            f"{len(label_files)} cases have label files, and {len(only)} only a SEG or RTSTRUCT: "
            f"{some(only)}. Take the latter for all with --segmentation NAME, or add the files."
        )
    left_out += [
        LeftOut(label.header.path, "a SEG or RTSTRUCT beside label files (--segmentation NAME takes it)")
        for label in found.segmentations
    ]
    return None


def _incoming(
    cases: Sequence[SeriesCase],
    label_files: Mapping[str, Path],
    drawings: Drawings | None,
    request: Request,
    labelled: bool,
) -> list[IncomingCase]:
    suv = request.own.get("values") == "suv"
    found = []
    for case in cases:
        label = _label(case, label_files, drawings.of_case if drawings else {}, request)
        if bool(label) is labelled:
            images = tuple(
                Content(stack.header.path, stack=stack, suv=suv and stack.header.modality == "PT")
                for stack in case.stacks
            )
            found.append(IncomingCase(case.identifier, images, label, case.group or None))
    return found


def _label(
    case: SeriesCase, label_files: Mapping[str, Path], drawings: Mapping[str, Drawing], request: Request
) -> Content | None:
    if case.identifier in label_files:
        return label_of(case, label_files[case.identifier], request)
    drawing = drawings.get(case.identifier)
    return Content(drawing.parts[0].label.header.path, drawing=drawing) if drawing and drawing.parts else None


def _to_be_drawn(incoming: Incoming, request: Request, source: Path, cases: Sequence[SeriesCase]) -> Incoming:
    if not request.labels:
        raise DataError(
            f"{source} has no labels: no SEG or RTSTRUCT of these series, and no image beside them. Put "
            f"labels beside the series, or into labels/, as CASE.nii.gz (here {cases[0].name}.nii.gz). To "
            f"import images that are still to be annotated, say what will be drawn: --labels NAME=1. To "
            f"segment them with a model: autoseg predict."
        )
    labels = {name: number for number, name in enumerate(request.labels, 1)}
    drawn = ", ".join(f"{name} ({value})" for name, value in labels.items())
    note = f"There are no labels yet: draw {drawn} and save them in labelsTr."
    return replace(
        incoming,
        labels={"background": 0, **labels},
        cases=incoming.unlabelled,
        unlabelled=(),
        notes=(*incoming.notes, note),
    )
