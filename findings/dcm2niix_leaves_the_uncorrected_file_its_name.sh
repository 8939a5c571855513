#!/usr/bin/env bash
# Guess:  where dcm2niix has to correct a series (a tilted gantry, a slice that is missing), the file with the name
#         that was asked for is the corrected one, or says by its header where its voxels lie.
# Seen:   dcm2niix 1.0.20260724 ends with 0 and writes two files. The one with the name asked for is as wrong as
#         before, with a straight header: of ten slices tilted by 17 degrees a bar that stands upright in the patient
#         leans by 13 mm (centres at y 22.5 to 9.5); of ten slices without the fifth, those above it lie 5 mm too low.
#         The corrected ones are beside it, as `_Tilt_1` (the bar upright to within a voxel) and `_Eq_1` (ten slices,
#         the missing one made up from its neighbours). A NIfTI header could have held the shear.
# So:     a script that takes `NAME.nii` of each series trains on crooked patients, and one that takes every file
#         trains on two versions of one; look for the endings before you convert a folder.
# Source: dcm2niix 1.0.20260724 (the package of the same name), pydicom 3.0.2, nibabel 5.4.2, run on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "dcm2niix==1.0.20260724" "pydicom==3.0.2" "nibabel==5.4.2" "numpy==2.4.6"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

ROWS, COLUMNS, STEP, CT = 48, 40, 5.0, "1.2.840.10008.5.1.4.1.1.2"


def convert(name: str, slices: list[int], shift: float) -> list[str]:
    """A CT of 1 mm pixels with a bar of 1000 HU that stands upright at y 20 to 25; the names of what comes out."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    Path(name).mkdir()
    Path(name + "_out").mkdir()
    for number in slices:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = CT, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.PatientID = image.PatientName = "anonymous"
        image.Modality, image.Manufacturer, image.PatientPosition = "CT", "SIEMENS", "HFS"
        image.ImageType, image.ProtocolName, image.SeriesDescription = ["ORIGINAL", "PRIMARY", "AXIAL"], "head", "head"
        image.StudyDate, image.StudyTime, image.StudyID = "20200101", "120000", "1"
        image.SeriesNumber, image.InstanceNumber = 1, number + 1
        image.ImagePositionPatient = [0.0, shift * number, STEP * number]
        image.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        image.PixelSpacing, image.SliceThickness = [1.0, 1.0], STEP
        if shift:
            image.GantryDetectorTilt = float(np.degrees(np.arctan(shift / STEP)))
        image.Rows, image.Columns, image.SamplesPerPixel = ROWS, COLUMNS, 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 1
        image.RescaleSlope, image.RescaleIntercept = 1, 0
        y = shift * number + np.arange(ROWS)
        pixels = np.full((ROWS, COLUMNS), 10 * number, np.int16)
        pixels[(y >= 20) & (y < 26), 10:15] = 1000
        image.PixelData = pixels.tobytes()
        image.save_as(Path(name) / f"{number}.dcm", enforce_file_format=True)
    program = Path(sys.executable).parent / "dcm2niix"
    done = subprocess.run(
        [program, "-b", "n", "-z", "n", "-f", name, "-o", name + "_out", name], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    return sorted(path.name for path in Path(name + "_out").iterdir())


def bar(path: str) -> list[float]:
    """The y of the bar's centre in each slice, in mm as DICOM counts them."""
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj)
    centres = []
    for slice_ in range(voxels.shape[2]):
        inside = np.argwhere(voxels[..., slice_] > 500)
        centres.append(float(-(image.affine @ [*inside.mean(0), slice_, 1])[1]))
    return centres


names = convert("tilted", list(range(10)), shift=1.5)
print(names)
assert names == ["tilted.nii", "tilted_Tilt_1.nii"]
plain, corrected = bar("tilted_out/tilted.nii"), bar("tilted_out/tilted_Tilt_1.nii")
print("tilted: centres of the bar", plain, "corrected", corrected)
assert plain[0] == 22.5 and plain[-1] == 9.5
assert max(corrected) - min(corrected) <= 1.0

names = convert("gap", [number for number in range(10) if number != 4], shift=0.0)
print(names)
assert names == ["gap.nii", "gap_Eq_1.nii"]
for name, values in (("gap", [0, 10, 20, 30, 50, 60, 70, 80, 90]), ("gap_Eq_1", list(range(0, 100, 10)))):
    image = nibabel.load(f"gap_out/{name}.nii")
    voxels = np.asarray(image.dataobj)
    print(name, image.header.get_zooms(), voxels[0, 0].tolist())
    assert voxels[0, 0].tolist() == values and float(image.header.get_zooms()[2]) == STEP
print("as stated: the file of the name that was asked for is the uncorrected one")
PYTHON
