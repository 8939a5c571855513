"""Label objects for tests: SEG by highdicom, RTSTRUCT element by element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import dataset, save, uid

hd = pytest.importorskip("highdicom", reason="DICOM needs the extra dicom")
pydicom = pytest.importorskip("pydicom", reason="DICOM needs the extra dicom")

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


def write_seg(
    path: Path,
    sources: Sequence[Path],
    masks: np.ndarray,
    names: Sequence[str],
    kind: str = "BINARY",
    series: int = 60,
    **more: Any,
) -> Path:
    """A SEG of a series.

    Args:
        path: where it is written.
        sources: the slices, in the order of `masks`.
        masks: (slices, rows, columns, segments), 0 and 1, or shares for FRACTIONAL.
        names: of the segments.
        kind: BINARY, FRACTIONAL or LABELMAP.
        series: number of its series.
        more: further elements.
    """
    from pydicom.sr.codedict import codes

    datasets = [pydicom.dcmread(source) for source in sources]
    described = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(names, 1)
    ]
    found = hd.seg.Segmentation(
        source_images=datasets,
        pixel_array=masks.astype(np.float32 if kind == "FRACTIONAL" else np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues[kind],
        segment_descriptions=described,
        series_instance_uid=uid(5, series),
        series_number=series,
        sop_instance_uid=uid(5, series, 1),
        instance_number=1,
        manufacturer="made up",
        manufacturer_model_name="made up",
        software_versions="1",
        device_serial_number="1",
    )
    for key, value in more.items():
        setattr(found, key, value)
    return save(found, path)


def write_rtstruct(
    path: Path,
    source: Path,
    contours: Mapping[str, Sequence[np.ndarray]],
    series: int = 70,
    images: Sequence[Path] = (),
    **more: Any,
) -> Path:
    """An RTSTRUCT: closed contours (points, 3) in mm for each structure, on the series of a slice.

    With `images` each contour names the one whose plane it lies nearest to.
    """
    image = pydicom.dcmread(source, stop_before_pixels=True)
    found = dataset(
        RTSTRUCT, uid(6, series, 1), series=series, Modality="RTSTRUCT", SeriesDescription="contours"
    )
    found.FrameOfReferenceUID, found.StudyInstanceUID = image.FrameOfReferenceUID, image.StudyInstanceUID
    found.StructureSetLabel = "plan"
    referenced = pydicom.dataset.Dataset()
    referenced.SeriesInstanceUID = image.SeriesInstanceUID
    study = pydicom.dataset.Dataset()
    study.RTReferencedSeriesSequence = pydicom.sequence.Sequence([referenced])
    frame = pydicom.dataset.Dataset()
    frame.FrameOfReferenceUID = image.FrameOfReferenceUID
    frame.RTReferencedStudySequence = pydicom.sequence.Sequence([study])
    found.ReferencedFrameOfReferenceSequence = pydicom.sequence.Sequence([frame])
    headers = [pydicom.dcmread(image, stop_before_pixels=True) for image in images]
    referenced.ContourImageSequence = pydicom.sequence.Sequence([_image(header) for header in headers])
    regions, drawn = [], []
    for number, (name, parts) in enumerate(contours.items(), 1):
        region = pydicom.dataset.Dataset()
        region.ROINumber, region.ROIName = number, name
        region.ReferencedFrameOfReferenceUID = image.FrameOfReferenceUID
        regions.append(region)
        shown = pydicom.dataset.Dataset()
        shown.ReferencedROINumber = number
        shown.ContourSequence = pydicom.sequence.Sequence([_contour(points, headers) for points in parts])
        drawn.append(shown)
    found.StructureSetROISequence = pydicom.sequence.Sequence(regions)
    found.ROIContourSequence = pydicom.sequence.Sequence(drawn)
    for key, value in more.items():
        setattr(found, key, value)
    return save(found, path)


def _image(header: Any) -> Any:
    found = pydicom.dataset.Dataset()
    found.ReferencedSOPClassUID, found.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return found


def _contour(points: np.ndarray, headers: Sequence[Any]) -> Any:
    found = pydicom.dataset.Dataset()
    if headers:
        cosines = np.array(headers[0].ImageOrientationPatient, float)
        normal = np.cross(cosines[:3], cosines[3:])
        apart = [abs((points[0] - np.array(each.ImagePositionPatient, float)) @ normal) for each in headers]
        found.ContourImageSequence = pydicom.sequence.Sequence([_image(headers[int(np.argmin(apart))])])
    found.ContourGeometricType = "CLOSED_PLANAR"
    found.NumberOfContourPoints = len(points)
    found.ContourData = [f"{value:.4f}" for value in np.asarray(points).ravel()]
    return found
