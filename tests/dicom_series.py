"""DICOM series that lie everywhere: made from the tags up, with what is bright in them at known places.

Each has two structures that a threshold finds: an outer one with a hole, an island of one voxel and a part
that touches the border, and an inner one. None is symmetric in any axis: a mirrored result is another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

PREFIX = "1.2.826.0.1.3680043.10.999.7"
OUTER, INNER = 1, 2
VALUES = {0: 0, OUTER: 300, INNER: 700}  # after the rescale
DATASET_JSON: Mapping[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "outer": OUTER, "inner": INNER},
    "file_ending": ".nii.gz",
}


class Thresholds:
    """A stand-in for a model: what is bright is the outer structure, what is brighter the inner one."""

    def __init__(self, dataset_json: Mapping[str, Any] = DATASET_JSON, reader: str = "SimpleITKIO") -> None:
        self.dataset_json, self.reader = dataset_json, reader
        self.orientation: Mapping[str, Any] = {}

    def segment_image(self, raw: Any) -> np.ndarray:
        """Labels (z, y, x) of (1, z, y, x)."""
        image = raw.array[0]
        return (image > 150).astype(np.uint8) + (image > 500)


def turned(x: float, y: float, z: float) -> np.ndarray:
    """A rotation by degrees about x, y and z; its columns are the directions of x, y and the normal."""
    a, b, c = np.deg2rad([x, y, z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


# Directions of a row, of a column, and their normal, as columns.
PLANES = {
    "axial": np.eye(3),
    "sagittal": np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": turned(10, 20, 30),
}


@dataclass(frozen=True)
class Series:
    """A series on disk.

    Attributes:
        name: what it is.
        folder: its files and nothing else.
        labels: (slice, row, column), in the order of the slices along the normal.
        positions: of the first voxel of each slice, mm, in that order.
        axes: directions of a row, of a column, and the normal, as columns.
        spacing: mm between rows, between columns.
        uids: SOP Instance UID and frame (0 where a file is one) of each slice.
    """

    name: str
    folder: Path
    labels: np.ndarray
    positions: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    uids: tuple[tuple[str, int], ...] = field(default=())

    def places(self, mask: np.ndarray) -> np.ndarray:
        """Where the centres of a mask's voxels (slice, row, column) lie in the patient, mm, (n, 3)."""
        slices, rows, columns = np.nonzero(mask)
        between_rows, between_columns = self.spacing
        return (
            self.positions[slices]
            + np.outer(columns * between_columns, self.axes[:, 0])
            + np.outer(rows * between_rows, self.axes[:, 1])
        )


def shapes(count: int = 9, rows: int = 26, columns: int = 34) -> np.ndarray:
    """Labels (slice, row, column) with a hole, an island, a part at the border, and an empty slice."""
    k, r, c = np.indices((count, rows, columns))
    labels = np.zeros((count, rows, columns), np.uint8)
    near = ((k - 4) / 3.4) ** 2 + ((r - 11) / 8.3) ** 2 + ((c - 13) / 9.4) ** 2
    labels[near < 1] = OUTER
    labels[((k - 4) / 1.6) ** 2 + ((r - 9) / 2.4) ** 2 + ((c - 9) / 2.2) ** 2 < 1] = INNER
    labels[((k - 3) / 2.2) ** 2 + ((r - 13) / 2.7) ** 2 + ((c - 17) / 3.1) ** 2 < 1] = 0
    labels[min(5, count - 1), 22, 29] = OUTER
    labels[2:4, 23:25, 4] = OUTER
    labels[min(6, count - 1), 4:10, -3:] = OUTER
    labels[min(5, count - 1), 12:14, 28:30] = np.eye(2, dtype=np.uint8)  # two voxels that touch at a corner
    return labels


def write_series(
    folder: Path,
    plane: str = "axial",
    *,
    down: bool = False,
    frames: bool = False,
    spacing: tuple[float, float] = (0.7, 0.9),
    step: float = 2.5,
    thickness: float = 2.5,
    tilt: float = 0.0,
    labels: np.ndarray | None = None,
    patient: int = 1,
    number: int = 1,
    modality: str = "CT",
) -> Series:
    """Write a series.

    Args:
        folder: for the files; one file if `frames`.
        plane: one of `PLANES`.
        down: whether files and frames are numbered from the highest slice along the normal down.
        frames: one enhanced multi-frame file instead of a file for each slice.
        spacing: mm between rows, between columns.
        step: mm between slices along the normal.
        thickness: of a slice, mm; less than the step leaves a gap.
        tilt: of the gantry, degrees.
        labels: what is in it; `shapes` if not given.
        patient: its number.
        number: of the series.
        modality: as the tag has it.
    """
    labels = shapes() if labels is None else labels
    axes = PLANES[plane]
    along = np.arange(len(labels))[:, None] * step
    start = np.array([-31.25, 12.5, 140.0])
    positions = start + along * (axes[:, 2] + np.tan(np.deg2rad(tilt)) * axes[:, 1])
    pixels = np.vectorize(VALUES.get)(labels).astype(np.int16) + 1024 if labels.size else labels
    order = list(range(len(labels)))[:: -1 if down else 1]
    place = Series(f"{plane} {'down' if down else 'up'}", folder, labels, positions, axes, spacing)
    folder.mkdir(parents=True, exist_ok=True)
    uid = f"{PREFIX}.{patient}.{number}"
    if frames:
        file = _enhanced(place, pixels, order, thickness, f"{uid}.1", patient, number)
        file.save_as(folder / "frames.dcm", enforce_file_format=True)
        known = [(f"{uid}.1", order.index(k) + 1) for k in range(len(labels))]
    else:
        known = [(f"{uid}.{order.index(k) + 1}", 0) for k in range(len(labels))]
        for k, (sop, _) in enumerate(known):
            one = _slice(place, pixels[k], k, thickness, sop, patient, number)
            one.InstanceNumber, one.Modality = order.index(k) + 1, modality
            one.save_as(folder / f"IM{(7 * k) % 97:03d}", enforce_file_format=True)
    return Series(place.name, folder, labels, positions, axes, spacing, tuple(known))


def _head(sop_class: str, sop: str, patient: int, number: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, sop
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, f"{PREFIX}.9"
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = sop_class, sop
    file.PatientName, file.PatientID = f"Synthetic^{patient}", f"SYN{patient:04d}"
    file.PatientBirthDate, file.PatientSex = "19700101", "O"
    file.StudyInstanceUID, file.SeriesInstanceUID = f"{PREFIX}.{patient}", f"{PREFIX}.{patient}.{number}"
    file.FrameOfReferenceUID = f"{PREFIX}.{patient}.0.{number}"
    file.StudyID, file.SeriesNumber, file.InstanceNumber = "1", number, 1
    file.StudyDate = file.ContentDate = file.AcquisitionDate = "20240102"
    file.StudyTime = file.ContentTime = file.AcquisitionTime = "101112"
    file.AccessionNumber, file.ReferringPhysicianName, file.PositionReferenceIndicator = "A1", "", ""
    file.Manufacturer, file.Modality, file.PatientPosition = "none", "CT", "HFS"
    file.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    return file


def _pixels(file: Dataset, pixels: np.ndarray) -> None:
    file.Rows, file.Columns = pixels.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
    file.PixelData = pixels.astype("<i2").tobytes()


def _numbers(values: Any) -> list[str]:
    return [f"{float(value):.9f}"[:16] for value in values]


def _slice(
    series: Series, pixels: np.ndarray, k: int, thickness: float, sop: str, patient: int, number: int
) -> FileDataset:
    file = _head(CTImageStorage, sop, patient, number)
    file.ImagePositionPatient = _numbers(series.positions[k])
    file.ImageOrientationPatient = _numbers(series.axes[:, :2].T.ravel())
    file.PixelSpacing, file.SliceThickness = _numbers(series.spacing), str(thickness)
    file.RescaleSlope, file.RescaleIntercept, file.KVP, file.AcquisitionNumber = "1", "-1024", "", "1"
    _pixels(file, pixels)
    return file


def _enhanced(
    series: Series,
    pixels: np.ndarray,
    order: list[int],
    thickness: float,
    sop: str,
    patient: int,
    number: int,
) -> FileDataset:
    file = _head(EnhancedCTImageStorage, sop, patient, number)
    shared = Dataset()
    measures, orientation, values = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = _numbers(series.spacing), str(thickness)
    orientation.ImageOrientationPatient = _numbers(series.axes[:, :2].T.ravel())
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = "1", "-1024", "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [values]
    file.SharedFunctionalGroupsSequence = [shared]
    file.PerFrameFunctionalGroupsSequence = []
    for at, k in enumerate(order, 1):
        frame, content, position = Dataset(), Dataset(), Dataset()
        content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", at, [1, at]
        position.ImagePositionPatient = _numbers(series.positions[k])
        frame.FrameContentSequence, frame.PlanePositionSequence = [content], [position]
        file.PerFrameFunctionalGroupsSequence.append(frame)
    file.NumberOfFrames = len(order)
    file.VolumetricProperties, file.BurnedInAnnotation = "VOLUME", "NO"
    _pixels(file, pixels[order])
    return file
