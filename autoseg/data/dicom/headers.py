"""One DICOM file: whether it is one, what it holds, and what it says of itself. No voxels are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoseg.errors import MissingDependency
from autoseg.system.guard import note

_AT_MAGIC, _MAGIC = 128, b"DICM"
# Without a preamble a file begins with an element of one of these groups: the file's own, or identification.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
_REPRESENTATIONS = b"AE AS AT CS DA DS DT FL FD IS LO LT OB OF OW PN SH SL SQ SS ST TM UI UL UN US UT".split()
_IMPLICIT_LENGTH_BELOW, _FIRST_ELEMENT_BELOW = 1024, 0x0070
# Bytes of tag, type and length before the voxels; without types in the file there are fewer.
_HEAD, _IMPLICIT_HEAD = 12, 8
# Transfer syntaxes without compression; an empty one is that of files without a preamble.
_AS_THEY_ARE = ("", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")

# Hounsfield units and activity: what is shown white does not change them.
IN_UNITS = ("CT", "PT")

# What a header is read for; all else, the pixels too, is passed over.
TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"),
    *("PatientID", "PatientName", "PatientBirthDate", "OtherPatientIDs", "AccessionNumber"),
    *("Modality", "SeriesDescription", "SeriesNumber"),
    *("ImageType", "InstanceNumber", "AcquisitionNumber", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "PixelSpacing", "ImagerPixelSpacing"),
    *("NominalScannedPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness"),
    *("RescaleSlope", "RescaleIntercept", "EchoTime", "EchoNumbers", "TemporalPositionIdentifier"),
    *(
        "TriggerTime",
        "DiffusionBValue",
        "DiffusionGradientOrientation",
        "InversionTime",
        "FlipAngle",
        "AcquisitionTime",
        "AcquisitionDateTime",
        "ContentTime",
    ),
    *("NominalPercentageOfCardiacPhase", "ConvolutionKernel", "StackID", "SequenceName"),
    *("FrameReferenceTime", "SpacingBetweenSlices", "DetectorInformationSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionIndexSequence"),
)


@dataclass(frozen=True)
class LeftOut:
    """A file that no volume is made of.

    Attributes:
        path: the file.
        reason: why, as a few words: ``a structured report``.
        broken: whether it is an image or could be one, but cannot be read: a series may lack it.
        series: the SeriesInstanceUID, where it is known.
    """

    path: Path
    reason: str
    broken: bool = False
    series: str = field(default="", repr=False)


@dataclass(frozen=True)
class Header:
    """What the frames of one file share.

    Attributes:
        path: the file.
        sop_class, sop_instance, series, study, reference: UIDs; `reference` is the frame of reference.
            Where an anonymiser has emptied the series' UID, its number and description in one folder stand
            for it; those of the object are in the file's own header as well.
        patient: what stands for the patient: id, or name and birth date; of no record and no message.
        modality, description: as the file has them.
        image_type: values of ImageType, upper case.
        rows, columns, count: of the frames; `count` is None for a file of a single one.
        samples: values a voxel; 3 is a picture in colour.
        bits: that a value is stored in.
        end: where in the file the voxels begin, behind the header.
        syntax: UID of the transfer syntax: how values are stored or compressed; empty if not stated.
        photometric: what is shown bright: MONOCHROME1 shows the least value white.
        identities: what tells who the patient is: parts of the name, ids, birth date, accession number.
    """

    path: Path
    sop_class: str
    sop_instance: str
    series: str
    study: str
    reference: str
    patient: str = field(repr=False)
    modality: str
    description: str = field(repr=False)
    image_type: tuple[str, ...]
    rows: int
    columns: int
    count: int | None
    samples: int
    bits: int
    end: int
    syntax: str
    photometric: str
    identities: tuple[str, ...] = field(repr=False)

    @property
    def inverted(self) -> bool:
        """Whether its values are turned round, see `autoseg.data.dicom.voxels`."""
        return self.photometric == "MONOCHROME1" and self.modality not in IN_UNITS

    @property
    def lacking(self) -> int:
        """Bytes that the file has too few for voxels that are stored as they are."""
        if self.syntax not in _AS_THEY_ARE:
            return 0
        wanted = self.rows * self.columns * self.samples * (self.count or 1) * self.bits // 8
        head = _IMPLICIT_HEAD if self.syntax in _AS_THEY_ARE[:2] else _HEAD
        return max(0, self.end + head + wanted - self.path.stat().st_size)


def pydicom_for(purpose: str) -> Any:
    """The module pydicom.

    Args:
        purpose: what it is needed for, as the beginning of a sentence.

    Raises:
        MissingDependency: if it is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise MissingDependency("pydicom", "dicom", purpose) from None
    return pydicom


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its first bytes; its name may be anything. Needs no pydicom.

    Old scanners and some archives write neither the preamble of 128 bytes nor the letters DICM after it; such
    a file begins with an element of the group 0002 or 0008.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_AT_MAGIC + len(_MAGIC))
    except OSError:
        return False
    if head[_AT_MAGIC:] == _MAGIC:
        return True
    if len(head) < _AT_MAGIC or head[:2] not in _FIRST_GROUPS:
        return False
    element, length = (
        int.from_bytes(head[start : start + size], "little") for start, size in ((2, 2), (4, 4))
    )
    implicit = element < _FIRST_ELEMENT_BELOW and length < _IMPLICIT_LENGTH_BELOW
    return head[4:6] in _REPRESENTATIONS or implicit


def read_dataset(path: Path, tags: Sequence[str] | None = None) -> tuple[Any, int]:
    """A file's header as a pydicom data set, without pixels, and where in the file it ends.

    Args:
        path: a file that `is_dicom`.
        tags: keywords of what is wanted; everything if None.

    Raises:
        ValueError: if it cannot be parsed, saying why.
    """
    pydicom = pydicom_for("Reading DICOM")
    note(path)
    try:
        with path.open("rb") as file:
            found = pydicom.dcmread(
                file, force=True, stop_before_pixels=True, specific_tags=list(tags) if tags else None
            )
            end = file.tell()
        # Elements are parsed when they are used: a cut sequence shows here, not later.
        for element in (*getattr(found, "file_meta", ()), *found):
            _ = element.value
        return found, end
    except (
        Exception
    ) as problem:  # a foreign parser on foreign bytes: whatever it stumbles over, the file is bad
        raise ValueError(" ".join(str(problem).split())[:200] or type(problem).__name__) from None


def header_of(path: Path, found: Any, end: int) -> Header:
    """The header in the words of this package.

    Args:
        path: the file.
        found, end: what `read_dataset` gives.

    Raises:
        ValueError: if an element has a value that its type does not allow.
    """
    try:
        count = found.get("NumberOfFrames")
        return Header(
            path=path,
            sop_class=text_of(found, "SOPClassUID") or _of_file(found, "MediaStorageSOPClassUID"),
            sop_instance=text_of(found, "SOPInstanceUID") or _of_file(found, "MediaStorageSOPInstanceUID"),
            series=text_of(found, "SeriesInstanceUID") or _series_without_uid(path, found),
            study=text_of(found, "StudyInstanceUID"),
            reference=text_of(found, "FrameOfReferenceUID"),
            patient=_patient(found),
            modality=text_of(found, "Modality").upper(),
            description=text_of(found, "SeriesDescription"),
            image_type=tuple(str(part).strip().upper() for part in several(found.get("ImageType"))),
            rows=int(found.get("Rows") or 0),
            columns=int(found.get("Columns") or 0),
            count=int(count) if count and (int(count) > 1 or _functional(found)) else None,
            samples=int(found.get("SamplesPerPixel") or 1),
            bits=int(found.get("BitsAllocated") or 0),
            end=end,
            syntax=_of_file(found, "TransferSyntaxUID"),
            photometric=text_of(found, "PhotometricInterpretation"),
            identities=_identities(found),
        )
    except (TypeError, ValueError) as problem:
        raise ValueError(f"a value that its type does not allow ({problem})") from None


def text_of(found: Any, keyword: str) -> str:
    """An element as text, without padding; empty if there is none."""
    return str(found.get(keyword) or "").strip().strip("\0").strip()


def several(value: Any) -> tuple[Any, ...]:
    """The values of an element that may have none, one or several."""
    if value is None or value == "":
        return ()
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return (value,)
    return tuple(value)


def numbers_of(found: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """So many finite numbers of an element; None if it has others."""
    values = several(found.get(keyword))
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(abs(n) < 1e30 for n in numbers) else None


def _identities(found: Any) -> tuple[str, ...]:
    keys = ("PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber")
    names = re.split(r"[\^= ,]+", text_of(found, "PatientName"))
    return tuple(filter(None, (*names, *(text_of(found, key) for key in keys))))


def _of_file(found: Any, keyword: str) -> str:
    """An element of the file's own header, which files without a preamble lack."""
    return str(getattr(getattr(found, "file_meta", None), keyword, "")).strip()


def _series_without_uid(path: Path, found: Any) -> str:
    known = (
        text_of(found, key) for key in ("StudyInstanceUID", "SeriesNumber", "SeriesDescription", "Modality")
    )
    return " / ".join((str(path.parent), *known))


def _functional(found: Any) -> bool:
    return "PerFrameFunctionalGroupsSequence" in found or "SharedFunctionalGroupsSequence" in found


def _patient(found: Any) -> str:
    known = text_of(found, "PatientID")
    if known:
        return f"id {known}"
    name = text_of(found, "PatientName")
    return f"name {name} {text_of(found, 'PatientBirthDate')}" if name else ""
