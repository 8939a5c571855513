"""triage.html: the predictions of a folder, the worst first, with pictures and reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case
from autoseg.data.image import finite
from autoseg.data.readers import read_images, read_segmentation
from autoseg.trust.assess import HTML_NAME, Assessor, worst_first
from autoseg.trust.case_page import Listed, Page, write_case_page
from autoseg.trust.conformal import LEVEL
from autoseg.trust.pictures import Plane, planes_of
from autoseg.trust.quality_model import OK, REVIEW, UNLIKE
from autoseg.trust.structure_model import MISSED


def write_triage(
    assessor: Assessor, cases: Sequence[Case], files: Mapping[str, Path], reader: str, name: str
) -> Path | None:
    """Write the page beside quality.json.

    Args:
        assessor: has assessed the cases.
        cases: with their images.
        files: the segmentation of each case, by identifier.
        reader: nnU-Net's name of the reader.
        name: of the model.

    Returns:
        The page; None where no case has a quality.
    """
    by_name, structures = {case.identifier: case for case in cases}, assessor.labels.structures

    def pictures(case: str) -> Sequence[Plane]:
        image = finite(read_images(by_name[case].images, reader), by_name[case].images)
        return planes_of(image, read_segmentation(files[case], reader).array[0], structures)

    return _write(assessor, pictures, name)


def write_triage_of_series(assessor: Assessor, name: str) -> Path | None:
    """The same of DICOM series, whose results are not read again: pictures are of those just predicted.

    Returns:
        The page; None where no case was predicted, so that an earlier page is the right one.
    """
    return _write(assessor, lambda case: assessor.planes.get(case, ()), name) if assessor.planes else None


def _write(assessor: Assessor, pictures: Callable[[str], Sequence[Plane]], name: str) -> Path | None:
    ordered, structures = worst_first(assessor.found), assessor.labels.structures
    if not ordered:
        return None
    columns = [f"{structure}: expected Dice" for structure in structures]
    flags = Counter(each["flag"] for _, each in ordered)
    page = Page(
        kind="triage",
        title=f"Predictions of {_in_words(name)}",
        verdict=_verdict(flags, len(ordered)),
        columns=[*columns, "Chance of failure"],
        legend="Each cut where most is segmented; coloured: the outline of each structure.",
        notes=[*_notes(assessor), f"The model lies in the folder {name}."],
    )
    listed = [_listed(case, each, structures) for case, each in ordered]
    return write_case_page(assessor.output / HTML_NAME, page, listed, structures, pictures)


def _in_words(name: str) -> str:
    """Trainer and configuration of a model's folder; its plan is a long name that nobody reads first."""
    trainer, *rest = name.split("__")
    return f"{trainer} ({rest[1]})" if len(rest) == 2 else name


def _listed(case: str, found: Mapping[str, Any], structures: Mapping[str, Any]) -> Listed:
    cells = [_dice(found["structures"][name]) for name in structures]
    flag = found["flag"]
    return Listed(case, flag, flag != OK, found["reasons"], [*cells, f"{found['chance_of_failure']:.0%}"])


def _dice(each: Mapping[str, Any]) -> str:
    interval = each["dice_interval"]
    ends = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
    return f"{each['expected_dice']:.2f}{ends}"


def _verdict(flags: Mapping[str, int], number: int) -> str:
    parts = [
        f"{flags[UNLIKE]} of {number} are unlike the training data" if flags.get(UNLIKE) else "",
        f"{flags[REVIEW]} of {number} are to be reviewed" if flags.get(REVIEW) else "",
    ]
    said = "; ".join(filter(None, parts))
    return f"{said}." if said else f"None of {number} is flagged."


def _notes(assessor: Assessor) -> list[str]:
    model, measured = assessor.model, assessor.model.measured
    notes = [
        f"Expected Dice is fitted on {model.cases} cases of {model.about['dataset']} that the models which "
        f"segmented them had not seen. A failure is a Dice below the tenth percentile of those cases, or "
        f"below {MISSED}."
    ]
    if measured.get("coverage") is not None:
        low, high = measured["coverage_interval"]
        notes.append(
            f"Intervals are meant to hold for {LEVEL:.0%} of new cases like those. Each left out in turn, "
            f"they held for {measured['coverage']:.0%} (95 % interval {low:.0%} to {high:.0%})."
        )
    notes.append(
        "Of cases that are unlike the training data neither the Dice nor its interval can be relied on: "
        "nothing like them was there to learn from."
    )
    return notes
