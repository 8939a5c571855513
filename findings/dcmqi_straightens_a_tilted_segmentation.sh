#!/usr/bin/env bash
# Guess:  dcmqi, by which 3D Slicer and others open DICOM segmentations, refuses a SEG whose frames do not stand
#         straight behind each other (a CT with a tilted gantry), or puts each voxel where its frame says.
# Seen:   it depends on which way the gantry is tilted. Six frames that each lie 2 mm further to the back than the
#         one below: dcmqi 1.5.7 writes a straight volume and ends with 0; the last frame is 10 mm from where its
#         ImagePositionPatient says. The same tilt to the front: "Frame 0 origin ... is outside image geometry!",
#         since what it checks is whether a frame's corner lies in the straight volume, and nothing is written.
# So:     a segmentation of a tilted series may look right slice by slice, and be up to centimetres off in 3D.
# Source: dcmqi 1.5.7, highdicom 0.28.2, pydicom 3.0.2, run on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "dcmqi==1.5.7" "highdicom==0.28.2" "pydicom==3.0.2" "numpy==2.4.6" "SimpleITK==2.5.7"
cd "$folder"
cat > make.py <<'PYTHON'
import sys

import highdicom as hd
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

ROWS, COLUMNS, SLICES, STEP, TILT = 24, 32, 6, 5.0, float(sys.argv[1])
CT = "1.2.840.10008.5.1.4.1.1.2"
study, series, frame = generate_uid(), generate_uid(), generate_uid()
images = []
for number in range(SLICES):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("none", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = CT, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
    image.Modality, image.PatientName, image.PatientID = "CT", "Nobody", "0"
    image.PatientBirthDate = image.PatientSex = image.StudyDate = image.StudyTime = image.AccessionNumber = ""
    image.StudyID, image.SeriesNumber, image.InstanceNumber = "1", 1, number + 1
    image.ReferringPhysicianName = image.Manufacturer = image.PositionReferenceIndicator = ""
    image.Rows, image.Columns, image.PixelSpacing, image.SliceThickness = ROWS, COLUMNS, [1, 1], STEP
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.ImagePositionPatient = [0, TILT * number, STEP * number]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.PixelData = np.zeros((ROWS, COLUMNS), np.int16).tobytes()
    images.append(image)

mask = np.zeros((SLICES, ROWS, COLUMNS), np.uint8)
mask[:, 10, 20] = 1  # one voxel a slice: row 10, column 20
segment = hd.seg.SegmentDescription(
    1, "organ", codes.SCT.Organ, codes.SCT.Liver, hd.seg.SegmentAlgorithmTypeValues.MANUAL
)
hd.seg.Segmentation(
    images, mask, hd.seg.SegmentationTypeValues.BINARY, [segment], generate_uid(), 2, generate_uid(), 1,
    "maker", "model", "1", "1",
).save_as("made.dcm")
seg = pydicom.dcmread("made.dcm")
said = sorted(
    tuple(map(float, each.PlanePositionSequence[0].ImagePositionPatient))
    for each in seg.PerFrameFunctionalGroupsSequence
)
true = {z: np.array([x + 20, y + 10, z]) for x, y, z in said}
np.save("true.npy", np.array([true[STEP * k] for k in range(SLICES)]))
PYTHON
for tilt in 2 -2; do
  mkdir "out$tilt"
  venv/bin/python make.py "$tilt" 2> /dev/null
  mv true.npy "out$tilt/true.npy"
  venv/bin/segimage2itkimage --inputDICOM made.dcm --outputDirectory "out$tilt" --prefix s --outputType nrrd \
    > "out$tilt/log" 2>&1 || true
done
grep -o "ERROR: Frame 0 origin.*outside image geometry" out-2/log
test ! -e out-2/s-1.nrrd
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

image = sitk.ReadImage("out2/s-1.nrrd")
array, true = sitk.GetArrayFromImage(image), np.load("out2/true.npy")
found = sorted((image.TransformIndexToPhysicalPoint(tuple(map(int, p[::-1]))) for p in np.argwhere(array)), key=lambda p: p[2])
apart = np.linalg.norm(np.array(found) - true, axis=1)
print("spacing", np.round(image.GetSpacing(), 3), "voxels off by (mm)", np.round(apart, 3))
assert len(found) == 6 and abs(apart.max() - 10) < 0.01, "the tilt is no longer lost as seen"
PYTHON
