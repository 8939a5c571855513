#!/usr/bin/env bash
# Guess:  a folder of series goes through `dicom2nifti` whole, or the command fails.
# Seen:   dicom2nifti 2.6.2 writes no file for a series of three slices ("TOO_FEW_SLICES/LOCALIZER") nor for one that lacks
#         a slice ("SLICE_INCREMENT_INCONSISTENT"): it prints a traceback for each and ends with status 0, beside the
#         series that it wrote. `convert_directory` in Python raises nothing either. Stored as int16 with a slope of 1
#         and an intercept of -1024, the voxels come out as float64, four times the memory.
# So:     count files after converting; a data set made this way may lack its shortest and its damaged series.
# Source: dicom2nifti 2.6.2, pydicom 3.0.2, run on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "dicom2nifti==2.6.2" "pydicom==3.0.2" "nibabel==5.4.2"
cat > "$folder/series.py" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

study = generate_uid()
SERIES = {"whole": (0, 3, 6, 9), "short": (0, 3, 6), "gap": (0, 3, 6, 12, 15)}
for number, (name, heights) in enumerate(SERIES.items(), 1):
    place, series, frame = Path(sys.argv[1]) / name, generate_uid(), generate_uid()
    place.mkdir(parents=True)
    for index, height in enumerate(heights):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.PatientID, image.PatientName, image.Modality, image.SeriesDescription = "p1", "p1", "CT", name
        image.SeriesNumber, image.InstanceNumber = number, index + 1
        image.ImageType, image.SliceThickness = ["ORIGINAL", "PRIMARY", "AXIAL"], 3
        image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, height], [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.Rows, image.Columns = [0.8, 0.6], 20, 24
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.RescaleSlope, image.RescaleIntercept = 1, -1024
        image.PixelData = np.full((20, 24), 1024 + index, np.int16).tobytes()
        image.save_as(place / f"{index}.dcm", enforce_file_format=True)
PYTHON
"$folder/venv/bin/python" "$folder/series.py" "$folder/dicom"
mkdir "$folder/nifti"
"$folder/venv/bin/dicom2nifti" "$folder/dicom" "$folder/nifti" > "$folder/said" 2>&1
echo "status 0; written: $(ls "$folder/nifti" | tr '\n' ' ')"
grep -o "TOO_FEW_SLICES/LOCALIZER\|SLICE_INCREMENT_INCONSISTENT" "$folder/said" | sort -u
[ "$(grep -c -o "TOO_FEW_SLICES/LOCALIZER\|SLICE_INCREMENT_INCONSISTENT" "$folder/said")" -ge 2 ]
[ "$(ls "$folder/nifti")" = "1_whole.nii.gz" ]
"$folder/venv/bin/python" - "$folder/nifti/1_whole.nii.gz" <<'PYTHON'
import sys

import nibabel

stored = nibabel.load(sys.argv[1]).get_data_dtype()
print("stored as", stored)
assert stored == "float64", stored
PYTHON
