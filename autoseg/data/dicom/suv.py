"""PET in standardised uptake values by body weight (SUVbw, g/ml), from the activity that the voxels state.

SUV = activity (Bq/ml) x weight (g) / dose (Bq), the dose as it is left at the time that the activity is
corrected to: the start of the scan (DecayCorrection START) or of the injection (ADMIN). Source: QIBA, "SUV
vendor-neutral calculation"; Boellaard et al., EJNMMI 42:328 (2015).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from autoseg.data.dicom.headers import numbers_of, read_dataset, several, text_of
from autoseg.data.dicom.stack import Stack
from autoseg.data.image import ImageError

# Philips: counts to SUV.
_PHILIPS = (0x7053, 0x1000)


def suv_factor(stack: Stack) -> float:
    """What the values of a PET series are multiplied by to be SUVbw.

    Raises:
        ImageError: if the header lacks what is needed, naming it.
    """
    path = stack.header.path
    if stack.header.modality != "PT":
        raise ImageError(path, f"is {stack.header.modality}, not PET", "Import it without values=suv.")
    try:
        found, _ = read_dataset(path)
    except ValueError as problem:
        raise ImageError(path, f"is damaged: {problem}") from None
    units = text_of(found, "Units").upper()
    if units == "GML":
        return 1.0
    if units == "CNTS" and _PHILIPS in found:
        return float(found[_PHILIPS].value)
    if units != "BQML":
        raise _lacking(stack, f"values in {units or 'no stated unit'}, where BQML is needed")
    corrected = {str(part).upper() for part in several(found.get("CorrectedImage"))}
    if "DECY" not in corrected:
        raise _lacking(stack, "no correction for decay")
    weight = numbers_of(found, "PatientWeight", 1)
    given = next(iter(several(found.get("RadiopharmaceuticalInformationSequence"))), None)
    dose = numbers_of(given, "RadionuclideTotalDose", 1) if given is not None else None
    if not weight or weight[0] <= 0 or not dose or dose[0] <= 0:
        raise _lacking(stack, "no weight or no injected dose")
    return 1000 * weight[0] / (dose[0] * _left(stack, found, given))


def _left(stack: Stack, found: Any, given: Any) -> float:
    """The share of the dose that is left at the time that values are corrected to."""
    correction = text_of(found, "DecayCorrection").upper()
    if correction == "ADMIN":
        return 1.0
    half_life = numbers_of(given, "RadionuclideHalfLife", 1)
    start = _scan_start(found)
    injected = _moment(text_of(given, "RadiopharmaceuticalStartDateTime"))
    if injected is None and start is not None:
        injected = _moment(f"{start:%Y%m%d}{text_of(given, 'RadiopharmaceuticalStartTime')}")
        if injected is not None and injected > start:
            injected -= timedelta(days=1)
    if correction != "START" or not half_life or half_life[0] <= 0 or start is None or injected is None:
        raise _lacking(stack, "no times of injection and scan, no half-life or no kind of decay correction")
    share: float = 2 ** (-(start - injected).total_seconds() / half_life[0])
    return share


def _scan_start(found: Any) -> datetime | None:
    """The series' time, unless a program that came later wrote it: then the acquisition's."""
    series = _moment(text_of(found, "SeriesDate") + text_of(found, "SeriesTime"))
    acquired = _moment(text_of(found, "AcquisitionDate") + text_of(found, "AcquisitionTime"))
    if series is None or (acquired is not None and series > acquired):
        return acquired
    return series


def _moment(text: str) -> datetime | None:
    plain = text.partition(".")[0].partition("+")[0]
    try:
        return datetime.strptime(plain, "%Y%m%d%H%M%S")
    except ValueError:
        return None


def _lacking(stack: Stack, what: str) -> ImageError:
    return ImageError(
        stack.header.path,
        f"cannot be turned into SUV: it has {what}",
        "Import it without values=suv, or export it with what is missing.",
    )
