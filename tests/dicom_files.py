"""Synthetic DICOM for tests: classic slices and enhanced multi-frame files; all names are made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="DICOM needs the extra dicom")

ROOT = "1.2.826.0.1.3680043.10.999"
CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def uid(*parts: object) -> str:
    return ".".join((ROOT, *map(str, parts)))


def dataset(
    sop_class: str, instance: str, patient: int = 1, series: int = 1, study: int = 1, **more: Any
) -> Any:
    """What every object has."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, instance
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    found = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = sop_class, instance
    found.PatientName, found.PatientID = f"Doe^Synthia{patient}", f"MRN77{patient:04d}"
    found.PatientBirthDate, found.PatientSex, found.AccessionNumber = "19500203", "O", "ACC4711"
    found.StudyInstanceUID, found.SeriesInstanceUID = uid(patient, study), uid(patient, study, series)
    found.FrameOfReferenceUID = uid(patient, study, 77)
    found.StudyDate = found.SeriesDate = found.ContentDate = "20200101"
    found.StudyTime = found.SeriesTime = found.ContentTime = "120000"
    found.Modality, found.SeriesNumber, found.SeriesDescription, found.StudyID = "CT", series, "AXIAL", "1"
    found.ReferringPhysicianName = found.Manufacturer = ""
    for key, value in more.items():
        setattr(found, key, value)
    return found


def pixels(found: Any, stored: np.ndarray) -> None:
    """Put 16 bit values into an object."""
    found.Rows, found.Columns = stored.shape[-2:]
    found.SamplesPerPixel, found.PhotometricInterpretation = (
        1,
        found.get("PhotometricInterpretation", "MONOCHROME2"),
    )
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 16, 15
    found.PixelRepresentation = int(stored.dtype.kind == "i")
    found.PixelData = stored.astype(f"<{stored.dtype.kind}2").tobytes()


def position(number: float, step: float, cosines: Sequence[float], origin: Sequence[float]) -> list[float]:
    normal = np.cross(cosines[:3], cosines[3:])
    return [round(float(value), 9) for value in np.array(origin) + number * step * normal]


def slice_of(
    stored: np.ndarray,
    place: Sequence[float],
    number: int,
    cosines: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (1.0, 1.0),
    **more: Any,
) -> Any:
    """One classic CT slice; `more` are elements, and patient, series, study."""
    key = (more.get("patient", 1), more.get("study", 1), more.get("series", 1), number)
    found = dataset(CT, uid(*key), **more)
    found.ImagePositionPatient = [f"{value:.8f}"[:16] for value in place]
    found.ImageOrientationPatient = [f"{value:.12f}"[:16] for value in cosines]
    found.InstanceNumber = more.get("InstanceNumber", number)
    found.PixelSpacing = [str(value) for value in spacing]
    found.SliceThickness = str(more.get("SliceThickness", 2.0))
    found.RescaleSlope, found.RescaleIntercept = (
        more.get("RescaleSlope", "1"),
        more.get("RescaleIntercept", "-1024"),
    )
    found.ImageType = more.get("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"])
    pixels(found, stored)
    return found


def save(found: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(str(path), enforce_file_format=True)
    return path


def volume(seed: int = 0, shape: tuple[int, int, int] = (8, 12, 10)) -> np.ndarray:
    """Stored values with a bright block: (z, y, x), uint16."""
    found = np.random.default_rng(seed).integers(100, 200, shape).astype(np.uint16)
    found[2:-2, 3:8, 3:8] += 900
    return found


def write_series(
    folder: Path,
    stored: np.ndarray,
    step: float = 2.0,
    cosines: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-10.0, -20.0, 30.0),
    spacing: tuple[float, float] = (1.0, 1.0),
    positions: Sequence[Sequence[float]] | None = None,
    names: str = "IM{:04d}",
    **more: Any,
) -> list[Path]:
    """A classic series, a file a slice; `positions` overrule step and origin."""
    places = positions or [position(k, step, cosines, origin) for k in range(len(stored))]
    return [
        save(slice_of(stored[k], places[k], k + 1, cosines, spacing, **more), folder / names.format(k + 1))
        for k in range(len(stored))
    ]


def _sequence(**elements: Any) -> Any:
    item = pydicom.dataset.Dataset()
    for key, value in elements.items():
        setattr(item, key, value)
    return pydicom.sequence.Sequence([item])


def enhanced(
    stored: np.ndarray,
    positions: Sequence[Sequence[float]],
    cosines: Sequence[Sequence[float]] | Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (1.0, 1.0),
    rescale: Sequence[tuple[float, float]] | None = None,
    content: Sequence[Mapping[str, Any]] | None = None,
    **more: Any,
) -> Any:
    """An enhanced multi-frame CT: frames in the order of `stored`, each with its own position."""
    found = dataset(
        ENHANCED_CT, uid(more.get("patient", 1), more.get("study", 1), more.get("series", 1), 999), **more
    )
    each = [cosines] * len(stored) if np.ndim(cosines[0]) == 0 else cosines
    shared = pydicom.dataset.Dataset()
    shared.PixelMeasuresSequence = _sequence(PixelSpacing=list(spacing), SliceThickness=2.0)
    if np.ndim(cosines[0]) == 0:
        shared.PlaneOrientationSequence = _sequence(ImageOrientationPatient=list(each[0]))
    found.SharedFunctionalGroupsSequence = pydicom.sequence.Sequence([shared])
    frames = []
    for k, place in enumerate(positions):
        item = pydicom.dataset.Dataset()
        item.PlanePositionSequence = _sequence(ImagePositionPatient=[float(v) for v in place])
        if np.ndim(cosines[0]):
            item.PlaneOrientationSequence = _sequence(ImageOrientationPatient=[float(v) for v in each[k]])
        slope, intercept = rescale[k] if rescale else (1.0, -1024.0)
        item.PixelValueTransformationSequence = _sequence(
            RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU"
        )
        item.FrameContentSequence = _sequence(**(content[k] if content else {"StackID": "1"}))
        frames.append(item)
    found.PerFrameFunctionalGroupsSequence = pydicom.sequence.Sequence(frames)
    found.ImageType, found.InstanceNumber = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], 1
    pixels(found, stored)
    found.NumberOfFrames = len(stored)
    return found
