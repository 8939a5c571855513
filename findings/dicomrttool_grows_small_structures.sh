#!/usr/bin/env bash
# Guess:  DicomRTTool fills an RTSTRUCT's contours into a mask without a bias of size: on the average over where the
#         contour lies between pixels, a disc has as many pixels as its area says.
# Seen:   DicomRTTool 6.2.0 first moves each point of a contour to the nearest pixel and then counts the outline as
#         inside, so that each structure grows by about half a pixel all round, and holes grow too. Discs of 1 mm
#         pixels, the mean of 24 places: a radius of 2 gives 21.5 pixels for an area of 12.6 (+71 %), 3 gives 40.8
#         for 28.3 (+44 %), 5 gives 98.5 for 78.5 (+25 %), 10 gives 351.7 for 314.2 (+12 %). Pixels whose centre is
#         inside, as other readers count, are 12.1, 28.5, 78.5 and 315.0.
# So:     volumes of small lesions from such masks are too large by a third and more, a network learns to draw them
#         so, and a Dice between masks of two readers of one RTSTRUCT is far from 1.
# Source: DicomRTTool 6.2.0, pydicom 3.0.2, run on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "DicomRTTool==6.2.0" "pydicom==3.0.2" "numpy==2.4.6" "SimpleITK==2.5.7"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from pathlib import Path

import numpy as np
from DicomRTTool.ReaderWriter import DicomReaderWriter
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SIDE, SLICES, STEP = 40, 6, 5.0
CT, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.481.3"


def start(kind: str, modality: str, study: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    made.Modality, made.StudyInstanceUID = modality, study
    made.PatientID = made.PatientName = "anonymous"
    made.StudyDate, made.StudyTime = "20200101", "120000"
    return made


def item(**values) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def series(folder: Path, study: str, uid: str, frame: str) -> list[FileDataset]:
    images = []
    for number in range(SLICES):
        image = start(CT, "CT", study)
        image.SeriesInstanceUID, image.FrameOfReferenceUID, image.InstanceNumber = uid, frame, number + 1
        image.ImagePositionPatient = [0.0, 0.0, STEP * number]
        image.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        image.PixelSpacing, image.SliceThickness = [1.0, 1.0], STEP
        image.Rows = image.Columns = SIDE
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 1
        image.RescaleSlope, image.RescaleIntercept = 1, 0
        image.PixelData = np.zeros((SIDE, SIDE), np.int16).tobytes()
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        images.append(image)
    return images


def structures(path: Path, images: list[FileDataset], contours: list[np.ndarray]) -> None:
    """One closed contour, (points, x and y in mm), a slice."""
    first = images[0]
    made = start(RTSTRUCT, "RTSTRUCT", first.StudyInstanceUID)
    made.SeriesInstanceUID, made.StructureSetLabel = generate_uid(), "discs"
    made.FrameOfReferenceUID = first.FrameOfReferenceUID
    slices = [item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=image.SOPInstanceUID) for image in images]
    of_series = item(SeriesInstanceUID=first.SeriesInstanceUID, ContourImageSequence=slices)
    of_study = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[of_series],
    )
    made.ReferencedFrameOfReferenceSequence = [
        item(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[of_study])
    ]
    made.StructureSetROISequence = [
        item(
            ROINumber=1,
            ROIName="disc",
            ROIGenerationAlgorithm="MANUAL",
            ReferencedFrameOfReferenceUID=first.FrameOfReferenceUID,
        )
    ]
    drawn = []
    for number, points in enumerate(contours):
        drawn.append(
            item(
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=[round(float(v), 4) for x, y in points for v in (x, y, STEP * number)],
                ContourImageSequence=[slices[number]],
            )
        )
    made.ROIContourSequence = [item(ReferencedROINumber=1, ROIDisplayColor=[255, 0, 0], ContourSequence=drawn)]
    made.RTROIObservationsSequence = [
        item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="", ROIInterpreter="")
    ]
    made.save_as(path, enforce_file_format=True)


random = np.random.default_rng(0)
rows, columns = np.mgrid[:SIDE, :SIDE]
angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
growth = {}
for radius in (2, 3, 5, 10):
    counted, centres_inside = [], []
    for repeat in range(4):
        folder = Path(f"{radius}_{repeat}")
        folder.mkdir()
        images = series(folder, generate_uid(), generate_uid(), generate_uid())
        middles = SIDE / 2 + random.uniform(-0.5, 0.5, (SLICES, 2))
        structures(
            folder / "discs.dcm",
            images,
            [np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1) for x, y in middles],
        )
        reader = DicomReaderWriter(Contour_Names=["disc"], arg_max=True, verbose=False)
        reader.walk_through_folders(str(folder))
        reader.set_index(reader.indexes_with_contours[0])
        reader.get_images_and_mask()
        counted += [int((one > 0).sum()) for one in reader.mask]
        centres_inside += [int(((columns - x) ** 2 + (rows - y) ** 2 < radius**2).sum()) for x, y in middles]
    area = np.pi * radius**2
    growth[radius] = np.mean(counted) / area - 1
    print(
        f"radius {radius}: DicomRTTool {np.mean(counted):.1f} pixels, centres inside {np.mean(centres_inside):.1f}, "
        f"area {area:.1f}: {growth[radius]:+.0%}"
    )
    assert abs(np.mean(centres_inside) / area - 1) < 0.05
assert [round(growth[radius], 2) for radius in (2, 3, 5, 10)] == [0.71, 0.44, 0.25, 0.12], growth
print("as stated: every structure grows by about half a pixel all round")
PYTHON
