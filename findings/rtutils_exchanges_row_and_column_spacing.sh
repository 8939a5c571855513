#!/usr/bin/env bash
# Guess:  rt-utils places the contours of a mask in the patient's space by the series' PixelSpacing, so that a
#         rectangle of voxels has the right size in mm whatever the form of the pixels.
# Seen:   rt-utils 1.2.7 takes PixelSpacing's first number, the distance of rows, for x, and its second, the
#         distance of columns, for y. With square pixels nobody notices. With 0.5\1.0 a rectangle of 20 rows and
#         20 columns, 10 mm high and 20 mm wide, becomes one of 19 mm height and 9.5 mm width, and lies elsewhere.
#         (The rest, half a voxel on each side, is that its contours run through the centres of border voxels.)
# So:     an RTSTRUCT that rt-utils made of a series with oblong pixels is wrong in place and size, without a word.
# Source: rt-utils 1.2.7, pydicom 2.4.4, run on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "rt-utils==1.2.7" "pydicom==2.4.4" "numpy==1.26.4" "opencv-python-headless==4.11.0.86"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from rt_utils import RTStructBuilder

ROWS, COLUMNS, SLICES = 40, 48, 3
ROW_MM, COLUMN_MM = 0.5, 1.0  # PixelSpacing: distance of rows, distance of columns
CT = "1.2.840.10008.5.1.4.1.1.2"
study, series, frame = generate_uid(), generate_uid(), generate_uid()
Path("series").mkdir()
for number in range(SLICES):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    image.is_little_endian, image.is_implicit_VR = True, False
    image.SOPClassUID, image.SOPInstanceUID = CT, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
    image.Modality, image.PatientName, image.PatientID = "CT", "Nobody", "0"
    image.PatientBirthDate = image.PatientSex = image.StudyDate = image.StudyTime = ""
    image.StudyID, image.SeriesNumber, image.InstanceNumber = "1", 1, number + 1
    image.Rows, image.Columns, image.PixelSpacing = ROWS, COLUMNS, [ROW_MM, COLUMN_MM]
    image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.0 * number]
    image.SliceThickness = 2.0
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.PixelData = np.zeros((ROWS, COLUMNS), np.int16).tobytes()
    image.save_as(f"series/{number}.dcm", write_like_original=False)

mask = np.zeros((ROWS, COLUMNS, SLICES), bool)
mask[10:30, 20:40] = True  # 20 rows of 0.5 mm: 10 mm; 20 columns of 1 mm: 20 mm
structures = RTStructBuilder.create_new(dicom_series_path="series")
structures.add_roi(mask=mask, name="rectangle")
structures.save("made.dcm")
contour = pydicom.dcmread("made.dcm").ROIContourSequence[0].ContourSequence[0].ContourData
x, y, _ = np.reshape(np.array(contour, float), (-1, 3)).T
width, height = float(np.ptp(x)), float(np.ptp(y))
print(f"width {width} mm (true 20), height {height} mm (true 10), left edge {x.min()} mm (true 19.5)")
assert (width, height) == (9.5, 19.0), "the spacings are no longer exchanged as seen"
PYTHON
