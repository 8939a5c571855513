"""What only shows when all cases of a data set are looked at together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.image import Array
from autoseg.data.orientation import code_of, most_common, stored_otherwise
from autoseg.intake.incoming import ending_of
from autoseg.intake.verification.anatomy_checks import check_anatomy
from autoseg.intake.verification.findings import Finding, error, warning

if TYPE_CHECKING:
    from autoseg.intake.verification.case_checks import CaseCheck

# A case whose voxels are this many times larger or smaller than usual has a header in another unit.
UNIT_STEP = 100.0
# Hounsfield units of air, as scanners and converters write it, and something denser than water.
AIR, DENSE = (-3100.0, -700.0), 150.0
# nnU-Net's names of what is not normalised by mean and deviation are a decision.
_DECIDED = ("ct", "nonorm", "zscore", "rescale_to_0_1", "rgb_to_0_1")
# Visits, exams, slices, sides and dates behind the number of a person: pat01_t2, sub-01_ses-2, p1_slice_003,
# P003_pre, knee7_L, AB12_20200131, AB12-2020-01-31, lung03_insp, p1a.
_TIMES = (
    "pre|post|before|after|baseline|bl|follow-?up|fu|first|second|(?:re)?test|(?:re)?scan|left|right"
    "|insp(?:iration)?|exp(?:iration)?|prone|supine|rest|stress|acute|chronic|systole|diastole"
    "|native|arterial|portal(?:-?venous)?|venous|delayed|[lr]|o[ds]|e[ds]"
)
_DATE = re.compile(r"(.*\d)[_. -]\d{4}([_. -])\d{2}\2\d{2}")
_VISIT = re.compile(rf"(.*\d)(?:[_. -]+(?:[A-Za-z]*[_. -]?\d{{1,3}}|\d{{8}}|(?i:{_TIMES}))|[a-z])")
_MOST_VISITS = 30


def check_together(dataset: Dataset, checks: Sequence[CaseCheck]) -> Iterator[Finding]:
    """What is odd about cases beside the others.

    Args:
        dataset: whose cases these are.
        checks: the checks of each case, in their order.
    """
    yield from _check_orientation(dataset.cases, checks)
    yield from _check_spacing(dataset.cases, checks)
    yield from _check_units(dataset.cases, checks)
    yield from check_anatomy(dataset.cases, [check.anatomy for check in checks])
    yield from _check_channel_names(dataset, checks)
    if not any(case.group for case in dataset.cases):
        yield from _check_visits(dataset)


def check_names(dataset: Dataset) -> Iterator[Finding]:
    """Files that are passed over because their names differ from what dataset.json says."""
    for folder in ("imagesTr", "labelsTr"):
        yield from _check_endings(dataset.root / folder, dataset.file_ending)
    pattern = re.compile(rf".+_(\d{{4}}){re.escape(dataset.file_ending)}")
    numbers = {m[1] for case in dataset.cases for path in case.images if (m := pattern.fullmatch(path.name))}
    if numbers and "0000" not in numbers and not dataset.dataset_json.get("dataset"):
        first = dataset.cases[0].images[0]
        message = f"No image has the channel 0000; there are {', '.join(sorted(numbers))}."
        remedy = "Channels count from 0000: rename the files, CASE_0001 to CASE_0000 and so on."
        yield error("channel_numbers", message, remedy, file=first)


def _check_endings(folder: Path, ending: str) -> Iterator[Finding]:
    if not folder.is_dir():
        return
    others = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and not path.name.endswith(ending) and ending_of(path)
    ]
    if others:
        message = f"{len(others)} image files here do not end in {ending} and are passed over."
        remedy = f"Convert them to {ending} or import the data, or move them elsewhere."
        yield error("other_ending", message, remedy, file=others[0])


def _check_orientation(cases: Sequence[Case], checks: Sequence[CaseCheck]) -> Iterator[Finding]:
    known = [(case, check.stored) for case, check in zip(cases, checks, strict=True) if check.stored]
    if not known:
        return
    common = most_common([stored for _, stored in known if stored])
    odd = [(case, stored) for case, stored in known if stored and stored_otherwise(stored, common)]
    if odd:
        case, stored = odd[0]
        listed = ", ".join(case.identifier for case, _ in odd[:5]) + (" ..." if len(odd) > 5 else "")
        message = (
            f"{len(odd)} of {len(known)} cases are stored along other axes ({code_of(stored)}, not "
            f"{code_of(common)}): {listed}. Networks see arrays, so that left and right change places there."
        )
        remedy = (
            "Store all cases alike, or let a reader turn them: "
            '"overwrite_image_reader_writer": "SimpleITKIOWithReorient" in dataset.json.'
        )
        yield warning("mixed_orientation", message, remedy, case=case.identifier, file=case.images[0])


def _check_spacing(cases: Sequence[Case], checks: Sequence[CaseCheck]) -> Iterator[Finding]:
    known = [(case, check.spacing) for case, check in zip(cases, checks, strict=True) if check.spacing]
    if len(known) < 3:
        return
    usual = np.median([spacing for _, spacing in known], axis=0)
    for case, spacing in known:
        factor = np.exp(np.abs(np.log(np.array(spacing) / usual)).max()) if min(spacing) > 0 else np.inf
        if factor >= UNIT_STEP:
            sizes, others = (" x ".join(f"{s:.4g}" for s in each) for each in (spacing, usual))
            message = f"Its voxels have {sizes} mm (z, y, x), those of the other cases {others}."
            remedy = _spacing_remedy(np.array(spacing) / usual)
            yield error("spacing_outlier", message, remedy, case=case.identifier, file=case.images[0])


def _spacing_remedy(factors: Array) -> str:
    """What to do about voxels that are this many times (z, y, x) those of the other cases."""
    far = np.abs(np.log(factors)) >= np.log(UNIT_STEP)
    # A unit changes all lengths alike; a radiograph among volumes has one slice of any thickness.
    if far.all() and np.ptp(np.log(factors)) < np.log(UNIT_STEP):
        return "If its header is in another unit (metres, micrometres), write millimetres."
    axes = ", ".join(axis for axis, is_far in zip("zyx", far, strict=True) if is_far)
    return (
        f"Only along {axes} it differs so much, so that it is no other unit. Correct the spacing, or take "
        f"the case out if it is an image of another kind, such as a single slice."
    )


def _check_units(cases: Sequence[Case], checks: Sequence[CaseCheck]) -> Iterator[Finding]:
    other = [(case, check.unit_mm) for case, check in zip(cases, checks, strict=True) if check.unit_mm != 1]
    if other:
        case, factor = other[0]
        message = (
            f"{len(other)} of {len(cases)} cases state their lengths in units of {factor:g} mm. Plans take "
            f"the numbers as they stand, as nnU-Net's do; scores are in mm."
        )
        remedy = "Nothing, if all cases have that unit; else write all in mm."
        severity = warning if len(other) == len(cases) else error
        yield severity("other_unit", message, remedy, case=case.identifier, file=case.images[0])


def _check_channel_names(dataset: Dataset, checks: Sequence[CaseCheck]) -> Iterator[Finding]:
    for number, name in enumerate(dataset.channels):
        found = [check.ranges[number] for check in checks if len(check.ranges) == len(dataset.channels)]
        like = [AIR[0] <= low <= AIR[1] and high >= DENSE for low, high in found]
        if found and sum(like) >= 0.9 * len(found) and name.casefold() not in _DECIDED:
            low, high = found[0]
            message = (
                f"Channel {number} is called {name!r}, but its values look like Hounsfield units ({low:g} to "
                f"{high:g} in the first case). Only a channel called CT is normalised as CT is."
            )
            remedy = 'If it is a CT, write "CT" in channel_names; what else is known of it has no effect.'
            yield warning("ct_by_another_name", message, remedy, file=dataset.root / "dataset.json")


def _check_visits(dataset: Dataset) -> Iterator[Finding]:
    found = defaultdict[str, list[str]](list)
    for case in dataset.cases:
        if match := _DATE.fullmatch(case.identifier) or _VISIT.fullmatch(case.identifier):
            found[match[1].rstrip("_. -")].append(case.identifier)
    several = [names for names in found.values() if len(names) > 1]
    if len(several) < 2 or max(map(len, several)) > _MOST_VISITS or len(found) < 3:
        return
    count = sum(map(len, several))
    message = (
        f"{count} cases look like several images of {len(several)} persons or exams by their names "
        f"({', '.join(several[0][:3])}), but there are no groups: folds may train on one and validate on the "
        f"next."
    )
    remedy = "If they belong together, say so in a table of case and group (groups.csv beside dataset.json)."
    yield warning("visits_without_groups", message, remedy, file=dataset.root)
